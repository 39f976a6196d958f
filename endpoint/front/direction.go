package front

import (
	"cmp"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bufferSize is how much is read at once. It is all that a session keeps of what a slow reader does not take.
const bufferSize = 32 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// direction is one way of a session. Only who runs it may look at it, but for bytes.
type direction struct {
	buffer  *[bufferSize]byte // nil while there is nothing in it
	pending []byte            // what was read and not yet written, in the buffer
	ended   bool              // there is no more to read
	told    bool              // and who is written to knows
	bytes   atomic.Int64      // written
}

// run carries bytes until from has ended, and to was told. It goes on where another run has stopped, as by a deadline.
func (d *direction) run(from, to *net.TCPConn) error {
	reader, err := from.SyscallConn()
	if err != nil {
		return err
	}
	writer, err := to.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	read := func(fd uintptr) (done bool) { done, failed = d.read(fd); return done }
	write := func(fd uintptr) (done bool) { done, failed = d.write(fd); return done }
	for !d.told {
		if len(d.pending) > 0 {
			if err := cmp.Or(writer.Write(write), failed); err != nil {
				return err
			}
		}
		if d.ended {
			d.told = true
			return to.CloseWrite()
		}
		if err := cmp.Or(reader.Read(read), failed); err != nil {
			return err
		}
	}
	return nil
}

// read reads once, into a buffer that there is only if something was read. It is not done while there is nothing.
func (d *direction) read(fd uintptr) (done bool, err error) {
	d.buffer = buffers.Get().(*[bufferSize]byte)
	n, err := transfer(unix.SYS_READ, fd, d.buffer[:])
	if n > 0 {
		d.pending = d.buffer[:n]
		return true, nil
	}
	d.release()
	d.ended = err == nil
	return !errors.Is(err, unix.EAGAIN), err
}

// write writes what is pending. It is not done while there is some left.
func (d *direction) write(fd uintptr) (done bool, err error) {
	for len(d.pending) > 0 {
		n, err := transfer(unix.SYS_WRITE, fd, d.pending)
		if err != nil {
			return !errors.Is(err, unix.EAGAIN), err
		}
		d.bytes.Add(int64(n))
		d.pending = d.pending[n:]
	}
	d.release()
	return true, nil
}

// transfer reads or writes once, of a socket that does not block. The scheduler is not told of it: it would give our
// processor to another thread whenever the kernel takes 20 µs, which cost more than all the rest.
func transfer(call, fd uintptr, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

func (d *direction) release() {
	if d.buffer != nil {
		buffers.Put(d.buffer)
	}
	d.buffer, d.pending = nil, nil
}

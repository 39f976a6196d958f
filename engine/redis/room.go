package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/wait"
)

// turnedAway tells whether the server has let us in by nothing but the socket, as one does that is full:
// whether we can still read why is chance.
func turnedAway(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		redis.HasErrorPrefix(err, "max number of clients reached")
}

// isNoServer tells whether nobody listens on the socket, as while the server starts.
func isNoServer(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)
}

// refusals is how often in a row the server turns us away before room is made. It has looked at all connections that
// ended before one refusal when it comes to the next, and may have closed some of them only after that. So three
// say that it had no room, not even what the last connection that we ended, or our own last one, leaves behind: a
// busy machine does not make us end one more. Three more say that a client was quicker to take it.
const refusals = 3

// enter calls try until it is neither turned away nor held up by a script, or ctx ends. What room is made clients may
// take before us: then more is made. A server that was busy may be started again meanwhile.
func enter(ctx context.Context, n engine.Node, c *redis.Client, try func() error) error {
	giveUp, refused, room, wasBusy := time.Now().Add(20*time.Second), 0, 1, false
	return wait.Until(ctx, wait.Every(time.Millisecond), func() (again bool, err error) {
		err = try()
		switch {
		case isBusy(err):
			wasBusy = true
			endScript(ctx, c)
		case isNoServer(err):
			return wasBusy, err
		case !turnedAway(err) || time.Now().After(giveUp):
			return false, err
		default:
			if refused++; refused < 2*refusals && refused != refusals {
				return true, err
			}
			if err := makeRoom(n, room); err != nil {
				return false, backstay.Wrapf(err, backstay.Unavailable,
					"Clients hold all connections of the service instance, and none of them can be ended.")
			}
			room = min(2*room, reserve)
		}
		return true, err
	})
}

// makeRoom ends some of the connections that the clients of a full server hold beyond the plan's, as a rule the
// last to come. The server keeps no place free for its operator, and whoever is not in cannot ask it for one. The
// operating system can be asked: it closes a connection under the server, which takes it for a client that left.
func makeRoom(n engine.Node, room int) error {
	if n.Admin.Process == nil {
		return errors.New("the server is not on this machine")
	}
	p, err := n.Admin.Process()
	if errors.Is(err, os.ErrProcessDone) {
		return nil // who tries next hears of it
	}
	if err != nil {
		return err
	}
	defer p.Close()
	held, err := clients(p)
	if err != nil {
		return err
	}
	kept := n.Size.Connections
	if room == reserve && len(held) <= kept { // it may open fewer files here, and has made do with fewer clients
		kept = len(held) - reserve
	}
	for _, number := range held[min(len(held), max(len(held)-room, kept, 0)):] {
		err := p.Borrow(number, func(fd int) {
			if isClient(fd) { // still: the number may have come to mean another file
				unix.Shutdown(fd, unix.SHUT_RDWR) // if it fails, the client has left
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// clients are the numbers by which a server has its clients' connections, in order: the kernel gives the lowest
// that is free, so that most often the last to come is the last.
func clients(p *process.Process) (held []int, err error) {
	files, err := openFiles(p)
	for i := 0; err == nil && i < len(files); i++ {
		err = p.Borrow(files[i], func(fd int) {
			if isClient(fd) {
				held = append(held, files[i])
			}
		})
	}
	return held, err
}

// server takes hold of the process that listens on the node's socket. One that is not the node's own could
// lead us to another: what the socket names is its word alone.
func server(n engine.Node) (*process.Process, error) {
	conn, err := net.Dial("unix", filepath.Join(n.RunDir, socketName))
	if err != nil {
		return nil, os.ErrProcessDone // or it is about to be: nobody listens
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return nil, err
	}
	var peer *unix.Ucred
	failed := raw.Control(func(fd uintptr) {
		peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if failed != nil || err != nil {
		return nil, errors.Join(failed, err)
	}
	p, err := process.Open(int(peer.Pid))
	if err == nil && !process.WorksIn(p.PID, n.DataDir) { // as "dir" in its configuration says
		if _, gone := os.Readlink(filepath.Join("/proc", strconv.Itoa(p.PID), "cwd")); errors.Is(gone, fs.ErrNotExist) {
			return nil, errors.Join(os.ErrProcessDone, p.Close()) // it is ending
		}
		err = errors.Join(fmt.Errorf("process %d listens on the socket and is no server of the node", p.PID), p.Close())
	}
	return p, err
}

// openFiles are the numbers of what a process has open, in order.
func openFiles(p *process.Process) ([]int, error) {
	entries, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(p.PID), "fd"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // it has ended
	}
	var numbers []int
	for _, e := range entries {
		if number, err := strconv.Atoi(e.Name()); err == nil {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return numbers, err
}

// established is the kernel's TCP_ESTABLISHED.
const established = 1

// isClient tells whether a file is the connection of a client that has not left: all TCP that the server
// speaks is that, and the operator does not come by TCP.
func isClient(fd int) bool {
	info, err := unix.GetsockoptTCPInfo(fd, unix.SOL_TCP, unix.TCP_INFO)
	return err == nil && info.State == established
}

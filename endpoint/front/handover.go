package front

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/endpoint"
)

// How a front is taken over from, by packets on its second socket. Only who gives waits with a limit: who takes has
// nothing to lose, and must not leave when it may have been given all.
//
//	taker                     giver
//	request  ------------->   stands still
//	         <-------------   inventory
//	         <-------------   one packet for each listener, with its file
//	         <-------------   one for each connection, with its files and what is on its way
//	have all ------------->
//	         <-------------   yours
//	goes on                   ends
const (
	handoverVersion = 1
	handoverLimit   = 10 * time.Second // for all of it: so long a connection may stand still
	haveAll         = "have all"
	yours           = "yours"
	// maxPacket has room for two buffers in JSON. It is less than what a socket takes by default.
	maxPacket = 4*bufferSize + 4<<10
)

type handoverRequest struct {
	Version int `json:"version"`
}

// inventory is what is handed over besides listeners and connections.
type inventory struct {
	Told        record   `json:"told"`
	Count       counters `json:"count"`
	Listeners   int      `json:"listeners"`
	Connections int      `json:"connections"`
}

type handedListener struct {
	At netip.AddrPort `json:"at"`
}

// handedSession goes with the file of its client, and with that of its server if it has one.
type handedSession struct {
	Target netip.AddrPort  `json:"target"`
	Began  time.Time       `json:"began"`
	Up     handedDirection `json:"up"`
	Down   handedDirection `json:"down"`
}

type handedDirection struct {
	Pending []byte `json:"pending,omitempty"`
	Ended   bool   `json:"ended,omitempty"`
	Told    bool   `json:"told,omitempty"`
	Bytes   int64  `json:"bytes"`
}

// link is one end of a handover.
type link struct {
	*net.UnixConn
	packet []byte // that was received last
}

func newLink(c *net.UnixConn) *link { return &link{c, make([]byte, maxPacket)} }

// giveOver hands all over to the first that takes it.
func (f *Front) giveOver(l *net.UnixListener) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			f.Log.Error("nobody can take over any more", "error", err)
			return
		}
		given, err := f.giveTo(newLink(c))
		c.Close()
		if given {
			close(f.gone)
			return
		}
		f.Log.Error("another front has not taken over; this one goes on", "error", err)
	}
}

func (f *Front) giveTo(c *link) (given bool, err error) {
	_ = c.SetDeadline(time.Now().Add(handoverLimit))
	var r handoverRequest
	if _, err := c.receive(&r); err != nil {
		return false, err
	}
	if r.Version != handoverVersion {
		return false, fmt.Errorf("it speaks version %d", r.Version)
	}
	f.control.Lock() // and nobody tells us anything behind the other's back
	begun := time.Now()
	f.standStill()
	defer func() { f.Log.Info("all stood still", "for", time.Since(begun), "handed_over", given) }()
	if err := f.giveAll(c); err != nil {
		f.begin()
		f.control.Unlock()
		return false, err
	}
	return true, nil
}

// giveAll fails if the other has certainly not been told that all is its own.
func (f *Front) giveAll(c *link) error {
	f.mu.Lock()
	i := inventory{Told: f.told, Count: f.count, Listeners: len(f.listeners), Connections: len(f.sessions)}
	f.mu.Unlock() // nobody changes anything now
	if err := c.send(i); err != nil {
		return err
	}
	for at, l := range f.listeners {
		if err := c.send(handedListener{at}, l); err != nil {
			return err
		}
	}
	for s := range f.sessions {
		files := []syscall.Conn{s.client}
		if s.server != nil {
			files = append(files, s.server)
		}
		if err := c.send(handedSession{s.target, s.began, s.up.hand(), s.down.hand()}, files...); err != nil {
			return err
		}
	}
	var answer string
	if _, err := c.receive(&answer); err != nil || answer != haveAll {
		return fmt.Errorf("it answers %q: %w", answer, err)
	}
	return c.send(yours)
}

func (d *direction) hand() handedDirection {
	return handedDirection{d.pending, d.ended, d.told, d.bytes.Load()}
}

// takeOver takes what the front that serves in the directory has. It is errNobody if none answers, as one that has just
// been taken over from.
func (f *Front) takeOver() error {
	at := net.UnixAddr{Name: endpoint.HandoverSocketIn(f.Dir), Net: "unixpacket"}
	conn, err := net.DialUnix("unixpacket", nil, &at)
	if err != nil {
		return errors.Join(errNobody, err)
	}
	defer conn.Close()
	if err := f.takeAll(newLink(conn)); err != nil {
		return fmt.Errorf("take over from the front that serves: %w", err)
	}
	f.Log.Info("all was taken over", "connections", len(f.sessions))
	return nil
}

func (f *Front) takeAll(c *link) error {
	var i inventory
	err := c.send(handoverRequest{handoverVersion})
	if err == nil {
		_, err = c.receive(&i)
	}
	if err != nil {
		return errors.Join(errNobody, err)
	}
	f.count = i.Count
	f.tell(i.Told)
	for range i.Listeners {
		if err := f.takeListener(c); err != nil {
			return err
		}
	}
	for range i.Connections {
		if err := f.takeSession(c); err != nil {
			return err
		}
	}
	var answer string
	if err = c.send(haveAll); err == nil {
		_, err = c.receive(&answer)
	}
	if err == nil && answer != yours {
		err = fmt.Errorf("it answers %q", answer)
	}
	return err
}

func (f *Front) takeListener(c *link) error {
	var h handedListener
	files, err := c.receive(&h)
	if err != nil || len(files) != 1 {
		return errors.Join(err, errFiles)
	}
	defer files[0].Close()
	l, err := net.FileListener(files[0])
	if err != nil {
		return err
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return errFiles
	}
	f.listeners[h.At] = tcp
	return nil
}

var errFiles = errors.New("not the files that were announced")

func (f *Front) takeSession(c *link) error {
	var h handedSession
	files, err := c.receive(&h)
	if err != nil {
		return err
	}
	var conns []*net.TCPConn
	for _, file := range files {
		conn, err := net.FileConn(file)
		file.Close()
		tcp, ok := conn.(*net.TCPConn)
		if err != nil || !ok {
			return errors.Join(err, errFiles)
		}
		conns = append(conns, tcp)
	}
	if len(conns) == 0 {
		return errFiles
	}
	s := &session{client: conns[0], began: h.Began}
	if len(conns) > 1 {
		s.server, s.target = conns[1], h.Target
		if f.nodes[h.Target] == nil {
			f.nodes[h.Target] = &node{}
		}
		f.nodes[h.Target].sessions++
	}
	f.sessions[s] = struct{}{}
	return errors.Join(s.up.take(h.Up), s.down.take(h.Down))
}

func (d *direction) take(h handedDirection) error {
	if len(h.Pending) > bufferSize {
		return fmt.Errorf("%d bytes are on their way", len(h.Pending))
	}
	if len(h.Pending) > 0 {
		d.buffer = buffers.Get().(*[bufferSize]byte)
		d.pending = d.buffer[:copy(d.buffer[:], h.Pending)]
	}
	d.ended, d.told = h.Ended, h.Told
	d.bytes.Store(h.Bytes)
	return nil
}

// send sends one packet, with the files of some connections.
func (c *link) send(value any, files ...syscall.Conn) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	var fds []int
	for _, file := range files {
		raw, err := file.SyscallConn()
		if err != nil {
			return err
		}
		if err := raw.Control(func(fd uintptr) { fds = append(fds, int(fd)) }); err != nil {
			return err
		}
	}
	// The numbers stay those of the files: nothing is closed while all stands still.
	_, _, err = c.WriteMsgUnix(text, unix.UnixRights(fds...), nil)
	return err
}

// receive receives one packet, with its files.
func (c *link) receive(into any) (files []*os.File, err error) {
	rights := make([]byte, unix.CmsgSpace(2*4))
	n, m, flags, _, err := c.ReadMsgUnix(c.packet, rights)
	if err != nil {
		return nil, err
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		return nil, errors.New("a packet is too large")
	}
	messages, err := unix.ParseSocketControlMessage(rights[:m])
	if err != nil {
		return nil, err
	}
	for _, message := range messages {
		fds, err := unix.ParseUnixRights(&message)
		if err != nil {
			return nil, err
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "handed"))
		}
	}
	return files, json.Unmarshal(c.packet[:n], into)
}

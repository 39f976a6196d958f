package endpoint_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/endpoint"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/internal/wait"
)

// newFront describes a front of the test's own. It ends with the test.
func newFront(t testing.TB) endpoint.Front {
	t.Helper()
	port, _ := testkit.Ports(t, 1)
	dir := testkit.Dir(t)
	f := endpoint.Front{
		Settings: endpoint.Settings{
			Listen:      []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))},
			Connections: 5000, Patience: time.Minute, Build: "test",
		},
		Dir: filepath.Join(dir, "f"), LogFile: filepath.Join(dir, "log"), Command: []string{"front", beFront},
	}
	t.Cleanup(func() {
		if err := f.End(); err != nil {
			t.Error(err)
		}
		log, err := os.ReadFile(f.LogFile)
		broken := bytes.Contains(log, []byte("DATA RACE")) || bytes.Contains(log, []byte("panic:"))
		if err != nil && !os.IsNotExist(err) || broken {
			t.Errorf("its log, %v:\n%s", err, log)
		} else if t.Failed() {
			t.Logf("its log:\n%s", log)
		}
	})
	return f
}

// ensure returns the process that runs, which the test closes.
func ensure(t testing.TB, f endpoint.Front) *process.Process {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	p, err := f.Ensure(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// serving is newFront with a process and targets.
func serving(t testing.TB, targets ...*target) (endpoint.Front, *process.Process) {
	t.Helper()
	f := newFront(t)
	p := ensure(t, f)
	must(t, f.Client().Switch(t.Context(), addresses(targets)...))
	return f, p
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// target is a node: it says its name to each client, and then what that says.
type target struct {
	name string
	at   netip.AddrPort
	l    net.Listener
	each func(net.Conn)

	mu    sync.Mutex
	conns map[net.Conn]bool
}

func newTarget(t testing.TB, name string) *target {
	t.Helper()
	return newTargetThat(t, name, func(c net.Conn) {
		fmt.Fprintf(c, "%s\n", name)
		_, _ = io.Copy(c, c)
	})
}

// newTargetThat does something else with each of its clients, and then closes the connection.
func newTargetThat(t testing.TB, name string, each func(net.Conn)) *target {
	t.Helper()
	port, _ := testkit.Ports(t, 1)
	tg := &target{
		name: name, at: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port)), each: each,
		conns: map[net.Conn]bool{},
	}
	tg.listen(t)
	t.Cleanup(tg.end)
	return tg
}

func (tg *target) listen(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", tg.at.String())
	must(t, err)
	tg.l = l
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			tg.mu.Lock()
			tg.conns[c] = true
			tg.mu.Unlock()
			go func() {
				tg.each(c)
				c.Close()
				tg.mu.Lock()
				delete(tg.conns, c)
				tg.mu.Unlock()
			}()
		}
	}()
}

// end ends the target as kill -9 does a server: the port refuses, connections are closed.
func (tg *target) end() {
	tg.l.Close()
	tg.mu.Lock()
	defer tg.mu.Unlock()
	for c := range tg.conns {
		c.Close()
	}
}

func addresses(targets []*target) (list []netip.AddrPort) {
	for _, tg := range targets {
		list = append(list, tg.at)
	}
	return list
}

// client is a connection to a front.
type client struct {
	*net.TCPConn
	by string // the name of who serves it, once that is known
}

func dial(t testing.TB, f endpoint.Front) *client {
	t.Helper()
	c, err := connect(f)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func connect(f endpoint.Front) (*client, error) {
	c, err := net.DialTimeout("tcp", f.Listen[0].String(), 10*time.Second)
	if err != nil {
		return nil, err
	}
	return &client{TCPConn: c.(*net.TCPConn)}, nil
}

// hear waits until somebody says who serves the client.
func (c *client) hear(limit time.Duration) error {
	if c.by != "" {
		return nil
	}
	_ = c.SetReadDeadline(time.Now().Add(limit))
	defer c.SetReadDeadline(time.Time{})
	var name []byte
	for one := make([]byte, 1); ; {
		if _, err := io.ReadFull(c, one); err != nil {
			return err
		}
		if one[0] == '\n' {
			c.by = string(name)
			return nil
		}
		name = append(name, one[0])
	}
}

// ask has the target say a line after the client.
func (c *client) ask(line string) error {
	if err := c.hear(20 * time.Second); err != nil {
		return err
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	defer c.SetDeadline(time.Time{})
	if _, err := io.WriteString(c, line); err != nil {
		return err
	}
	answer := make([]byte, len(line))
	if _, err := io.ReadFull(c, answer); err != nil {
		return err
	}
	if string(answer) != line {
		return fmt.Errorf("%q comes back as %q", line, answer)
	}
	return nil
}

func checkServedBy(t testing.TB, c *client, tg *target) {
	t.Helper()
	if err := c.ask("hello"); err != nil || c.by != tg.name {
		t.Errorf("served by %q, %v; want %q", c.by, err, tg.name)
	}
}

// checkWaits looks whether a client is kept waiting.
func checkWaits(t testing.TB, c *client) {
	t.Helper()
	err := c.hear(100 * time.Millisecond)
	if e, ok := err.(net.Error); !ok || !e.Timeout() {
		t.Errorf("served by %q, %v; want to wait", c.by, err)
	}
}

// await waits until the front's status is as wanted.
func await(t testing.TB, f endpoint.Front, want string, holds func(endpoint.Status) bool) endpoint.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var s endpoint.Status
	err := wait.Until(ctx, wait.Every(2*time.Millisecond), func() (bool, error) {
		var err error
		if s, err = f.Client().Status(ctx); err != nil {
			return false, err
		}
		return !holds(s), fmt.Errorf("want %s: %+v", want, s)
	})
	if err != nil && !holds(s) {
		t.Fatal(err)
	}
	return s
}

// checkReset wants a client to have been reset, and no later than now.
func checkReset(t testing.TB, c *client) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	if _, err := io.Copy(io.Discard, c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client reads %v; want a reset", err)
	}
}

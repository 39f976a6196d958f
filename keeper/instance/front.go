package instance

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"time"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/endpoint"
	"github.com/backstay/backstay/internal/process"
)

const (
	frontPatience = 30 * time.Second // that new connections wait for a primary
	frontLimit    = 5 * time.Second  // that a front may take to do what it is told
	holdLimit     = time.Second      // the same where somebody waits for more than that
	// frontSpare is for connections beside twice the plan's: who is one too many reads that from the engine. The doors of
	// some engines hold as many strangers as users, and 128 more, and choose who of them goes. Redis, which counts its
	// other nodes among its clients, takes a few more than the plan's behind a front.
	frontSpare = 200
)

// frontDir is where the front of an instance works.
func (m *Machine) frontDir(port int) string { return m.RunDir("", port) + ".front" }

// logOfFront is where a front that works in a directory says what goes wrong: on no node's volume, which would be in
// use while the front lives, and in no directory that is the front's.
func logOfFront(dir string) string { return dir + ".log" }

// front is the front of the instance, as a Spec wants it.
func (m *Machine) front(r Record, s backend.Spec) (endpoint.Front, error) {
	return m.frontAt(r, s, m.frontDir(r.Port), r.Port)
}

// frontAt is a front of the instance that works in a directory and holds a port.
func (m *Machine) frontAt(r Record, s backend.Spec, dir string, port int) (endpoint.Front, error) {
	f := m.Front
	f.Dir, f.LogFile = dir, logOfFront(dir)
	f.Connections, f.Patience = 2*s.Size.Connections+frontSpare, frontPatience
	for _, address := range m.Listen {
		at, err := netip.ParseAddr(address)
		if err != nil {
			return f, err
		}
		f.Listen = append(f.Listen, netip.AddrPortFrom(at, uint16(port)))
	}
	return f, nil
}

// nodeAddress is where a node behind a front listens.
func nodeAddress(port int) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(loopback), uint16(port))
}

// openFront has a front, as the generation wants it, stand before the primary, which serves: one that waits is served
// from now on.
func (in *Instance) openFront(ctx context.Context, generation int64) error {
	r := in.Record()
	f, err := in.m.front(r, r.spec(generation))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, frontLimit)
	defer cancel()
	p, err := f.Ensure(ctx)
	if err != nil {
		return err
	}
	in.loseFront()
	in.seen.front = p
	c := f.Client()
	return errors.Join(c.Switch(ctx, nodeAddress(r.NodePort)), c.Release(ctx))
}

// loseFront forgets the front's process.
func (in *Instance) loseFront() {
	if in.seen.front != nil {
		in.seen.front.Close()
	}
	in.seen.front = nil
}

// holdFront has new connections wait for the next primary. Those that there are go on while the one before does.
func (in *Instance) holdFront(ctx context.Context) {
	in.tellFront(ctx, func(ctx context.Context, c *endpoint.Client) error { return c.Hold(ctx) })
}

// cutFront is holdFront where the primary has ended: what sessions are left to it end too.
func (in *Instance) cutFront(ctx context.Context) {
	port := in.Record().NodePort
	in.tellFront(ctx, func(ctx context.Context, c *endpoint.Client) error {
		return errors.Join(c.Hold(ctx), c.Cut(ctx, nodeAddress(port)))
	})
}

func (in *Instance) tellFront(ctx context.Context, tell func(context.Context, *endpoint.Client) error) {
	if in.seen.front == nil {
		return
	}
	r := in.Record()
	f, err := in.m.front(r, r.spec(r.Started))
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), holdLimit)
	defer cancel()
	if err := tell(ctx, f.Client()); err != nil {
		in.log.Warn("a front does not have clients wait", "error", err)
	}
}

// closeFront ends the front, if there is one: the port is a node's from now on, or nobody's.
func (in *Instance) closeFront() error {
	in.loseFront()
	r := in.Record()
	if _, err := os.Lstat(in.m.frontDir(r.Port)); r.Port == 0 || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	f, err := in.m.front(r, r.spec(r.Started))
	if err != nil {
		return err
	}
	return errors.Join(f.End(), os.RemoveAll(f.LogFile), os.RemoveAll(f.Dir))
}

// endOf is closed when the process has ended, and blocks for ever where there is none.
func endOf(p *process.Process) <-chan struct{} {
	if p == nil {
		return nil
	}
	return p.Done()
}

package enginetest

import (
	"context"
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/process"
)

// spare is a node beside a pair that only follows.
type spare struct {
	pair    *Pair
	of      engine.Node
	running *Process
}

// newSpare makes a copy of the primary follow it.
func (p *Pair) newSpare(t *testing.T) *spare {
	t.Helper()
	n := NewNode(t, p.engine)
	n.Instance, n.TLS, n.CacheDir = p.nodes[0].Instance, p.nodes[0].TLS, p.nodes[0].CacheDir
	n.Size.Connections = p.nodes[0].Size.Connections
	sp := &spare{pair: p, of: n}
	sp.copy(t)
	return sp
}

// node is the spare one as it follows whoever is the primary.
func (sp *spare) node() engine.Node {
	primary, n := sp.pair.Primary(), sp.of
	n.Replication = &engine.Replication{Name: "c", Link: primary.Replication.Link, Spare: true, Follows: &engine.Source{
		Name: primary.Replication.Name, Address: "127.0.0.1", Port: primary.Port(engine.ClientPort).Number,
	}}
	return n
}

func (sp *spare) copy(t *testing.T) {
	t.Helper()
	if err := sp.pair.Replicator.Copy(t.Context(), sp.pair.Primary(), sp.node(), func(string) {}); err != nil {
		t.Fatalf("Copy: %v", err)
	}
	sp.start(t)
}

// start starts it, and waits until it follows.
func (sp *spare) start(t *testing.T) {
	t.Helper()
	sp.running = Serve(t, sp.pair.engine, sp.node())
	sp.awaitFollowing(t)
}

func (sp *spare) awaitFollowing(t *testing.T) {
	t.Helper()
	sp.pair.awaitThatFollows(t, sp.node(), sp.running)
}

// end ends it, and what is left of it.
func (sp *spare) end(t *testing.T) {
	t.Helper()
	sp.running.Stop(t)
	if err := process.KillIn(filepath.Dir(sp.of.DataDir)); err != nil {
		t.Fatal(err)
	}
}

// follow has it follow the primary that there is now, by a copy where that is what it takes.
func (sp *spare) follow(t *testing.T) {
	t.Helper()
	if err := configure(t.Context(), sp.pair.engine, sp.pair.Primary()); err != nil {
		t.Fatalf("Configure: %v", err)
	}
	err := sp.pair.Replicator.Rejoin(t.Context(), sp.pair.Primary(), sp.node())
	switch {
	case errors.Is(err, engine.ErrCopy):
		t.Logf("Rejoin: %v", err)
		sp.copy(t)
	case err != nil:
		t.Fatalf("Rejoin: %v", err)
	default:
		sp.start(t)
	}
}

// wantValue wants who reads from it, where somebody may, to come to see a value, and to change nothing.
func (sp *spare) wantValue(t *testing.T, s Subject, c backstay.Credentials, key, want string) {
	t.Helper()
	if _, reads := s.Engine.(engine.Reader); !reads {
		return
	}
	s.session(t, elsewhere(c, sp.pair.Primary(), sp.node()), func(session Session) {
		await(t, "the value "+want+" on a spare node", func() bool {
			got, err := session.Get(t.Context(), key)
			return err == nil && got == want
		})
		if err := session.Set(t.Context(), key, "written"); err == nil {
			t.Error("a spare node takes what a client writes")
		}
	})
}

// testSpare has a node follow beside the standby. Nobody waits for it, and what it has counts for nothing: it neither
// holds writers up nor acknowledges anything in the standby's place. It follows whoever is the primary.
func testSpare(t *testing.T, s Subject) {
	p := s.pair(t)
	sp := p.newSpare(t)
	p.Protect(t)
	_, c := p.user(t)
	l := s.startLoad(t, c[p.leads], 4)
	l.awaitMore(t, 100)

	p.signal(t, sp.of, syscall.SIGSTOP)
	l.awaitMore(t, 100)
	p.Release(t)
	p.Protect(t)
	l.awaitMore(t, 100)
	p.signal(t, sp.of, syscall.SIGCONT)
	sp.awaitFollowing(t)

	p.KillStandby(t)
	s.wantReleased(t, p, l)
	s.wantNotAwaited(t, p, l)
	p.StartStandby(t)
	p.Protect(t)
	l.awaitMore(t, 100)

	p.KillPrimary(t)
	sp.end(t)
	p.FailOver(t)
	if !s.Asynchronous {
		l.want(t, s, c[p.leads])
	}
	sp.follow(t)
	s.session(t, c[p.leads], func(session Session) { mustSet(t, session, "key", "later") })
	sp.wantValue(t, s, c[p.leads], "key", "later")
	p.Rejoin(t)
	p.Protect(t)
	s.wantForgotten(t, sp)
}

// wantForgotten ends a spare node for ever: its primary can be told so, again and again, and has its standby still.
func (s Subject) wantForgotten(t *testing.T, sp *spare) {
	t.Helper()
	f, ok := s.Engine.(engine.Forgetter)
	if !ok {
		return
	}
	sp.end(t)
	for _, name := range []string{sp.node().Replication.Name, sp.node().Replication.Name, "never"} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if err := f.Forget(ctx, sp.pair.Primary(), name); err != nil {
			t.Errorf("Forget %q: %v", name, err)
		}
		cancel()
	}
	sp.pair.awaitFollowing(t)
	sp.copy(t)
	sp.end(t)
}

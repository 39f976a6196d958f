package enginetest

import (
	"context"
	"errors"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/pki"
)

// Pair is an instance of two nodes: a primary and a standby, as the keeper would have them. Its methods fail the test
// where the engine's fail.
type Pair struct {
	engine.Replicator
	engine   engine.Engine
	nodes    [2]engine.Node
	running  [2]*Process
	leads    int    // which of them is the primary
	awaits   string // what the primary has in force
	recopied int    // how often a node could not rejoin without a copy
}

// NewPair serves two nodes, of which the second is a copy of the first one and follows it. Nobody waits for it yet.
func NewPair(t testing.TB, e engine.Engine, cacheDir string) *Pair {
	t.Helper()
	p := newPair(t, e, cacheDir)
	p.serve(t, 0)
	p.Copy(t)
	return p
}

// newPair describes two nodes. Each has an endpoint of its own, since no front stands before them.
func newPair(t testing.TB, e engine.Engine, cacheDir string) *Pair {
	t.Helper()
	p := &Pair{Replicator: replicator(t, e), engine: e}
	a, b := NewNode(t, e), NewNode(t, e)
	b.Instance, b.TLS = a.Instance, a.TLS
	link, err := pki.NewLink(string(a.Instance), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range []engine.Node{a, b} {
		n.Replication = &engine.Replication{Name: []string{"a", "b"}[i], Link: link}
		if cacheDir != "" {
			n.CacheDir = cacheDir
		}
		n.Size.Connections = 40
		p.nodes[i] = n
	}
	return p
}

// replicator is an engine whose nodes follow each other, or skips the test.
func replicator(t testing.TB, e engine.Engine) engine.Replicator {
	t.Helper()
	r, ok := e.(engine.Replicator)
	if !ok || !r.Replicates(NewNode(t, e).Installation) {
		t.Skip("this product's nodes do not follow each other")
	}
	return r
}

// Primary is the node that takes what clients write.
func (p *Pair) Primary() engine.Node { return p.node(p.leads) }

// Standby is the node that follows.
func (p *Pair) Standby() engine.Node { return p.node(1 - p.leads) }

// node is one of the two with its part in the instance.
func (p *Pair) node(i int) engine.Node {
	n := p.nodes[i]
	r := *n.Replication
	if i == p.leads {
		r.Awaits = p.awaits
	} else {
		leads := p.nodes[p.leads]
		r.Follows = &engine.Source{Name: leads.Replication.Name, Address: "127.0.0.1",
			Port: leads.Port(engine.ClientPort).Number}
	}
	n.Replication = &r
	return n
}

func (p *Pair) serve(t testing.TB, i int) {
	t.Helper()
	p.running[i] = Serve(t, p.engine, p.node(i))
}

// Copy makes the standby a copy of the primary, and starts it.
func (p *Pair) Copy(t testing.TB) {
	t.Helper()
	if err := p.Replicator.Copy(t.Context(), p.Primary(), p.Standby(), func(string) {}); err != nil {
		t.Fatalf("Copy: %v", err)
	}
	p.StartStandby(t)
}

// StartStandby starts the standby, and waits until it follows.
func (p *Pair) StartStandby(t testing.TB) {
	t.Helper()
	p.serve(t, 1-p.leads)
	p.awaitFollowing(t)
}

// RestartStandby starts the standby, whose primary may be gone.
func (p *Pair) RestartStandby(t testing.TB) {
	t.Helper()
	p.serve(t, 1-p.leads)
}

// AwaitFollowing waits until the standby follows.
func (p *Pair) AwaitFollowing(t testing.TB) {
	t.Helper()
	p.awaitFollowing(t)
}

func (p *Pair) awaitFollowing(t testing.TB) {
	t.Helper()
	p.awaitThatFollows(t, p.Standby(), p.running[1-p.leads])
}

// awaitThatFollows waits until a node follows the primary.
func (p *Pair) awaitThatFollows(t testing.TB, n engine.Node, running *Process) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var last engine.Following
	err := wait.Until(ctx, wait.Every(10*time.Millisecond), func() (again bool, err error) {
		if err = p.mirrorTo(ctx, n); err != nil {
			return true, err
		}
		last, err = p.Follows(ctx, p.Primary(), n)
		return err != nil && !errors.Is(err, engine.ErrCopy) || !last.Streams, err
	})
	if err != nil {
		t.Fatalf("node %q does not follow: %+v, %v; it says %q", n.Replication.Name, last, err, running.explain())
	}
}

// mirror has the standby know the primary's users, where these do not come along with the data.
func (p *Pair) mirror(ctx context.Context) error { return p.mirrorTo(ctx, p.Standby()) }

func (p *Pair) mirrorTo(ctx context.Context, n engine.Node) error {
	m, ok := p.engine.(engine.Mirrorer)
	if !ok {
		return nil
	}
	return m.Mirror(ctx, p.Primary(), n)
}

// standbyRuns reports whether the standby has been started and has not ended.
func (p *Pair) standbyRuns() bool {
	standby := p.running[1-p.leads]
	if standby == nil {
		return false
	}
	select {
	case <-standby.Done():
		return false
	default:
		return true
	}
}

// Protect has the primary await the standby.
func (p *Pair) Protect(t testing.TB) {
	t.Helper()
	if err := p.await(t.Context(), p.Standby().Replication.Name, patience); err != nil {
		t.Fatalf("Await: %v", err)
	}
}

// Release has the primary await nobody.
func (p *Pair) Release(t testing.TB) {
	t.Helper()
	if err := p.await(t.Context(), "", patience); err != nil {
		t.Fatalf("Await nobody: %v", err)
	}
}

func (p *Pair) await(ctx context.Context, name string, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	before := p.awaits
	p.awaits = name
	err := p.Await(ctx, p.Primary())
	if err != nil {
		p.awaits = before
	}
	return err
}

// KillPrimary kills the primary's first process.
func (p *Pair) KillPrimary(t testing.TB) {
	t.Helper()
	p.running[p.leads].Kill(t)
}

// EndPrimary ends the primary in an orderly way.
func (p *Pair) EndPrimary(t testing.TB) time.Duration {
	t.Helper()
	return p.running[p.leads].Stop(t)
}

// EndStandby ends the standby in an orderly way.
func (p *Pair) EndStandby(t testing.TB) {
	t.Helper()
	p.running[1-p.leads].Stop(t)
}

// KillStandby kills all processes of the standby.
func (p *Pair) KillStandby(t testing.TB) {
	t.Helper()
	p.running[1-p.leads].Kill(t)
	if err := process.KillIn(filepath.Dir(p.Standby().DataDir)); err != nil {
		t.Fatal(err)
	}
}

// FailOver fences the primary, which was killed or has ended, as the keeper does it, and promotes the standby.
func (p *Pair) FailOver(t testing.TB) {
	t.Helper()
	old := p.Primary()
	if err := process.KillIn(filepath.Dir(old.DataDir)); err != nil {
		t.Fatal(err)
	}
	if err := p.Fence(old); err != nil {
		t.Fatalf("Fence: %v", err)
	}
	p.promote(t.Context(), t)
}

// promote makes the standby the primary, with the companions that this has.
func (p *Pair) promote(ctx context.Context, t testing.TB) {
	t.Helper()
	p.leads, p.awaits = 1-p.leads, ""
	if err := p.Promote(ctx, p.Primary()); err != nil {
		t.Fatalf("Promote: %v", err)
	}
	p.running[p.leads].accompany(t, p.Primary())
}

// Rejoin has the node that was fenced follow, by a copy where that is what it takes, and starts it.
func (p *Pair) Rejoin(t testing.TB) {
	t.Helper()
	if err := configure(t.Context(), p.engine, p.Primary()); err != nil { // as the keeper does once it has time
		t.Fatalf("Configure: %v", err)
	}
	err := p.Replicator.Rejoin(t.Context(), p.Primary(), p.Standby())
	if errors.Is(err, engine.ErrCopy) {
		t.Logf("Rejoin: %v", err)
		p.recopied++
		p.Copy(t)
		return
	}
	if err != nil {
		t.Fatalf("Rejoin: %v", err)
	}
	p.StartStandby(t)
}

// signal sends a signal to all processes of a node.
func (p *Pair) signal(t testing.TB, n engine.Node, s syscall.Signal) {
	t.Helper()
	pids, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range pids {
		if pid := pidOf(path); process.WorksIn(pid, filepath.Dir(n.DataDir)) {
			syscall.Kill(pid, s) // it may have ended
		}
	}
}

// hang stops all processes of the standby until the test ends, or goOn is called.
func (p *Pair) hang(t testing.TB) (goOn func()) {
	t.Helper()
	n := p.Standby()
	p.signal(t, n, syscall.SIGSTOP)
	goOn = func() { p.signal(t, n, syscall.SIGCONT) }
	t.Cleanup(goOn)
	return goOn
}

// user makes a user of the primary, and returns its credentials there and on the other node.
func (p *Pair) user(t testing.TB) (u engine.User, of [2]backstay.Credentials) {
	t.Helper()
	u = newUser()
	c, err := p.engine.CreateUser(t.Context(), p.Primary(), u)
	if err != nil {
		t.Fatalf("CreateUser: %v", err)
	}
	if p.standbyRuns() {
		if err := p.mirror(t.Context()); err != nil {
			t.Fatalf("Mirror: %v", err)
		}
	}
	of[p.leads], of[1-p.leads] = c, elsewhere(c, p.Primary(), p.Standby())
	return u, of
}

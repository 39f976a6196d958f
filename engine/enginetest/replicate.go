package enginetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/testkit"
)

func (s Subject) pair(t *testing.T) *Pair {
	t.Helper()
	replicator(t, s.Engine)
	return NewPair(t, s.Engine, s.cache)
}

// testFailover kills the primary under writers, promotes the standby, starts the old primary by hand, and has it
// follow: then the other way round.
func testFailover(t *testing.T, s Subject) {
	p := s.pair(t)
	p.Protect(t)
	for range 2 {
		_, c := p.user(t)
		l := s.startLoad(t, c[p.leads], 4)
		l.awaitMore(t, 200)
		began := time.Now()
		p.KillPrimary(t)
		written := s.firstWrite(t, c[1-p.leads], "first", began)
		p.FailOver(t)
		promoted := time.Since(began)
		t.Logf("promoted %v after the kill, the first write after %v", promoted, written())
		if s.Asynchronous {
			count, missing := l.compare(t, s, c[p.leads])
			t.Logf("of %d values, %d are lost", count, missing)
		} else {
			l.want(t, s, c[p.leads])
		}
		s.wantFenced(t, p, c[1-p.leads])
		p.Rejoin(t)
		p.Protect(t)
		s.session(t, c[p.leads], func(c Session) { mustSet(t, c, "after", "rejoined") })
	}
	t.Logf("%d of 2 rejoined by a copy", p.recopied)
}

// testPromotedBesideTheSilent promotes the standby of a primary that does nothing any more, and whose connections
// nobody closes: one that was killed, and whose disk does not answer, looks like that to its standby. That is to have
// what came by them, and not to wait for more.
func testPromotedBesideTheSilent(t *testing.T, s Subject) {
	p := s.pair(t)
	p.Protect(t)
	_, c := p.user(t)
	s.session(t, c[p.leads], func(c Session) { mustSet(t, c, "key", "acknowledged") })
	silent := p.Primary()
	p.signal(t, silent, syscall.SIGSTOP)
	limited, cancel := context.WithTimeout(t.Context(), silentPatience)
	defer cancel()
	p.promote(limited, t)
	if err := process.KillIn(filepath.Dir(silent.DataDir)); err != nil {
		t.Fatal(err)
	}
	s.session(t, c[p.leads], func(c Session) {
		wantValue(t, c, "key", "acknowledged")
		mustSet(t, c, "key", "later")
	})
}

// silentPatience is how long a promotion may take on a loaded machine. Servers wait for what their primary may still
// send for 5 to 60 seconds.
const silentPatience = 4 * time.Second

// wantFenced starts the node that was fenced, by hand: it may serve, but not write, and can be fenced again.
func (s Subject) wantFenced(t *testing.T, p *Pair, c backstay.Credentials) {
	t.Helper()
	n := p.nodes[1-p.leads]
	if err := p.Fence(n); err != nil {
		t.Errorf("Fence again: %v", err)
	}
	by := launch(t, s.Engine, n)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		session, err := s.Connect(ctx, c)
		if err == nil {
			err = session.Set(ctx, "fenced", "written")
			session.Close()
		}
		if err == nil {
			t.Fatal("a node that is fenced takes what a client writes")
		}
		time.Sleep(20 * time.Millisecond)
	}
	by.Kill(t)
	if err := process.KillIn(filepath.Dir(n.DataDir)); err != nil {
		t.Fatal(err)
	}
	if err := p.Fence(n); err != nil {
		t.Errorf("Fence again: %v", err)
	}
}

// testHandOver changes the parts of the two nodes under writers, there and back: nothing may be lost by it.
func testHandOver(t *testing.T, s Subject) {
	p := s.pair(t)
	for i := range 2 {
		if i == 1 && !s.Asynchronous {
			p.Protect(t)
		}
		_, c := p.user(t)
		l := s.startLoad(t, c[p.leads], 4)
		l.awaitMore(t, 200)
		if err := p.HandOver(t.Context(), p.Primary(), p.Standby()); err != nil {
			t.Fatalf("HandOver: %v", err)
		}
		began := time.Now()
		ended := p.EndPrimary(t)
		written := s.firstWrite(t, c[1-p.leads], "first", began)
		p.FailOver(t)
		t.Logf("the primary took %v to end, the first write came after %v", ended, written())
		l.want(t, s, c[p.leads])
		p.Rejoin(t)
		if p.recopied > 0 {
			t.Error("a node that has handed over cannot rejoin without a copy")
		}
	}
}

// testHandOverKilled kills the primary once it has handed over.
func testHandOverKilled(t *testing.T, s Subject) {
	p := s.pair(t)
	_, c := p.user(t)
	l := s.startLoad(t, c[p.leads], 4)
	l.awaitMore(t, 200)
	if err := p.HandOver(t.Context(), p.Primary(), p.Standby()); err != nil {
		t.Fatalf("HandOver: %v", err)
	}
	p.KillPrimary(t)
	p.FailOver(t)
	l.want(t, s, c[p.leads])
	p.Rejoin(t)
	p.Protect(t)
}

// testBothKilled kills both nodes under writers, and has the standby take over: what was acknowledged is in it.
func testBothKilled(t *testing.T, s Subject) {
	p := s.pair(t)
	p.Protect(t)
	_, c := p.user(t)
	l := s.startLoad(t, c[p.leads], 4)
	l.awaitMore(t, 200)
	p.KillPrimary(t)
	p.KillStandby(t)
	p.RestartStandby(t)
	if a, ok := s.Engine.(engine.Asynchronous); ok { // which cannot know any more what it lacks
		if err := a.Ready(t.Context(), p.Standby()); !errors.Is(err, engine.ErrBehind) {
			t.Errorf("Ready after both were killed: %v", err)
		}
		if err := a.Concede(p.Standby()); err != nil {
			t.Fatal(err)
		}
	}
	p.FailOver(t)
	if !s.Asynchronous {
		l.want(t, s, c[p.leads])
	}
	p.Rejoin(t)
	p.Protect(t)
}

// testStandbyGone kills the standby under writers: they wait, go on when nobody awaits it any more, and it comes back.
func testStandbyGone(t *testing.T, s Subject) {
	p := s.pair(t)
	p.Protect(t)
	_, c := p.user(t)
	l := s.startLoad(t, c[p.leads], 4)
	l.awaitMore(t, 100)
	p.KillStandby(t)
	s.wantReleased(t, p, l)
	s.wantNotAwaited(t, p, l)
	p.StartStandby(t)
	p.Protect(t)
	l.awaitMore(t, 100)
	p.KillPrimary(t)
	p.FailOver(t)
	if !s.Asynchronous {
		l.want(t, s, c[p.leads])
	}
}

// testStandbyHangs stops all processes of the standby under writers, and lets them go on.
func testStandbyHangs(t *testing.T, s Subject) {
	p := s.pair(t)
	p.Protect(t)
	_, c := p.user(t)
	l := s.startLoad(t, c[p.leads], 4)
	l.awaitMore(t, 100)
	goOn := p.hang(t)
	if !s.Asynchronous {
		l.wantWaiting(t)
		s.wantAdministeredWaiting(t, p)
	}
	s.wantReleased(t, p, l)
	s.wantNotAwaited(t, p, l)
	goOn()
	p.awaitFollowing(t)
	p.Protect(t)
	l.awaitMore(t, 100)
}

// wantReleased wants writers to wait for a standby that is away, and to go on a moment after nobody awaits it.
func (s Subject) wantReleased(t *testing.T, p *Pair, l *load) {
	t.Helper()
	if !s.Asynchronous {
		l.wantWaiting(t)
	}
	began := time.Now()
	p.Release(t)
	took := time.Since(began)
	l.awaitMore(t, 20)
	t.Logf("released within %v", took)
	if took > 5*time.Second {
		t.Errorf("it took %v until nobody waited for the standby any more", took)
	}
}

// wantNotAwaited wants a standby that does not follow not to be awaited, and nobody to wait for it afterwards.
func (s Subject) wantNotAwaited(t *testing.T, p *Pair, l *load) {
	t.Helper()
	err := p.await(t.Context(), p.Standby().Replication.Name, time.Second)
	if err == nil {
		t.Error("a standby is awaited that does not follow")
	}
	l.awaitMore(t, 20)
}

// wantAdministeredWaiting administers a primary whose clients wait for the standby. What a user may rely on is not told
// before the standby has it, but nothing hangs, and nothing is left in the way.
func (s Subject) wantAdministeredWaiting(t *testing.T, p *Pair) {
	t.Helper()
	n, u := p.Primary(), newUser()
	for what, err := range s.administer(t, n, u, time.Second) {
		switch {
		case err == nil && what == "CreateUser":
			t.Error("while clients wait for the standby, a user is told of that it does not have")
		case err != nil && (what == "Probe" || what == "Settle"):
			t.Errorf("while clients wait for the standby, %s: %v", what, err)
		case err != nil:
			wantUnavailable(t, "while clients wait for the standby, "+what, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), administrationPatience)
	defer cancel()
	for what, do := range map[string]func(context.Context) error{
		"Configure": func(ctx context.Context) error { return configure(ctx, s.Engine, n) },
		"Tend":      func(ctx context.Context) error { return tend(ctx, s.Engine, n) },
		"Reload":    func(ctx context.Context) error { return reload(ctx, s.Engine, n) },
	} {
		if err := do(ctx); err != nil {
			t.Errorf("while clients wait for the standby, %s: %v", what, err)
		}
	}
}

// testUsersFollow makes and drops users once the standby is there: they are there and gone after it was promoted.
func testUsersFollow(t *testing.T, s Subject) {
	p := s.pair(t)
	p.Protect(t)
	gone, dropped := p.user(t)
	_, stays := p.user(t)
	mustDrop(t, s, p.Primary(), gone)
	if s.Asynchronous {
		p.awaitFollowing(t)
	}
	p.KillPrimary(t)
	p.FailOver(t)
	s.session(t, stays[p.leads], func(c Session) { mustSet(t, c, "key", "value") })
	wantRefused(t, s, dropped[p.leads])
	_, later := p.user(t)
	s.session(t, later[p.leads], func(c Session) { wantValue(t, c, "key", "value") })
}

// testOrphan kills the primary while a client has it compute, and write: what works on without the first process ends
// with the fence, and nothing that it has told its client is missing.
func testOrphan(t *testing.T, s Subject) {
	if s.Spin == nil {
		t.Skip("nothing of this engine outlives its first process")
	}
	p := s.pair(t)
	p.Protect(t)
	_, c := p.user(t)
	session, err := s.Connect(t.Context(), c[p.leads])
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	ended := make(chan error, 1)
	go func() { ended <- s.Spin(t.Context(), session) }()
	time.Sleep(200 * time.Millisecond) // it is under way
	p.KillPrimary(t)
	p.FailOver(t)
	select {
	case err := <-ended:
		if err == nil {
			t.Error("what a client had begun came to its end")
		}
	case <-time.After(patience):
		t.Error("a session of the primary that was fenced goes on")
	}
	p.Rejoin(t)
	p.Protect(t)
	s.session(t, c[p.leads], func(c Session) { mustSet(t, c, "key", "value") })
}

// testCopyKilled kills the copying at several moments, under writers: the next one is whole.
func testCopyKilled(t *testing.T, s Subject) {
	testkit.InSomeRuns(t)
	replicator(t, s.Engine)
	p := newPair(t, s.Engine, s.cache)
	p.serve(t, 0)
	_, c := p.user(t)
	l := s.startLoad(t, c[p.leads], 2)
	l.awaitMore(t, 100)
	for range 4 {
		from := p.Primary()
		s.killDoing(t, order{Act: "copy", From: &from, Node: p.Standby()}, rand.N(700*time.Millisecond))
	}
	p.Copy(t)
	p.Protect(t)
	p.KillPrimary(t)
	p.FailOver(t)
	if !s.Asynchronous {
		l.want(t, s, c[p.leads])
	}
}

// testNeverCopied wants a node that follows to be no empty one in the place of a copy.
func testNeverCopied(t *testing.T, s Subject) {
	replicator(t, s.Engine)
	p := newPair(t, s.Engine, s.cache)
	if err := s.Engine.Prepare(t.Context(), p.Standby()); err == nil {
		t.Error("a node that follows is made of nothing")
	}
	wantNothingMade(t, p.Standby())
	p.serve(t, 0)
	if err := p.Replicator.Rejoin(t.Context(), p.Primary(), p.Standby()); !errors.Is(err, engine.ErrCopy) {
		t.Errorf("a node without data rejoins: %v, want that it takes a copy", err)
	}
	p.Copy(t)
}

// testRefuseWaiting has a primary refuse what clients write, while they wait for a standby that hangs: nobody is told
// that it is written what the standby does not have.
func testRefuseWaiting(t *testing.T, s Subject) {
	r := s.refuser(t)
	if s.Asynchronous {
		t.Skip("nobody waits for a standby of this engine")
	}
	p := s.pair(t)
	p.Protect(t)
	_, c := p.user(t)
	l := s.startLoad(t, c[p.leads], 4)
	l.awaitMore(t, 100)
	goOn := p.hang(t)
	l.wantWaiting(t)
	before, _ := l.told()
	full := p.Primary()
	full.Full = true
	mustRefuse(t, r, full, engine.NoWrites)
	time.Sleep(500 * time.Millisecond) // what is to be seen is that nothing happens
	if after, _ := l.told(); after != before {
		t.Errorf("of %d values, clients are told that they are written though the standby does not have them", after-before)
	}
	p.KillPrimary(t)
	goOn()
	p.FailOver(t)
	l.want(t, s, c[p.leads])
}

// testArchiveGoesOn archives a primary, what is left of it when it was killed, and the one after it. What both have
// written can be restored, of a backup of the first one.
func testArchiveGoesOn(t *testing.T, s Subject) {
	a := s.archiver(t)
	p := s.pair(t)
	b := a.mustBackup(t, p.Primary())
	if a.mustArchive(t, p.Primary()).Until.IsZero() {
		t.Skip("this engine has no archive")
	}
	p.Protect(t)
	_, c := p.user(t)
	l := s.startLoad(t, c[p.leads], 2)
	l.awaitMore(t, 50)
	a.mustArchive(t, p.Primary())
	l.awaitMore(t, 50)
	p.KillPrimary(t)
	p.FailOver(t)
	if archived := a.mustArchive(t, p.nodes[1-p.leads]); len(archived.Gaps) != 0 {
		t.Errorf("what is left of the primary has gaps: %v", archived.Gaps)
	}
	s.session(t, c[p.leads], func(c Session) { mustSet(t, c, "key", "later") })
	a.awaitArchived(t, p.Primary(), time.Now())
	n := a.restored(t, engine.Point{Backup: b.ID})
	restored := s.createUser(t, n, newUser())
	l.want(t, s, restored)
	s.session(t, restored, func(c Session) { wantValue(t, c, "key", "later") })
}

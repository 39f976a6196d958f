package enginetest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// testProbe wants Probe to succeed while the node serves, to be Unavailable before, after and while it hangs, and
// never to outlast its context.
func testProbe(t *testing.T, s Subject) {
	n := s.newNode(t)
	if err := s.Engine.Prepare(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	wantUnavailable(t, "of a node that was never started, a probe", s.Engine.Probe(t.Context(), n))
	p := Start(t, s.Engine, n)
	if err := p.configure(t.Context()); err != nil {
		t.Errorf("configured again: %v", err)
	}

	p.cmd.Process.Signal(syscall.SIGSTOP)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	wantUnavailable(t, "of a node that hangs, a probe", s.Engine.Probe(ctx, n))
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the probe of a node that hangs took %v, with a context of 300ms", took)
	}
	p.cmd.Process.Signal(syscall.SIGCONT)

	p.Stop(t)
	wantUnavailable(t, "of a node that was stopped, a probe", s.Engine.Probe(t.Context(), n))
}

// testPrograms wants a node's processes to run the programs that the engine names, since the keeper recognizes the
// processes by them.
func testPrograms(t *testing.T, s Subject) {
	p := Serve(t, s.Engine, s.newNode(t))
	for _, each := range append([]*Process{p}, p.companions...) {
		want, err := filepath.EvalSymlinks(each.program)
		if err != nil {
			t.Fatal(err)
		}
		runs, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", each.cmd.Process.Pid))
		if err != nil || runs != want {
			t.Errorf("it runs %s (%v), want %s", runs, err, want)
		}
		select {
		case <-each.ended:
			t.Errorf("%s has ended", each.program)
		default:
		}
	}
}

// testCompanions wants each companion to have a name of its own.
func testCompanions(t *testing.T, s Subject) {
	e, ok := s.Engine.(engine.Accompanied)
	if !ok {
		t.Skip("this engine is one process")
	}
	companions, err := e.Companions(s.newNode(t))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, c := range companions {
		if strings.Trim(c.Name, "abcdefghijklmnopqrstuvwxyz") != "" || c.Name == "" || seen[c.Name] {
			t.Errorf("the name %q is not one, or another's", c.Name)
		}
		seen[c.Name] = true
	}
}

// testStop stops a node that has a client: it must not wait for the client to leave.
func testStop(t *testing.T, s Subject) {
	n := s.newNode(t)
	p := Serve(t, s.Engine, n)
	if b, ok := s.Engine.(engine.Beginner); ok {
		for _, name := range b.Essential(n) {
			if _, err := os.Lstat(filepath.Join(n.DataDir, name)); err != nil {
				t.Errorf("it serves without what is essential: %v", err)
			}
		}
	}
	s.session(t, s.createUser(t, n, newUser()), func(c Session) {
		mustSet(t, c, "k", "v")
		if took := p.Stop(t); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
		if err := c.Set(t.Context(), "k", "w"); err == nil {
			t.Error("a client goes on after the end")
		}
	})
	if want := s.Engine.Ending(n).Status; !p.cmd.ProcessState.Exited() || p.cmd.ProcessState.ExitCode() != want {
		t.Errorf("it ended with %v, want status %d", p.cmd.ProcessState, want)
	}
}

// testKill kills a node while a client writes. What the client was told is committed must be there afterwards.
func testKill(t *testing.T, s Subject) {
	n := s.newNode(t)
	u := newUser()
	p := Serve(t, s.Engine, n)
	var told atomic.Int64
	s.session(t, s.createUser(t, n, u), func(c Session) {
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			for i := int64(1); c.Set(t.Context(), "count", strconv.FormatInt(i, 10)) == nil; i++ {
				told.Store(i)
			}
		}()
		await(t, "a hundred commits", func() bool { return told.Load() >= 100 })
		p.Kill(t)
		<-stopped
	})
	Serve(t, s.Engine, n)
	credentials := s.createUser(t, n, u)
	s.session(t, credentials, func(c Session) {
		text, err := c.Get(t.Context(), "count")
		if err != nil {
			t.Fatal(err)
		}
		got, err := strconv.ParseInt(text, 10, 64)
		if err != nil || got < told.Load() || got > told.Load()+1 {
			t.Errorf("after the kill the count is %q, want %d or the one that was under way", text, told.Load())
		}
	})
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within %v", what, patience)
		}
	}
}

// testExplain has a node fail to start, and wants the reason in one line.
func testExplain(t *testing.T, s Subject) {
	e, ok := s.Engine.(engine.Explainer)
	if !ok {
		t.Skip("this engine explains nothing")
	}
	n := s.newNode(t)
	if err := s.Engine.Prepare(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if said := e.Explain(n); said != "" {
		t.Errorf("a node that was never started says %q", said)
	}
	taken, err := net.Listen("tcp", net.JoinHostPort(n.Ports[0].Listen[0], strconv.Itoa(n.Ports[0].Number)))
	if err != nil {
		t.Fatal(err)
	}
	p := launch(t, s.Engine, n)
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatal("it runs, though its port is taken")
	}
	taken.Close()
	p.finish(t) // its log is complete
	if said := e.Explain(n); said == "" || strings.Contains(said, "\n") {
		t.Errorf("it explains itself with %q, want one line", said)
	}
	Start(t, s.Engine, n)
	await(t, "silence of a node that serves", func() bool { return e.Explain(n) == "" })
}

// testUsed prepares a node that has had data, and has none: none is made.
func testUsed(t *testing.T, s Subject) {
	n := s.newNode(t)
	n.Used = true
	if err := s.Engine.Prepare(t.Context(), n); backstay.KindOf(err) != backstay.Unavailable {
		t.Errorf("Prepare: %v", err)
	}
	if entries, err := os.ReadDir(n.DataDir); len(entries) > 0 {
		t.Errorf("something was made: %v, %v", entries, err)
	}
}

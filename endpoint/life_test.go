package endpoint_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/endpoint"
	"github.com/backstay/backstay/internal/process"
)

// TestOutlivesItsStarter kills who has started a front: that goes on, and is found and adopted.
func TestOutlivesItsStarter(t *testing.T) {
	t.Parallel()
	a := newTarget(t, "a")
	f := newFront(t)
	self, err := os.Executable()
	must(t, err)
	description, err := json.Marshal(f)
	must(t, err)
	starter := exec.Command(self, beStarter, string(description))
	starter.Stderr = t.Output()
	out, err := starter.StdoutPipe()
	must(t, err)
	must(t, starter.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "started\n" {
		t.Fatalf("the starter says %q, %v", line, err)
	}
	must(t, f.Client().Switch(t.Context(), a.at))
	c := dial(t, f)
	checkServedBy(t, c, a)
	first, err := f.Find()
	must(t, err)
	defer first.Close()
	must(t, starter.Process.Kill())
	starter.Wait()
	checkServedBy(t, c, a)
	checkServedBy(t, dial(t, f), a)
	if p := ensure(t, f); p.PID != first.PID {
		t.Errorf("the front is %d; want %d to be adopted", p.PID, first.PID)
	}
}

// TestKilled kills a front: the next one knows what that was told, whether clients wait included.
func TestKilled(t *testing.T) {
	t.Parallel()
	a := newTarget(t, "a")
	f, p := serving(t, a)
	c := dial(t, f)
	checkServedBy(t, c, a)
	kill(t, p)
	if _, err := io.Copy(io.Discard, c); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client of a front that was killed reads %v", err)
	}
	if found, err := f.Find(); found != nil || err != nil {
		t.Fatalf("a front is found, %v", err)
	}
	p = ensure(t, f)
	checkServedBy(t, dial(t, f), a)
	must(t, f.Client().Hold(t.Context()))
	kill(t, p)
	ensure(t, f)
	c = dial(t, f)
	checkWaits(t, c)
	must(t, f.Client().Release(t.Context()))
	checkServedBy(t, c, a)
}

func kill(t *testing.T, p *process.Process) {
	t.Helper()
	must(t, p.Signal(syscall.SIGKILL))
	<-p.Done()
}

// TestDamagedRecord: what cannot be read is no target.
func TestDamagedRecord(t *testing.T) {
	t.Parallel()
	a := newTarget(t, "a")
	f, p := serving(t, a)
	other := `{"format": 2, "targets": ["` + a.at.String() + `"]}`
	for _, text := range []string{"", "{", other, `{"format": 1, "more": true}`} {
		kill(t, p)
		must(t, os.WriteFile(endpoint.RecordIn(f.Dir), []byte(text), 0o600))
		p = ensure(t, f)
		checkWaits(t, dial(t, f))
	}
	must(t, f.Client().Switch(t.Context(), a.at))
	checkServedBy(t, dial(t, f), a)
}

// TestEndsAFrontThatHangs ends one that hears no signal but SIGKILL.
func TestEndsAFrontThatHangs(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	p := ensure(t, f)
	must(t, p.Signal(syscall.SIGSTOP))
	must(t, f.End())
	<-p.Done()
	must(t, f.End())
}

// TestStarterLeavesEarly: a front comes up though nobody is there any more to be told so, as when a keeper is killed
// while it starts one.
func TestStarterLeavesEarly(t *testing.T) {
	t.Parallel()
	a := newTarget(t, "a")
	f := newFront(t)
	gone, leave := context.WithCancel(t.Context())
	leave()
	p, err := f.Start(gone) // it may be told all the same, where the front is quick
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatalf("who leaves gets %v", err)
	}
	for deadline := time.Now().Add(20 * time.Second); p == nil; time.Sleep(time.Millisecond) {
		var err error
		p, err = f.Find()
		must(t, err)
		if time.Now().After(deadline) {
			t.Fatal("it does not come up")
		}
	}
	defer p.Close()
	must(t, f.Client().Switch(t.Context(), a.at))
	select {
	case <-p.Done():
		t.Fatal("it has ended")
	case <-time.After(100 * time.Millisecond): // in which it says that it serves
	}
	checkServedBy(t, dial(t, f), a)
}

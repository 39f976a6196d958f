package node

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/mysql"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/engine/redis"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/testkit"
)

// TestSilenceIsNoAnswer asks engines of which nothing comes back: each must let the wait be told from a refusal.
func TestSilenceIsNoAnswer(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]engine.Engine{
		"postgres": postgres.Engine{}, "mysql": mysql.Engine{}, "redis": redis.Engine{},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := testkit.Dir(t)
			l, err := net.Listen("unix", filepath.Join(dir, "silent"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			n := Node{Dir: dir, Engine: e, Node: engine.Node{DataDir: filepath.Join(dir, "data"), RunDir: dir}}
			n.Admin = engine.SocketAdmin(n.Node, l.Addr().String(), "root")
			n.Admin.Secret = func() (backstay.Secret, error) { return "secret", nil }
			if err := n.askWithin(t.Context(), 200*time.Millisecond); !errors.Is(err, ErrSilent) {
				t.Errorf("%v, want %v", err, ErrSilent)
			}
			l.Close()
			if err := n.askWithin(t.Context(), 200*time.Millisecond); err == nil || errors.Is(err, ErrSilent) {
				t.Errorf("where nobody listens: %v, want a refusal", err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := n.askWithin(ctx, 200*time.Millisecond); errors.Is(err, ErrSilent) {
				t.Errorf("silence where nobody waits: %v", err)
			}
		})
	}
}

// TestAskOfWhatIsStopped: that a process was stopped is told while it is asked, however long it may take to answer.
func TestAskOfWhatIsStopped(t *testing.T) {
	t.Parallel()
	dir := testkit.Dir(t)
	l, err := net.Listen("unix", filepath.Join(dir, "silent"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	n := Node{Dir: dir, Engine: redis.Engine{}, Node: engine.Node{DataDir: filepath.Join(dir, "data"), RunDir: dir}}
	n.Admin = engine.SocketAdmin(n.Node, l.Addr().String(), "root")
	n.Admin.Secret = func() (backstay.Secret, error) { return "secret", nil }
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	p, err := process.Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	go func() {
		if conn, err := l.Accept(); err == nil { // it is being asked
			cmd.Process.Signal(syscall.SIGSTOP)
			<-t.Context().Done()
			conn.Close()
		}
	}()
	if err := n.Ask(t.Context(), p); !errors.Is(err, ErrStopped) {
		t.Errorf("%v, want %v", err, ErrStopped)
	}
}

func TestPatience(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		loadavg    string
		processors int
		want       time.Duration
	}{
		{"0.00 0.00 0.00 1/100 1", 2, 2 * time.Second},
		{"1.90 0.00 0.00 2/100 1", 2, 2 * time.Second},
		{"8.00 0.00 0.00 2/100 1", 2, 8 * time.Second},
		{"0.10 0.00 0.00 20/100 1", 2, 20 * time.Second},
		{"500.00 0.00 0.00 20/100 1", 2, 30 * time.Second},
		{"8.00 0.00 0.00 2/100 1", 16, 2 * time.Second},
		{"", 2, 2 * time.Second},
		{"a b c d/e f", 2, 2 * time.Second},
	} {
		if got := patienceAt(tc.loadavg, tc.processors); got != tc.want {
			t.Errorf("%q on %d processors: %s, want %s", tc.loadavg, tc.processors, got, tc.want)
		}
	}
}

func TestIsStopped(t *testing.T) {
	t.Parallel()
	program := testkit.Dir(t) + "/a) T (b" // a name that looks like the end of one
	if out, err := exec.Command("cp", "/bin/sleep", program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command(program, "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if IsStopped(cmd.Process.Pid) {
		t.Error("a process that sleeps is taken for stopped")
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); !IsStopped(cmd.Process.Pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			state, err := stateOf(cmd.Process.Pid)
			t.Fatalf("the state is %q, %v", state, err)
		}
	}
	if IsStopped(0) {
		t.Error("no process is stopped")
	}
}

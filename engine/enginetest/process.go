package enginetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/wait"
)

// patience is how long a test waits for something that should take a moment, since the machine may be busy.
const patience = 30 * time.Second

// startPatience is how long a test waits for a node to serve: a Java machine alone takes seconds of a processor.
const startPatience = 4 * time.Minute

// Process is a node's running server, with its companions.
type Process struct {
	engine     engine.Engine
	node       engine.Node
	cmd        *exec.Cmd
	program    string // that it runs in the end
	ended      chan struct{}
	companions []*Process
	name       string // of a companion
}

// Serve prepares the node, starts its processes, waits until it serves, and configures it. The processes are ended
// when the test ends, which fails if they do not end in an orderly way. They end with the test's process, however
// that ends.
func Serve(t testing.TB, e engine.Engine, n engine.Node) *Process {
	t.Helper()
	if err := e.Prepare(t.Context(), n); err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	return Start(t, e, n)
}

// Start is Serve for a node that is prepared. It tries again if the server ends at once, as the keeper does:
// processes of a server that was killed before may take a moment to notice.
func Start(t testing.TB, e engine.Engine, n engine.Node) *Process {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startPatience)
	defer cancel()
	for {
		p := launch(t, e, n)
		err := p.awaitService(ctx)
		if err == nil {
			return p
		}
		if !errors.Is(err, errEnded) || ctx.Err() != nil {
			t.Fatalf("the node does not serve: %v; it says %q", err, p.explain())
		}
	}
}

var errEnded = errors.New("its process has ended")

// launch starts a node's processes as the keeper does: the server, then its companions.
func launch(t testing.TB, e engine.Engine, n engine.Node) *Process {
	t.Helper()
	main, err := e.Command(n)
	if err != nil {
		t.Fatalf("Command: %v", err)
	}
	p := spawn(t, e, n, main)
	p.accompany(t, n)
	return p
}

// accompany starts the companions that the node has as it is now, and that do not run.
func (p *Process) accompany(t testing.TB, n engine.Node) {
	t.Helper()
	a, ok := p.engine.(engine.Accompanied)
	if !ok {
		return
	}
	companions, err := a.Companions(n)
	if err != nil {
		t.Fatalf("Companions: %v", err)
	}
	before := p.companions
	p.companions = nil // in the order of the engine, in which they end
	for _, c := range companions {
		named := func(runs *Process) bool { return runs.name == c.Name }
		if i := slices.IndexFunc(before, named); i >= 0 {
			p.companions = append(p.companions, before[i])
			continue
		}
		started := spawn(t, p.engine, n, c.Process)
		started.name = c.Name
		p.companions = append(p.companions, started)
	}
}

// spawn starts one process, which ends with the test.
func spawn(t testing.TB, e engine.Engine, n engine.Node, process engine.Process) *Process {
	t.Helper()
	said, err := os.OpenFile(n.LogFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	p := &Process{engine: e, node: n, cmd: process.Cmd, program: process.Executable(), ended: make(chan struct{})}
	cmd := p.cmd
	cmd.Args = append([]string{"/bin/sh", "-c", `umask 077; exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	cmd.Dir = filepath.Dir(n.DataDir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if n.Account != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: n.Account.UID, Gid: n.Account.GID}
		if err := said.Chown(int(n.Account.UID), int(n.Account.GID)); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the command: %v", err)
	}
	go func() {
		defer close(p.ended)
		cmd.Wait() // who ends it looks at its state
	}()
	t.Cleanup(func() { p.finish(t) })
	return p
}

func (p *Process) awaitService(ctx context.Context) error {
	err := wait.Until(ctx, wait.Every(5*time.Millisecond), func() (again bool, err error) {
		select {
		case <-p.ended:
			return false, errEnded
		default:
		}
		err = p.engine.Probe(ctx, p.node)
		return err != nil, err
	})
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	return p.configure(ctx)
}

func (p *Process) configure(ctx context.Context) error { return configure(ctx, p.engine, p.node) }

// explain returns what the engine says about the server's end, for the messages of tests.
func (p *Process) explain() string {
	if e, ok := p.engine.(engine.Explainer); ok {
		return e.Explain(p.node)
	}
	return ""
}

// Stop asks the companions and the server to end, as the keeper does, and returns how long the server took.
func (p *Process) Stop(t testing.TB) time.Duration {
	t.Helper()
	for _, c := range slices.Backward(p.companions) {
		c.end(t, engine.Ending{Signal: syscall.SIGTERM, Grace: patience})
	}
	began := time.Now()
	p.end(t, p.engine.Ending(p.node))
	return time.Since(began)
}

func (p *Process) end(t testing.TB, how engine.Ending) {
	t.Helper()
	p.cmd.Process.Signal(how.Signal) // it may have ended: then there is nothing to ask
	select {
	case <-p.ended:
	case <-time.After(how.Grace):
		p.Kill(t)
		t.Errorf("%s did not end within %v of %v", p.program, how.Grace, how.Signal)
	}
}

// Signal sends the server's first process a signal.
func (p *Process) Signal(t testing.TB, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// Done is closed when the server's first process has ended.
func (p *Process) Done() <-chan struct{} { return p.ended }

// Kill ends the server's first process at once, without a chance to save anything.
func (p *Process) Kill(t testing.TB) {
	t.Helper()
	p.cmd.Process.Kill()
	<-p.ended
}

// finish leaves no process of the server behind.
func (p *Process) finish(t testing.TB) {
	select {
	case <-p.ended:
	default:
		p.Stop(t)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		left := session(p.cmd.Process.Pid)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("processes %v of the server outlive it", left)
			for _, pid := range left {
				syscall.Kill(pid, syscall.SIGKILL)
			}
			return
		}
	}
}

// session returns the processes of the session with this id, which is the pid of its first process.
func session(id int) []int {
	var members []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// The name, in parentheses, may hold anything; then: state, parent, group, session.
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if len(fields) > 3 && fields[3] == strconv.Itoa(id) && fields[0] != "Z" {
			members = append(members, pidOf(filepath.Dir(path)))
		}
	}
	return members
}

// pidOf returns the pid of a process's directory below /proc.
func pidOf(path string) int {
	pid, _ := strconv.Atoi(filepath.Base(path)) // it is a number
	return pid
}

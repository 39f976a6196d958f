package enginetest

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/step"
)

// victim is an environment variable. It is set for a process that is to be killed while it works on a node.
const victim = "ENGINETEST_VICTIM"

// order is what a victim is to do: to prepare the node, unless Act names something else.
type order struct {
	Act        string
	DieAfter   string // the step behind which it kills itself; empty: it is killed from outside, or not at all
	Node       engine.Node
	From       *engine.Node // for "upgrade", "clone", "copy" and "rejoin"
	Repository *backstay.Repository
	Backup     backstay.Backup
}

// beVictim does what it reads from standard input, and is killed meanwhile.
func (s Subject) beVictim() {
	var o order
	err := json.NewDecoder(os.Stdin).Decode(&o)
	if err == nil {
		os.Stdout.WriteString("begun\n")
		step.After = o.pass
		err = s.obey(o)
	}
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	os.Exit(0)
}

// pass tells of a step that is done, and is where the victim may die.
func (o order) pass(done string) {
	os.Stdout.WriteString(done + "\n")
	if done == o.DieAfter {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

func (s Subject) obey(o order) error {
	ctx := context.Background()
	o.Node.Admin = s.Engine.LocalAdmin(o.Node)
	if o.From != nil {
		o.From.Admin = s.Engine.LocalAdmin(*o.From)
	}
	switch o.Act {
	case "upgrade":
		return s.Engine.(engine.Upgrader).Upgrade(ctx, *o.From, o.Node, func(string) {})
	case "clone":
		return s.Engine.(engine.Cloner).Clone(ctx, *o.From, o.Node, func(string) {})
	case "copy":
		return s.Engine.(engine.Replicator).Copy(ctx, *o.From, o.Node, func(string) {})
	case "rejoin":
		return s.Engine.(engine.Replicator).Rejoin(ctx, *o.From, o.Node)
	case "backup":
		_, err := s.Engine.(engine.Archiver).Backup(ctx, o.Node, *o.Repository, false)
		return err
	case "archive":
		_, err := s.Engine.(engine.Archiver).Archive(ctx, o.Node, *o.Repository, 0, time.Time{})
		return err
	case "verify":
		_, err := s.Engine.(engine.Archiver).Verify(ctx, bare(o.Node), *o.Repository)
		return err
	case "expire":
		return s.Engine.(engine.Archiver).Expire(ctx, o.Node, *o.Repository, []string{o.Backup.ID})
	case "restore":
		return s.Engine.(engine.Archiver).Restore(ctx, o.Node, *o.Repository, engine.Point{Backup: o.Backup.ID})
	}
	return s.Engine.Prepare(ctx, o.Node)
}

// killDoing kills a process that does what is ordered, after a time.
func (s Subject) killDoing(t *testing.T, o order, after time.Duration) {
	t.Helper()
	cmd, out := s.begin(t, o, nil)
	defer cmd.Wait() // it was killed, or came to its end before
	defer cmd.Process.Kill()
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatalf("the victim did not begin: %v", err)
	}
	time.Sleep(after) // the point of the test is that any moment will do
}

// steps has a process do what is ordered, until it has come to its end or to where it dies, and names the steps that it
// has done.
func (s Subject) steps(t *testing.T, o order) []string {
	t.Helper()
	var complaint strings.Builder
	cmd, out := s.begin(t, o, &complaint)
	said, err := io.ReadAll(out)
	ended := cmd.Wait()
	done := strings.Split(strings.TrimSpace(string(said)), "\n")[1:]
	switch killed := !cmd.ProcessState.Exited(); {
	case err != nil:
		t.Fatal(err)
	case killed != (o.DieAfter != "") || !killed && ended != nil:
		t.Fatalf("the victim that was to end behind %q did %q: %v, %s", o.DieAfter, done, ended, complaint.String())
	}
	return done
}

// begin starts a process that does what is ordered, and returns what that says.
func (s Subject) begin(t *testing.T, o order, stderr io.Writer) (cmd *exec.Cmd, out io.Reader) {
	t.Helper()
	top, _, _ := strings.Cut(t.Name(), "/")
	cmd = exec.Command(os.Args[0], "-test.run=^"+top+"$")
	cmd.Env = append(os.Environ(), victim+"=1")
	cmd.Stderr = stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if out, err = cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := json.NewEncoder(in).Encode(o); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

package enginetest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// testSilence wants everything that administers a node to fail in time, with a sentence, if the node does not answer.
func testSilence(t *testing.T, s Subject) {
	n := s.newNode(t)
	p := Serve(t, s.Engine, n)
	u := newUser()
	s.createUser(t, n, u)
	p.Signal(t, syscall.SIGSTOP)
	for what, err := range s.administer(t, n, u, time.Second) {
		wantUnavailable(t, "of a node that hangs, "+what, err)
	}
	p.Kill(t)
	for what, err := range s.administer(t, n, u, time.Second) {
		wantUnavailable(t, "of a node that has ended, "+what, err)
	}
}

// testFullDisk fills the node's disk. Creating and dropping users may fail then, with a sentence, and must succeed
// when the disk has room again.
func testFullDisk(t *testing.T, s Subject) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a node a small disk")
	}
	n := s.newNode(t)
	full := smallDisk(t, n)
	Serve(t, s.Engine, n)
	u := newUser()
	credentials := s.createUser(t, n, u)
	s.session(t, credentials, func(c Session) { mustSet(t, c, "k", "v") })
	full(noRoom)
	for what, err := range s.administer(t, n, u, 10*time.Second) {
		t.Logf("while the disk is full, %s: %v", what, err)
		if err != nil {
			wantUnavailable(t, "of a node whose disk is full, "+what, err)
		}
	}
	full(allRoom)
	await(t, "node that serves again", func() bool { return s.Engine.Probe(t.Context(), n) == nil })
	for what, err := range s.administer(t, n, u, patience) {
		if err != nil {
			t.Errorf("when the disk has room again, %s: %v", what, err)
		}
	}
}

// littleRoom is less than the keeper gives up for a start on a full disk.
const littleRoom = 6 * backstay.MB

// testEndedOnAFullDisk ends a node whose disk is full in the orderly way. With the little room that the keeper gives up
// then, it must start again, and hold what it held.
func testEndedOnAFullDisk(t *testing.T, s Subject) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a node a small disk")
	}
	n := s.newNode(t)
	full := smallDisk(t, n)
	p := Serve(t, s.Engine, n)
	credentials := s.createUser(t, n, newUser())
	s.session(t, credentials, func(c Session) { mustSet(t, c, "k", "v") })
	full(noRoom)
	p.Stop(t)
	full(littleRoom)
	Start(t, s.Engine, n)
	s.session(t, credentials, func(c Session) { wantValue(t, c, "k", "v") })
}

// administer calls everything that administers a running node, each with this time limit.
func (s Subject) administer(t *testing.T, n engine.Node, u engine.User, within time.Duration) map[string]error {
	t.Helper()
	ask := func(f func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		began := time.Now()
		err := f(ctx)
		if took := time.Since(began); took > within+5*time.Second {
			t.Errorf("it took %v, with a context of %v", took, within)
		}
		return err
	}
	asked := map[string]error{
		"Probe":    ask(func(ctx context.Context) error { return s.Engine.Probe(ctx, n) }),
		"DropUser": ask(func(ctx context.Context) error { return s.Engine.DropUser(ctx, n, u.Name) }),
		"CreateUser": ask(func(ctx context.Context) error {
			_, err := s.Engine.CreateUser(ctx, n, u)
			return err
		}),
	}
	if settler, ok := s.Engine.(engine.Settler); ok {
		asked["Settle"] = ask(func(ctx context.Context) error { return settler.Settle(ctx, n) })
	}
	return asked
}

func wantUnavailable(t *testing.T, what string, err error) {
	t.Helper()
	if backstay.KindOf(err) != backstay.Unavailable {
		t.Errorf("%s: %v, want it unavailable, with a sentence", what, err)
	}
}

// What smallDisk's function can leave free.
const (
	noRoom  backstay.Bytes = 0
	allRoom backstay.Bytes = -1
)

// smallDisk gives a node that is not prepared yet a small disk of its own, and returns a function that leaves so much
// room on the disk.
func smallDisk(t *testing.T, n engine.Node) (leave func(backstay.Bytes)) {
	t.Helper()
	dir := filepath.Dir(n.DataDir)
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=256m,mode=0700"); err != nil {
		t.Skipf("this root may not mount: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	uid, gid := n.Account.IDs()
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	makeDir(t, filepath.Dir(n.LogFile), 0o700, n.Account)
	filler := filepath.Join(dir, "filler")
	return func(free backstay.Bytes) {
		if err := refill(filler, free); err != nil {
			t.Fatal(err)
		}
	}
}

// refill makes the file take all the room of its disk but so much; allRoom is no file at all.
func refill(path string, free backstay.Bytes) error {
	if free == allRoom {
		return os.Remove(path)
	}
	if err := fill(path); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, info.Size()-int64(free))
}

// fill makes a file that takes all the room that its disk has.
func fill(path string) error {
	f, err := os.Create(path)
	for err == nil {
		_, err = f.Write(make([]byte, 1<<20))
	}
	if errors.Is(err, unix.ENOSPC) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

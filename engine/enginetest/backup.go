package enginetest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/testkit"
)

// NewRepository returns a repository in a directory that goes with the test.
func NewRepository(t testing.TB) backstay.Repository {
	t.Helper()
	dir := filepath.Join(testkit.MemoryDir(t), "repository")
	makeDir(t, dir, 0o700, nil)
	return backstay.Repository{Dir: dir}.Of(backstay.InstanceID(uuid.NewString()), newKey(t))
}

func newKey(t testing.TB) backstay.Secret {
	t.Helper()
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		t.Fatal(err)
	}
	return backstay.Secret(hex.EncodeToString(key))
}

// archiver is an engine whose nodes can be backed up, with one repository. Its methods fail the test where the
// engine's fail.
type archiver struct {
	engine.Archiver
	Subject
	repository backstay.Repository
}

func (s Subject) archiver(t *testing.T) archiver {
	t.Helper()
	a, ok := s.Engine.(engine.Archiver)
	if !ok {
		t.Skip("this engine takes no backups")
	}
	return archiver{a, s, NewRepository(t)}
}

func (a archiver) mustBackup(t *testing.T, n engine.Node) backstay.Backup {
	t.Helper()
	b, err := a.Backup(t.Context(), n, a.repository, false)
	if err != nil {
		t.Fatalf("Backup: %v", err)
	}
	return b
}

func (a archiver) mustArchive(t *testing.T, n engine.Node) engine.Archived {
	t.Helper()
	archived, err := a.Archive(t.Context(), n, a.repository, 0, time.Time{})
	if err != nil {
		t.Fatalf("Archive: %v", err)
	}
	return archived
}

func (a archiver) mustList(t *testing.T, n engine.Node) []backstay.Backup {
	t.Helper()
	found, err := a.Backups(t.Context(), bare(n), a.repository)
	if err != nil {
		t.Fatalf("Backups: %v", err)
	}
	return found
}

// bare is as much of a node as is left when its instance was removed.
func bare(n engine.Node) engine.Node {
	return engine.Node{Installation: n.Installation, RunDir: n.RunDir, Account: n.Account}
}

func (a archiver) mustVerify(t *testing.T, n engine.Node, b backstay.Backup) {
	t.Helper()
	f, err := a.Verify(t.Context(), bare(n), a.repository)
	if damage, found := f.Backups[b.ID]; err != nil || !found || damage != "" || len(f.Lost) > 0 {
		t.Fatalf("Verify: %+v, %v; want %s to be whole", f, err, b.ID)
	}
}

// restored returns a new node that serves what was restored.
func (a archiver) restored(t *testing.T, to engine.Point) engine.Node {
	t.Helper()
	n := a.newNode(t)
	if err := a.Restore(t.Context(), n, a.repository, to); err != nil {
		t.Fatalf("Restore: %v", err)
	}
	Serve(t, a.Engine, n)
	return n
}

// wantRestored wants a key to have a value in what was restored.
func (a archiver) wantRestored(t *testing.T, to engine.Point, key, want string) {
	t.Helper()
	n := a.restored(t, to)
	a.session(t, a.createUser(t, n, newUser()), func(c Session) { wantValue(t, c, key, want) })
}

// testBackup restores a backup as another node: with what was there, without what came later, and without the users.
func testBackup(t *testing.T, s Subject) {
	a := s.archiver(t)
	n := s.newNode(t)
	Serve(t, s.Engine, n)
	u, reads := newUser(), newUser()
	reads.ReadOnly = true
	writer, reader := s.createUser(t, n, u), s.createUser(t, n, reads)
	s.session(t, writer, func(c Session) { mustSet(t, c, "key", "before") })
	if found := a.mustList(t, n); len(found) != 0 {
		t.Errorf("an empty repository holds %v", found)
	}
	b := a.mustBackup(t, n)
	s.session(t, writer, func(c Session) { mustSet(t, c, "key", "after") })
	if b.ID == "" || b.Ended.Before(b.Began) || b.Data <= 0 || b.Stored <= 0 || b.Version != n.Installation.FullVersion {
		t.Errorf("the backup is %+v", b)
	}
	a.mustArchive(t, n)
	a.mustVerify(t, n, b)
	a.wantPrivateRepository(t)

	copied := s.newNode(t)
	if err := a.Restore(t.Context(), copied, a.repository, engine.Point{Backup: b.ID, Alone: true}); err != nil {
		t.Fatalf("Restore: %v", err)
	}
	p := Serve(t, s.Engine, copied)
	for _, c := range []backstay.Credentials{writer, reader} {
		wantRefused(t, s, elsewhere(c, n, copied))
	}
	u.Password = newUser().Password
	s.session(t, s.createUser(t, copied, u), func(c Session) {
		wantValue(t, c, "key", "before")
		mustSet(t, c, "key", "copied")
	})
	s.session(t, s.createUser(t, copied, reads), func(c Session) { wantValue(t, c, "key", "copied") })
	p.Stop(t)
	wantPrivate(t, copied)
	s.session(t, writer, func(c Session) { wantValue(t, c, "key", "after") })
}

// elsewhere are the credentials of a user of one node, for another one.
func elsewhere(c backstay.Credentials, from, to engine.Node) backstay.Credentials {
	moved := backstay.Credentials{}
	was, is := fmt.Sprintf(":%d", from.Endpoint.Port), fmt.Sprintf(":%d", to.Endpoint.Port)
	for key, value := range c {
		if text, ok := value.(string); ok {
			value = strings.ReplaceAll(text, was, is)
		}
		moved[key] = value
	}
	moved["port"] = to.Endpoint.Port
	return to.WithAuthority(moved)
}

// wantPrivateRepository wants nobody but us to have access to the repository.
func (a archiver) wantPrivateRepository(t *testing.T) {
	t.Helper()
	for _, path := range files(t, a.repository.Dir) {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v: others may use it", path, info.Mode())
		}
	}
}

// testExpire wants only the backups that are kept to be there afterwards, and each of these to be whole.
func testExpire(t *testing.T, s Subject) {
	testkit.InSomeRuns(t)
	a := s.archiver(t)
	n := s.newNode(t)
	Serve(t, s.Engine, n)
	credentials := s.createUser(t, n, newUser())
	var all []backstay.Backup
	for _, value := range []string{"first", "second", "third"} {
		s.session(t, credentials, func(c Session) { mustSet(t, c, "key", value) })
		all = append(all, a.mustBackup(t, n))
		a.mustArchive(t, n)
	}
	a.wantList(t, n, all...)
	a.mustExpire(t, n, all[1].ID, all[2].ID, "never-made")
	a.wantList(t, n, all[1:]...)
	a.mustVerify(t, n, all[1])
	a.wantRestored(t, engine.Point{Backup: all[1].ID, Alone: true}, "key", "second")
	a.mustExpire(t, n, all[2].ID)
	a.mustExpire(t, bare(n), all[2].ID)
	a.wantList(t, n, all[2])
	err := a.Restore(t.Context(), s.newNode(t), a.repository, engine.Point{Backup: all[1].ID, Alone: true})
	if backstay.KindOf(err) != backstay.NotFound {
		t.Errorf("a backup that is gone: got %v, want it not to be found", err)
	}
	a.wantRestored(t, engine.Point{Backup: all[2].ID}, "key", "third")
	a.mustExpire(t, bare(n))
	a.wantList(t, n)
	a.mustArchive(t, n)
	a.wantRestored(t, engine.Point{Backup: a.mustBackup(t, n).ID, Alone: true}, "key", "third")
}

func (a archiver) mustExpire(t *testing.T, n engine.Node, keep ...string) {
	t.Helper()
	if err := a.Expire(t.Context(), n, a.repository, keep); err != nil {
		t.Fatalf("Expire: %v", err)
	}
}

func (a archiver) wantList(t *testing.T, n engine.Node, want ...backstay.Backup) {
	t.Helper()
	found := a.mustList(t, n)
	same := len(found) == len(want)
	for i := range min(len(found), len(want)) {
		f, w := found[i], want[i]
		same = same && f.ID == w.ID && f.Version == w.Version && f.Began.Equal(w.Began) && f.Ended.Equal(w.Ended)
	}
	if !same {
		t.Errorf("the repository holds %+v, want %+v", found, want)
	}
}

// testSecretsOfBackups looks for the repository's key where other users of the machine could see it.
func testSecretsOfBackups(t *testing.T, s Subject) {
	a := s.archiver(t)
	n := s.newNode(t)
	Serve(t, s.Engine, n)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			wantNoArgument(t, a.repository.Key.Reveal())
		}
	}()
	b := a.mustBackup(t, n)
	a.mustArchive(t, n)
	a.mustVerify(t, n, b)
	a.wantRestoredAlone(t, b)
	cancel()
	<-done
	for _, dir := range []string{n.DataDir, n.RunDir, filepath.Dir(n.LogFile)} {
		for _, path := range files(t, dir) {
			wantNotIn(t, path, a.repository.Key.Reveal())
		}
	}
}

func (a archiver) wantRestoredAlone(t *testing.T, b backstay.Backup) {
	t.Helper()
	n := a.newNode(t)
	if err := a.Restore(t.Context(), n, a.repository, engine.Point{Backup: b.ID, Alone: true}); err != nil {
		t.Fatalf("Restore: %v", err)
	}
}

func wantNoArgument(t *testing.T, secret string) {
	t.Helper()
	for _, kind := range []string{"cmdline", "environ"} {
		paths, err := filepath.Glob("/proc/[0-9]*/" + kind)
		if err != nil {
			t.Error(err)
		}
		for _, path := range paths {
			wantNotIn(t, path, secret)
		}
	}
}

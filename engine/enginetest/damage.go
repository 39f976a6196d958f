package enginetest

import (
	"cmp"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/testkit"
)

// testDamage wants damage of what takes the most room in the repository to be found by Verify, and never to be
// restored.
func testDamage(t *testing.T, s Subject) {
	a := s.archiver(t)
	n := s.newNode(t)
	Serve(t, s.Engine, n)
	s.session(t, s.createUser(t, n, newUser()), func(c Session) { mustSet(t, c, "key", "value") })
	b := a.mustBackup(t, n)
	a.mustArchive(t, n)
	a.mustVerify(t, n, b)
	whole := a.repository
	for what, harm := range map[string]func(*testing.T, string){
		"bits of it are flipped": flipBits, "its end is missing": cutOff,
		"it is gone": func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
	} {
		a.repository.Dir = copyDir(t, whole.Dir)
		harm(t, largest(t, a.repository.Dir))
		a.wantInvalid(t, n, b, what)
	}
	a.repository = whole
	a.repository.Key = newKey(t)
	a.wantInvalid(t, n, b, "the key is another one")
	a.repository = whole
	a.mustVerify(t, n, b)
	a.wantRestored(t, engine.Point{Backup: b.ID, Alone: true}, "key", "value")
}

// wantInvalid wants a backup that is damaged to be found to be so, and nothing to be made of it.
func (a archiver) wantInvalid(t *testing.T, n engine.Node, b backstay.Backup, why string) {
	t.Helper()
	err := a.Verify(t.Context(), n, a.repository, b)
	if backstay.KindOf(err) != backstay.Invalid || backstay.SentenceOf(err) == "" {
		t.Errorf("where %s, Verify: %v, want it to be invalid", why, err)
	}
	copied := a.newNode(t)
	err = a.Restore(t.Context(), copied, a.repository, engine.Point{Backup: b.ID, Alone: true})
	if backstay.KindOf(err) != backstay.Invalid || backstay.SentenceOf(err) == "" {
		t.Errorf("where %s, Restore: %v, want it to be invalid", why, err)
	}
	wantNothingMade(t, copied)
}

func copyDir(t *testing.T, dir string) string {
	t.Helper()
	copied := filepath.Join(testkit.Dir(t), "repository")
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", dir, copied).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	return copied
}

// largest returns the largest file below a directory.
func largest(t *testing.T, dir string) string {
	t.Helper()
	return slices.MaxFunc(files(t, dir), func(a, b string) int { return cmp.Compare(sizeOf(t, a), sizeOf(t, b)) })
}

func sizeOf(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// flipBits flips a bit in each of some bytes of a file.
func flipBits(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for range 16 {
		data[rand.IntN(len(data))] ^= 1 << rand.IntN(8)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// cutOff takes the second half of a file away.
func cutOff(t *testing.T, path string) {
	t.Helper()
	if err := os.Truncate(path, sizeOf(t, path)/2); err != nil {
		t.Fatal(err)
	}
}

// testRepositoryAway takes the repository away while a node serves. It serves on, and ends as quickly as ever, and
// nothing is lost when the repository is there again.
func testRepositoryAway(t *testing.T, s Subject) {
	a := s.archiver(t)
	n := s.newNode(t)
	p := Serve(t, s.Engine, n)
	u := newUser()
	credentials := s.createUser(t, n, u)
	b := a.mustBackup(t, n)
	archive := !a.mustArchive(t, n).Until.IsZero()
	away := takeAway(t, a.repository.Dir)
	s.session(t, credentials, func(c Session) {
		for range 3 {
			mustSet(t, c, "key", "while it is away")
			_, err := a.Archive(t.Context(), n, a.repository, 0)
			if archive {
				wantUnavailable(t, "where the repository is away, Archive", err)
			}
		}
	})
	_, err := a.Backup(t.Context(), n, a.repository, false)
	wantUnavailable(t, "where the repository is away, Backup", err)
	wantUnavailable(t, "where the repository is away, Verify", a.Verify(t.Context(), n, a.repository, b))
	wantUnavailable(t, "where the repository is away, Expire", a.Expire(t.Context(), n, a.repository, []string{b.ID}))
	copied := s.newNode(t)
	wantUnavailable(t, "where the repository is away, Restore",
		a.Restore(t.Context(), copied, a.repository, engine.Point{Backup: b.ID}))
	wantNothingMade(t, copied)
	if took := p.Stop(t); took > 10*time.Second {
		t.Errorf("the end took %v", took)
	}
	Serve(t, s.Engine, n)
	away()
	if archived := a.mustArchive(t, n); len(archived.Gaps) != 0 {
		t.Errorf("there are gaps: %v", archived.Gaps)
	}
	if archive {
		a.wantRestored(t, engine.Point{Backup: b.ID}, "key", "while it is away")
	}
	a.mustBackup(t, n)
}

// takeAway puts a file into the place of a directory, and returns what undoes that.
func takeAway(t *testing.T, dir string) (back func()) {
	t.Helper()
	err := errors.Join(os.Rename(dir, dir+".away"), os.WriteFile(dir, nil, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := errors.Join(os.Remove(dir), os.Rename(dir+".away", dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// testBackupKilled kills all that is done with a repository, at random moments. Whatever was interrupted, the next call
// succeeds, nothing is lost, and nothing is left behind.
func testBackupKilled(t *testing.T, s Subject) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	a := s.archiver(t)
	n := s.newNode(t)
	Serve(t, s.Engine, n)
	credentials := s.createUser(t, n, newUser())
	s.session(t, credentials, func(c Session) { mustSet(t, c, "key", "begin") })
	began := time.Now()
	first := a.mustBackup(t, n)
	whole := time.Since(began)
	keep := first
	for _, value := range []string{"a", "b"} {
		s.session(t, credentials, func(c Session) { mustSet(t, c, "key", value) })
		for _, act := range []string{"archive", "backup", "verify"} {
			s.killDoing(t, order{Act: act, Node: n, Repository: &a.repository, Backup: first}, rand.N(whole))
		}
		a.mustArchive(t, n)
		keep = a.mustBackup(t, n)
		s.killDoing(t, order{Act: "expire", Node: n, Repository: &a.repository, Backup: keep}, rand.N(whole/4))
		a.mustExpire(t, n, keep.ID)
		a.wantList(t, n, keep)
		a.mustVerify(t, n, keep)
	}
	copied := s.newNode(t)
	o := order{Act: "restore", Node: copied, Repository: &a.repository, Backup: keep}
	for range 3 {
		s.killDoing(t, o, rand.N(whole))
	}
	if err := a.Restore(t.Context(), copied, a.repository, engine.Point{Backup: keep.ID}); err != nil {
		t.Fatalf("Restore: %v", err)
	}
	Serve(t, s.Engine, copied)
	s.session(t, s.createUser(t, copied, newUser()), func(c Session) { wantValue(t, c, "key", "b") })
}

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
	"strings"
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
	for what, harm := range harms {
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
	f, err := a.Verify(t.Context(), bare(n), a.repository)
	if damage, found := f.Backups[b.ID]; err == nil && found && damage == "" || err != nil &&
		backstay.KindOf(err) != backstay.Invalid {
		t.Errorf("where %s, Verify: %+v, %v, want it to be invalid", why, f, err)
	}
	a.wantNoRestore(t, engine.Point{Backup: b.ID, Alone: true}, why)
}

// wantNoRestore wants what is damaged not to be restored, and a sentence that says so.
func (a archiver) wantNoRestore(t *testing.T, to engine.Point, why string) {
	t.Helper()
	copied := a.newNode(t)
	err := a.Restore(t.Context(), copied, a.repository, to)
	if sentence := backstay.SentenceOf(err); backstay.KindOf(err) != backstay.Invalid ||
		!strings.Contains(sentence, "damaged") {
		t.Errorf("where %s, Restore: %v, want it to be invalid", why, err)
	}
	wantNothingMade(t, copied)
}

// harms are ways to damage a file.
var harms = map[string]func(*testing.T, string){
	"bits are flipped": flipBits, "the end is missing": cutOff, "it is gone": remove, "it is empty": empty,
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func empty(t *testing.T, path string) {
	t.Helper()
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
}

// testLoss damages a part of the archive between two backups. What can be restored before it is, nothing is restored
// across it, and what is behind the next backup is as it was.
func testLoss(t *testing.T, s Subject) {
	a, n, _, first := s.archived(t)
	w, stop := a.archivedWriter(t, n)
	time.Sleep(2 * time.Second)
	a.awaitArchived(t, n, time.Now())
	before := files(t, a.repository.Dir)
	time.Sleep(2 * time.Second)
	a.awaitArchived(t, n, time.Now())
	added := slices.DeleteFunc(files(t, a.repository.Dir), func(path string) bool { return slices.Contains(before, path) })
	if len(added) == 0 {
		t.Fatal("nothing was archived")
	}
	harmed := strings.TrimPrefix(slices.Min(added), a.repository.Dir)
	time.Sleep(time.Second)
	stop()
	late := time.Now()
	a.awaitArchived(t, n, late)
	second := a.mustBackup(t, n)
	s.session(t, s.createUser(t, n, newUser()), func(c Session) { mustSet(t, c, "key", "behind it") })
	a.awaitArchived(t, n, time.Now())
	a.mustVerify(t, n, first)

	whole := a.repository
	a.repository.Dir = copyDir(t, whole.Dir)
	remove(t, a.repository.Dir+harmed)
	reached := a.wantLost(t, n, first, second).From.Truncate(time.Second)
	copied := a.restored(t, engine.Point{Backup: first.ID, Until: reached})
	s.session(t, s.createUser(t, copied, newUser()), func(c Session) { w.want(t, c, reached, reached) })
	a.wantRestored(t, engine.Point{Backup: second.ID}, "key", "behind it")
	a.wantNoRestore(t, engine.Point{Backup: first.ID}, "a part of the archive is gone")

	a.repository.Dir = copyDir(t, whole.Dir)
	for what, harm := range harms { // one of them, whichever comes
		harm(t, a.repository.Dir+harmed)
		a.wantLost(t, n, first, second)
		a.wantNoRestore(t, engine.Point{Backup: first.ID, Until: late}, "of a part of the archive "+what)
		break
	}
}

// testLostEnd wants the end of an archive to be missed: it is not taken for a shorter archive.
func testLostEnd(t *testing.T, s Subject) {
	a, n, _, b := s.archived(t)
	set := func(value string) time.Time {
		s.session(t, s.createUser(t, n, newUser()), func(c Session) { mustSet(t, c, "key", value) })
		now := time.Now()
		a.awaitArchived(t, n, now)
		return now
	}
	reached := engine.WholeSecond(set("kept"))
	time.Sleep(time.Until(reached.Add(time.Second)))
	set("later")
	before := files(t, a.repository.Dir)
	late := set("lost")
	whole := a.repository
	a.repository.Dir = copyDir(t, whole.Dir)
	for _, path := range files(t, whole.Dir) {
		if !slices.Contains(before, path) {
			remove(t, a.repository.Dir+strings.TrimPrefix(path, whole.Dir))
		}
	}
	f, err := a.Verify(t.Context(), bare(n), a.repository)
	if err != nil || f.Backups[b.ID] != "" || len(f.Lost) != 1 || f.Lost[0].From.After(late) {
		t.Errorf("Verify: %+v, %v; want one gap, before %v", f, err, late)
	}
	a.wantNoRestore(t, engine.Point{Backup: b.ID, Until: late}, "the end of the archive is gone")
	a.wantNoRestore(t, engine.Point{Backup: b.ID}, "the end of the archive is gone")
	a.wantRestored(t, engine.Point{Backup: b.ID, Until: reached}, "key", "kept")
}

// wantLost wants one gap to be found between two backups that are whole.
func (a archiver) wantLost(t *testing.T, n engine.Node, first, second backstay.Backup) backstay.Gap {
	t.Helper()
	f, err := a.Verify(t.Context(), bare(n), a.repository)
	if err != nil || f.Backups[first.ID] != "" || f.Backups[second.ID] != "" || len(f.Lost) != 1 {
		t.Fatalf("Verify: %+v, %v; want one gap, between %v and %v", f, err, first.Ended, second.Ended)
	}
	g := f.Lost[0]
	if g.From.Before(first.Ended) || !g.Until.After(g.From) || g.Until.After(second.Ended) {
		t.Errorf("the gap is %v, want it between %v and %v", g, first.Ended, second.Ended)
	}
	return g
}

func copyDir(t *testing.T, dir string) string {
	t.Helper()
	copied := filepath.Join(testkit.MemoryDir(t), "repository")
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
			_, err := a.Archive(t.Context(), n, a.repository, 0, time.Time{})
			if archive {
				wantUnavailable(t, "where the repository is away, Archive", err)
			}
		}
	})
	_, err := a.Backup(t.Context(), n, a.repository, false)
	wantUnavailable(t, "where the repository is away, Backup", err)
	_, err = a.Verify(t.Context(), bare(n), a.repository)
	wantUnavailable(t, "where the repository is away, Verify", err)
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
	testkit.InSomeRuns(t)
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

package postgres_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/testkit"
)

var archiving = postgres.Engine{}

// A server that was broken into may put links into its data directory. What they lead to, and only we may read, gets
// into no backup; what it may read itself is not laid out by a restore.
func TestLinksLeadNowhere(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("the server is the same user as we are")
	}
	n := enginetest.NewNode(t, archiving)
	enginetest.Serve(t, archiving, n)
	r := enginetest.NewRepository(t)
	secret := filepath.Join(t.TempDir(), "secret")
	link := filepath.Join(n.DataDir, "base", "link")
	err := errors.Join(os.WriteFile(secret, []byte("precious"), 0o600), os.Symlink(secret, link))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := archiving.Backup(t.Context(), n, r, false); backstay.KindOf(err) != backstay.Unavailable {
		t.Errorf("what only we may read: got %+v, %v", b, err)
	}
	to := enginetest.NewNode(t, archiving)
	if err := archiving.Clone(t.Context(), n, to, func(string) {}); err == nil {
		t.Error("a clone followed the link")
	}
	open := filepath.Join(testkit.Dir(t), "open")
	err = errors.Join(os.Remove(link), os.Mkdir(open, 0o755), os.Symlink(open, link))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := archiving.Backup(t.Context(), n, r, false); backstay.KindOf(err) != backstay.Unavailable {
		t.Errorf("what all may read: got %+v, %v", b, err)
	}
	all, err := archiving.Backups(t.Context(), n, r)
	if err != nil || len(all) != 1 {
		t.Fatalf("there are %v, %v", all, err)
	}
	err = archiving.Restore(t.Context(), to, r, engine.Point{Backup: all[0].ID, Alone: true})
	if backstay.KindOf(err) != backstay.Invalid {
		t.Errorf("what all may read is restored: %v", err)
	}
}

// What waits to be archived lies where the server may write. It cannot have us read anything but its own files.
func TestOnlyOwnSegmentsAreArchived(t *testing.T) {
	t.Parallel()
	n := enginetest.NewNode(t, archiving)
	p := enginetest.Serve(t, archiving, n)
	r := enginetest.NewRepository(t)
	mustBackUp(t, n, r)
	p.Stop(t)
	mustArchive(t, n, r)
	segment := filepath.Join(filepath.Dir(n.DataDir), "archive", "000000010000000000000042")
	if err := os.Symlink("/etc/passwd", segment); err != nil {
		t.Fatal(err)
	}
	if a, err := archiving.Archive(t.Context(), n, r, 0, time.Time{}); err == nil {
		t.Errorf("a link is archived: %+v", a)
	}
	if a := mustArchive(t, n, r); len(a.Gaps) != 0 {
		t.Errorf("the link is a segment: %+v", a)
	}
}

// A head that was not told of what was archived, as by a keeper that was killed between the two, is told of it by the next
// call, though nothing waits any more.
func TestHeadIsMadeUpFor(t *testing.T) {
	t.Parallel()
	n := enginetest.NewNode(t, archiving)
	p := enginetest.Serve(t, archiving, n)
	r := enginetest.NewRepository(t)
	mustBackUp(t, n, r)
	p.Stop(t)
	mustArchive(t, n, r)
	head := filepath.Join(r.Dir, r.Part, "archive-head")
	record := filepath.Join(filepath.Dir(n.DataDir), "archive.out", "record.json")
	text, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	untold := regexp.MustCompile(`"told":"[0-9A-F]{24}"`).ReplaceAll(text, []byte(`"told":""`))
	if bytes.Equal(untold, text) {
		t.Fatalf("the record does not say what the head was told: %s", text)
	}
	if err := errors.Join(os.Remove(head), os.WriteFile(record, untold, 0o600)); err != nil {
		t.Fatal(err)
	}
	mustArchive(t, n, r)
	if _, err := os.Stat(head); err != nil {
		t.Error(err)
	}
}

// A backup says until when the archive reaches as far as it can know: what was committed while the server ended the backup
// is not in it, and would be missing in a copy of that second.
func TestBackupSaysNothingOfItsEnd(t *testing.T) {
	t.Parallel()
	n := enginetest.NewNode(t, archiving)
	enginetest.Serve(t, archiving, n)
	r := enginetest.NewRepository(t)
	b := mustBackUp(t, n, r)
	a, err := archiving.Reached(t.Context(), n, r)
	if err != nil || a.Until.IsZero() || a.Until.After(b.Began) {
		t.Errorf("behind a backup of %v to %v, the archive is said to reach until %v, %v", b.Began, b.Ended, a.Until, err)
	}
}

// Where more waits than the plan has room for, all of it goes, and the gap is told of once.
func TestSpoolIsBounded(t *testing.T) {
	t.Parallel()
	n := enginetest.NewNode(t, archiving)
	enginetest.Serve(t, archiving, n)
	r := enginetest.NewRepository(t)
	b := mustBackUp(t, n, r)
	mustArchive(t, n, r)
	spool, a := filepath.Join(filepath.Dir(n.DataDir), "archive"), server{n}.admin(t)
	handOver := func() {
		t.Helper()
		was := names(t, spool)
		a.do(t, "SELECT pg_current_xact_id()", "SELECT pg_switch_wal()")
		await(t, "the segment", func() bool { return !slices.Equal(names(t, spool), was) })
	}
	handOver()
	for number := range 70 { // they count as 16 MB each
		path := filepath.Join(spool, fmt.Sprintf("0000000100000000%08X", 0x80+number))
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	handOver()
	await(t, "room", func() bool { left := names(t, spool); return len(left) == 1 && left[0] != ".part" })
	gaps := mustArchive(t, n, r).Gaps
	if len(gaps) != 1 || gaps[0].From.Before(b.Began) || gaps[0].Until.Before(gaps[0].From) {
		t.Errorf("the gaps are %v", gaps)
	}
	if gaps := mustArchive(t, n, r).Gaps; len(gaps) != 0 {
		t.Errorf("the gap is told of again: %v", gaps)
	}
}

// await waits until done says so, for a minute at most.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not come", what)
		}
	}
}

// A database that became another one, as by an upgrade, is backed up into the same repository, and the backups of the
// one before stay.
func TestBackupsFollowAnUpgrade(t *testing.T) {
	t.Parallel()
	testkit.InSomeRuns(t)
	before, after := enginetest.NewNode(t, archiving), enginetest.NewNode(t, archiving)
	enginetest.Serve(t, archiving, before)
	r := enginetest.NewRepository(t)
	first := mustBackUp(t, before, r)
	mustArchive(t, before, r)
	enginetest.Serve(t, archiving, after)
	second := mustBackUp(t, after, r)
	mustArchive(t, after, r)
	all, err := archiving.Backups(t.Context(), after, r)
	if err != nil || len(all) != 2 || all[0].ID != first.ID || all[1].ID != second.ID {
		t.Errorf("there are %v, %v", all, err)
	}
	for _, b := range []backstay.Backup{first, second} {
		wantWhole(t, after, r, b)
		n := enginetest.NewNode(t, archiving)
		if err := archiving.Restore(t.Context(), n, r, engine.Point{Backup: b.ID}); err != nil {
			t.Errorf("%s: %v", b.ID, err)
		}
	}
}

// An object store is as good a repository as a directory, and one that has ended is said to be away.
func TestBackupIntoObjects(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	o := testkit.ObjectStore(t)
	r := backstay.Repository{Objects: &o.ObjectStore}.Of(backstay.InstanceID(uuid.NewString()),
		backstay.Secret(strings.Repeat("2b", 32)))
	n := enginetest.NewNode(t, archiving)
	enginetest.Serve(t, archiving, n)
	b := server{n}.bind(t)
	b.connect(t).do(t, "CREATE TABLE precious (n int)", "INSERT INTO precious VALUES (42)")
	made := mustBackUp(t, n, r)
	b.connect(t).do(t, "INSERT INTO precious VALUES (43)")
	now := time.Now()
	await(t, "the archive's end", func() bool { return mustArchive(t, n, r).Until.After(now) })
	wantWhole(t, n, r, made)
	to := enginetest.NewNode(t, archiving)
	if err := archiving.Restore(t.Context(), to, r, engine.Point{Backup: made.ID}); err != nil {
		t.Fatal(err)
	}
	enginetest.Serve(t, archiving, to)
	server{to}.bind(t).connect(t).want(t, "SELECT sum(n) FROM precious", "85")
	wantNowhere(t, o.Dir, "precious")
	if err := archiving.Expire(t.Context(), n, r, nil); err != nil {
		t.Error(err)
	}
}

// TestStanzaThatIsHalfMade: a tool that was killed while it made a repository leaves one that the next backup makes anew.
// One that holds something, and lacks what it begins with, is damaged.
func TestStanzaThatIsHalfMade(t *testing.T) {
	t.Parallel()
	n, r := enginetest.NewNode(t, archiving), enginetest.NewRepository(t)
	enginetest.Serve(t, archiving, n)
	writes := func(dir, name string) { // it is killed while it does
		t.Helper()
		dir = filepath.Join(r.Dir, r.Part, dir, "main")
		path := filepath.Join(dir, name+".pgbackrest.tmp")
		if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	writes("archive", "archive.info")
	mustBackUp(t, n, r)
	backups := filepath.Join(r.Dir, r.Part, "backup", "main")
	if err := os.RemoveAll(backups); err != nil {
		t.Fatal(err)
	}
	if b, err := archiving.Backup(t.Context(), n, r, false); backstay.KindOf(err) != backstay.Invalid {
		t.Errorf("a repository with an archive and without what it begins with takes a backup: %+v, %v", b, err)
	}
	archived, err := filepath.Glob(filepath.Join(r.Dir, r.Part, "archive", "main", "15-*"))
	if err != nil || len(archived) == 0 {
		t.Fatalf("the archive is %v, %v", archived, err)
	}
	for _, dir := range archived {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	writes("backup", "backup.info")
	mustBackUp(t, n, r)
}

// TestNothingGoesIntoHalfAStanza: what a server logs after the tool was killed between the stanza's two files is not
// pushed there, whatever the node has archived elsewhere: nobody may clear a half with an archive in it, and no backup
// could be taken any more.
func TestNothingGoesIntoHalfAStanza(t *testing.T) {
	t.Parallel()
	n := enginetest.NewNode(t, archiving)
	enginetest.Serve(t, archiving, n)
	spool, a := filepath.Join(filepath.Dir(n.DataDir), "archive"), server{n}.admin(t)
	for _, name := range []string{"the first repository", "another repository"} {
		r := enginetest.NewRepository(t)
		second := filepath.Join(r.Dir, r.Part, "backup")
		if err := errors.Join(os.MkdirAll(filepath.Dir(second), 0o700), os.Symlink("nowhere", second)); err != nil {
			t.Fatal(err)
		}
		if b, err := archiving.Backup(t.Context(), n, r, false); err == nil { // the tool dies of the link
			t.Fatalf("%s: half a stanza has the backup %+v", name, b)
		}
		if err := os.Remove(second); err != nil {
			t.Fatal(err)
		}
		if made := names(t, filepath.Join(r.Dir, r.Part, "archive", "main")); !slices.Contains(made, "archive.info") {
			t.Fatalf("%s: the stanza's first file is not among %v", name, made)
		}
		was := names(t, spool)
		a.do(t, "SELECT pg_current_xact_id()", "SELECT pg_switch_wal()")
		await(t, "the segment", func() bool { return !slices.Equal(names(t, spool), was) })
		mustArchive(t, n, r)
		b, err := archiving.Backup(t.Context(), n, r, false)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		wantWhole(t, n, r, b)
		now := time.Now()
		await(t, "the archive's end", func() bool { return mustArchive(t, n, r).Until.After(now) })
	}
}

func mustBackUp(t *testing.T, n engine.Node, r backstay.Repository) backstay.Backup {
	t.Helper()
	b, err := archiving.Backup(t.Context(), n, r, false)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wantWhole wants nothing to be damaged in a repository with that backup.
func wantWhole(t *testing.T, n engine.Node, r backstay.Repository, made backstay.Backup) {
	t.Helper()
	f, err := archiving.Verify(t.Context(), n, r)
	if damage, found := f.Backups[made.ID]; err != nil || !found || damage != "" || len(f.Lost) > 0 {
		t.Errorf("Verify: %+v, %v", f, err)
	}
}

func mustArchive(t *testing.T, n engine.Node, r backstay.Repository) engine.Archived {
	t.Helper()
	a, err := archiving.Archive(t.Context(), n, r, 0, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return slices.Sorted(slices.Values(all))
}

// wantNowhere wants a text to be in no file below dir.
func wantNowhere(t *testing.T, dir, text string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(text)) {
			t.Errorf("%s can be read in %s", text, path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

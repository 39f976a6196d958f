package kubernetes

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/repository"
)

const info = `backup_label=None
backup_id=20261129T075500
begin_time=2026-11-29 07:55:00.123456+00:00
begin_wal=000000010000000000000003
end_time=2026-11-29 07:55:03+00:00
size=23000000
status=DONE
version=150018
`

func TestReadInfo(t *testing.T) {
	t.Parallel()
	s, ok, err := readInfo("20261129T075500", []byte(info))
	want := stored{First: "000000010000000000000003", Backup: backstay.Backup{
		ID: "20261129T075500", Data: 23000000, Version: "15.18",
		Began: time.Date(2026, 11, 29, 7, 55, 0, 123456000, time.UTC), Ended: time.Date(2026, 11, 29, 7, 55, 3, 0, time.UTC),
	}}
	if err != nil || !ok || s != want {
		t.Errorf("it reads %+v, %t, %v; want %+v", s, ok, err, want)
	}
	if _, ok, err := readInfo("1", []byte(strings.Replace(info, "DONE", "FAILED", 1))); ok || err != nil {
		t.Errorf("one that has failed is taken for whole: %v", err)
	}
	for _, broken := range []string{"end_time=2026-11-29 07:55:03+00:00", "version=150018", "begin_wal=00000001"} {
		if _, ok, err := readInfo("1", []byte(strings.Replace(info, broken, "", 1))); ok || err == nil {
			t.Errorf("without %s it is taken for whole", broken)
		}
	}
}

func minute(m int) time.Time { return time.Date(2026, 1, 1, 0, m, 0, 0, time.UTC) }

func aBackup(id, line string, m int, first string) stored {
	return stored{Line: line, First: first, Backup: backstay.Backup{ID: id, Began: minute(m), Ended: minute(m)}}
}

// TestLines has an instance that returned once: between the end of what it was and the first backup of what it is,
// nothing can be restored.
func TestLines(t *testing.T) {
	t.Parallel()
	mark := func(m int) engine.LogMark { return engine.LogMark{Piece: "p", At: minute(m), Seen: minute(m + 1)} }
	k := keeping{Lines: []line{{Name: "1", Mark: mark(10)}, {Name: "2", Mark: mark(30)}}, Final: "c"}
	list := []stored{aBackup("a", "1", 1, ""), aBackup("b", "1", 5, ""), aBackup("c", "2", 20, "")}
	told := k.tell(backend.Backups{Instance: "i"}, list)
	if !told.Earliest.Equal(minute(1)) || !told.Latest.Equal(minute(31)) || len(told.Gaps) != 1 || !told.List[2].Final {
		t.Fatalf("it is told as %+v", told)
	}
	for at, want := range map[time.Time]string{
		minute(3): "a", minute(9): "b", minute(10): "", minute(19): "", minute(20): "c", minute(31): "c",
	} {
		to, err := backup.Reach(told, backend.Origin{At: at})
		if to.Backup != want || (err == nil) != (want != "") {
			t.Errorf("%s is reached from %q, %v; want %q", at, to.Backup, err, want)
		}
	}
	k.Lines[1].Mark = engine.LogMark{}
	if told := k.tell(backend.Backups{}, list[:2]); !told.Latest.Equal(minute(10).Add(-time.Second)) {
		t.Errorf("before the first backup of the second line it is told as %+v", told)
	}
	if told := (keeping{}).tell(backend.Backups{}, nil); told.List == nil || !told.Latest.IsZero() {
		t.Errorf("nothing is told as %+v", told)
	}
}

// TestPrune leaves what is kept, and the log behind the oldest of it.
func TestPrune(t *testing.T) {
	t.Parallel()
	part, err := repository.OpenBare(backstay.Repository{Dir: t.TempDir(), Part: "i"})
	if err != nil {
		t.Fatal(err)
	}
	piece := func(line, n string) string { return line + "/" + pieceWithin("0000000100000000000000"+n) + ".gz" }
	all := []string{
		"1/base/a/backup.info", "1/base/a/data.tar.gz", piece("1", "03"), "2/base/b/backup.info", "2/base/b/data.tar.gz",
		"2/base/c/backup.info", "2/base/half/data.tar.gz", "2/wals/00000002.history", piece("2", "07"), piece("2", "08"),
		piece("2", "09"),
	}
	for _, name := range all {
		if err := part.PutText(context.Background(), name, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	list := []stored{aBackup("a", "1", 1, "000000010000000000000003"), aBackup("b", "2", 2, "000000010000000000000007"),
		aBackup("c", "2", 3, "000000010000000000000008")}
	lines := []line{{Name: "1"}, {Name: "2"}}
	left := func(now time.Time, keep ...string) (names []string) {
		t.Helper()
		if err := prune(t.Context(), part, now, list, keep, lines, "2"); err != nil {
			t.Fatal(err)
		}
		objects, err := part.List(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range objects {
			names = append(names, o.Name)
		}
		return names
	}
	if got := left(time.Now(), "a", "b", "c"); len(got) != len(all) {
		t.Errorf("with all kept there is left %q", got)
	}
	want := []string{"2/base/c/backup.info", "2/base/half/data.tar.gz", "2/wals/00000002.history", piece("2", "08"),
		piece("2", "09")}
	slices.Sort(want)
	if got := left(time.Now(), "c"); !slices.Equal(got, want) {
		t.Errorf("with one kept there is left %q, want %q", got, want)
	}
	if got := left(time.Now().Add(2*abandoned), "c"); slices.Contains(got, "2/base/half/data.tar.gz") {
		t.Error("a backup that will never be whole is left")
	}
	if got := left(time.Now()); !slices.Contains(got, piece("2", "09")) {
		t.Errorf("without a backup the log in use is gone: %q", got)
	}
}

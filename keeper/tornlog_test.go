package keeper_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/internal/wait"
)

// TestTornLogIsAGap has MariaDB write a part of an event to its binary log, for want of room, and go on behind it: with
// the commits of an app that are acknowledged. The server is killed before it ends that file. What is behind the tear is
// no end of the archive: the gap is told, another backup is taken at once, and a copy of now has it all.
func TestTornLogIsAGap(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	p := products[1]
	m := newMoments(t, p, everythingOnImages(t, 3), backstay.Repository{Dir: testkit.Dir(t)})
	opened, err := p.open(t.Context(), m.access)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.close()
	w := opened.(mysqlWriter)
	mustMake(t, w, "CREATE TABLE large (n int PRIMARY KEY, b longblob)",
		"INSERT INTO large SELECT seq, REPEAT('x', 8000000) FROM seq_1_to_3")
	m.ask() // so that the archive has what was before
	m.awaitAsked()
	pid := mustPID(t, m.b, m.spec.Instance)
	m.kill()
	tearLog(t, m, w)
	var told []int
	for range 20 {
		n := m.noted.begin()
		if err := w.note(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		told = append(told, n)
	}
	time.Sleep(1500 * time.Millisecond) // until InnoDB has it on the disk: of the log its server reads no more than we
	mustKill(t, pid)
	m.killKeeper()
	mustAwaitBackups(t, m.b, m.spec.Instance, func(k backend.Backups) bool {
		return k.Trouble() == "" && len(k.Gaps) == 1 && k.List[len(k.List)-1].Ended.After(k.Gaps[0].Until)
	})
	now := time.Now().Truncate(time.Second).Add(time.Second)
	time.Sleep(time.Until(now.Add(50 * time.Millisecond)))
	copied := m.copied(now, false)
	for _, n := range told {
		if !slices.Contains(copied, n) {
			t.Errorf("the copy lacks %d", n)
		}
	}
}

// tearLog has the server write an event for which the volume has no room, and interrupts whoever waits for it.
func tearLog(t *testing.T, m *moments, w mysqlWriter) {
	t.Helper()
	fillVolume(t, m.c, m.spec.Instance, 0)
	filler := filepath.Join(m.c.DataDir, "instances", string(m.spec.Instance), fmt.Sprint("filler", backstay.Bytes(0)))
	about, err := os.Stat(filler)
	if err != nil {
		t.Fatal(err)
	}
	const logged = 8 * int64(backstay.MB) // once in a temporary file, and then in the log
	if err := os.Truncate(filler, about.Size()-logged*3/2); err != nil {
		t.Fatal(err)
	}
	unix.Sync()
	failed := make(chan error, 1)
	go func() {
		deleter, err := m.p.open(t.Context(), m.access)
		if err == nil {
			_, err = deleter.(mysqlWriter).ExecContext(t.Context(), "DELETE FROM large WHERE n = 2")
			deleter.close()
		}
		failed <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var id string
	err = wait.Until(ctx, wait.Every(10*time.Millisecond), func() (again bool, err error) {
		id, err = waitsForRoom(ctx, w)
		return id == "", err
	})
	if err != nil || id == "" {
		t.Fatalf("nobody waits for room: %v", err)
	}
	if _, err := w.ExecContext(t.Context(), "KILL QUERY "+id); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err == nil {
		t.Error("a transaction is told to be committed that is not in the log")
	}
	mustRemove(t, filler)
}

// waitsForRoom is the number of the session that waits in a commit; empty: none does.
func waitsForRoom(ctx context.Context, w mysqlWriter) (id string, err error) {
	rows, err := w.QueryContext(ctx, "SHOW PROCESSLIST") // information_schema would take room
	if err != nil {
		return "", err
	}
	defer rows.Close()
	for rows.Next() {
		var number, state sql.NullString
		var other sql.RawBytes
		if err := rows.Scan(&number, &other, &other, &other, &other, &other, &state, &other, &other); err != nil {
			return "", err
		}
		if state.String == "Waiting for someone to free space" {
			id = number.String
		}
	}
	return id, rows.Err()
}

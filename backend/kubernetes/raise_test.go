package kubernetes_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/testkit"
)

// TestUpgrade brings an instance that is written to from 15 to 17, and back: users stay with their rights, and nothing
// that was written is lost but what the way back leaves behind, which can be had again in its turn.
func TestUpgrade(t *testing.T) {
	testkit.InFewRuns(t)
	t.Parallel()
	a := newArchived(t, 30440, 30449)
	s := a.spec(t)
	a.served(t, s)
	a.backedUp(t, s.Instance)
	conn := a.bound(t, s.Instance, "u1")
	do(t, conn, "CREATE EXTENSION hstore", "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")

	s.Generation, s.Version = 2, "17"
	a.served(t, s)
	after := a.again(t, conn.Config().ConnString())
	if got := numbers(t, after); !slices.Equal(got, []int{1}) {
		t.Errorf("after the upgrade there is %v", got)
	}
	wantVersion(t, after, "17")
	do(t, after, "INSERT INTO t VALUES (2)", "CREATE EXTENSION citext")
	for _, denied := range []string{"CREATE EXTENSION dblink", "COPY t TO PROGRAM 'cat'", "CREATE ROLE another"} {
		if _, err := after.Exec(t.Context(), denied); err == nil {
			t.Errorf("after the upgrade a user may %s", denied)
		}
	}
	st := until(t, a.Backend, s.Instance, "the build", func(st backend.Status) bool { return st.Phase == backend.Running })
	if !strings.HasPrefix(st.Build, "17.") {
		t.Errorf("it runs as %+v", st)
	}
	a.kept(t, s.Instance, "a backup of the later version", func(k backend.Backups) bool {
		return len(k.List) > 1 && strings.HasPrefix(k.List[len(k.List)-1].Version, "17.")
	})

	s.Generation, s.Version = 3, "15"
	if err := a.Admit(t.Context(), s); backstay.KindOf(err) != backstay.Unsupported {
		t.Errorf("Admit of the version before: %v", err)
	}
	s.RollBack = true
	a.served(t, s)
	back := a.bound(t, s.Instance, "u2")
	wantVersion(t, back, "15")
	if got := numbers(t, back); !slices.Equal(got, []int{1}) {
		t.Errorf("it returned to %v", got)
	}
	do(t, back, "INSERT INTO t VALUES (3)")
	s.Generation, s.Version = 4, "17"
	a.served(t, s)
	if got := numbers(t, a.bound(t, s.Instance, "u3")); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("the return from the return has %v", got)
	}
}

// TestUpgradeThatFails has pg_upgrade refuse what is in the data: it is told in its words, and the version before serves
// as before.
func TestUpgradeThatFails(t *testing.T) {
	testkit.InFewRuns(t)
	t.Parallel()
	l := newLab(t)
	b, _ := run(t, l.config(t, 30450, 30459))
	s := l.spec(t, 1)
	l.serve(t, b, s)
	uri := l.table(t, b, s) + "?sslmode=require"
	conn, err := l.open(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	do(t, conn, "CREATE TABLE odd (which regproc)", "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
	s.Generation, s.Version = 2, "17"
	mustApply(t, b, s)
	st := until(t, b, s.Instance, "the end of the upgrade", func(st backend.Status) bool {
		return st.Phase == backend.Running && st.Obstacle.Final
	})
	if !strings.Contains(st.Obstacle.Sentence, "PostgreSQL 15 cannot become 17: ") ||
		!strings.Contains(st.Obstacle.Sentence, "reg*") || st.Generation != 1 {
		t.Errorf("an upgrade that cannot be ends as %+v", st)
	}
	a := archived{lab: l}
	conn = a.again(t, uri)
	wantVersion(t, conn, "15")
	do(t, conn, "INSERT INTO t VALUES (2)", "DROP TABLE odd")
	s.Generation = 3
	mustApply(t, b, s)
	until(t, b, s.Instance, "the upgrade", guarded(3, 1))
	conn = a.again(t, uri)
	wantVersion(t, conn, "17")
	if got := numbers(t, conn); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("after the upgrade there is %v", got)
	}
}

// TestUpgradeIsKilled kills the platform again and again while an instance of two nodes is upgraded.
func TestUpgradeIsKilled(t *testing.T) {
	testkit.InFewRuns(t)
	t.Parallel()
	l := newLab(t)
	c := l.config(t, 30460, 30469)
	b, stop := run(t, c)
	s := l.spec(t, 2)
	mustApply(t, b, s)
	defer func() { removed(t, b, s.Instance) }() // by the one that lives then
	until(t, b, s.Instance, "the instance", guarded(1, 2))
	uri := l.table(t, b, s) + "?sslmode=require"
	s.Generation, s.Version = 2, "17"
	mustApply(t, b, s)
	deadline := time.Now().Add(8 * time.Minute)
	for kills, pause := 0, time.Second; ; kills++ {
		time.Sleep(pause)
		st, err := b.Await(t.Context(), s.Instance, 0)
		if err == nil && guarded(2, 2)(st) {
			t.Logf("it was upgraded after %d kills", kills)
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %d kills it is %+v (%v)", kills, st, err)
		}
		pause += time.Second // so that it gets on in the end
		stop()
		b, stop = run(t, c)
	}
	wantVersion(t, archived{lab: l}.again(t, uri), "17")
}

// again opens a session with credentials of before.
func (a archived) again(t *testing.T, uri string) *pgx.Conn {
	t.Helper()
	conn, err := a.open(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func wantVersion(t *testing.T, conn *pgx.Conn, major string) {
	t.Helper()
	var version string
	err := conn.QueryRow(t.Context(), "SHOW server_version").Scan(&version)
	if err != nil || !strings.HasPrefix(strings.Replace(version, " ", ".", 1), major+".") {
		t.Errorf("the server is of version %s (%v), want %s", version, err, major)
	}
}

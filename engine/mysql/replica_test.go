package mysql_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/internal/wait"
)

// newPair serves an instance of two nodes, of MariaDB, and protects it.
func newPair(t *testing.T) *enginetest.Pair {
	t.Helper()
	p := enginetest.NewPair(t, tested, "")
	p.Protect(t)
	return p
}

// at is a binding of the other node, which has the same users.
func (b binding) at(n engine.Node) binding {
	b.server = server{n}
	c := backstay.Credentials{}
	for key, value := range b.credentials {
		c[key] = value
	}
	c["host"], c["port"] = n.Endpoint.Host, n.Endpoint.Port
	b.credentials = c
	return b
}

// Oracle's server has no standby, and says so where one is wanted all the same.
func TestReplicates(t *testing.T) {
	t.Parallel()
	n := enginetest.NewNode(t, tested)
	can := tested.Replicates(n.Installation)
	if can != (server{n}).mariadb() {
		t.Errorf("whether nodes of %s follow each other: %t", n.Installation.Product, can)
	}
	n.Replication = &engine.Replication{Name: "1"}
	if err := tested.Check(t.Context(), n); !can && backstay.KindOf(err) != backstay.Unsupported {
		t.Errorf("a node of two: %v, want it refused", err)
	}
}

// What a standby was sent, and has acknowledged, it has when it takes over, though it was killed before it could run
// it, and its primary too. A server that starts to follow would throw it away.
func TestAcknowledgedIsRunAfterAKill(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	b := server{p.Primary()}.bind(t)
	c := b.connect(t)
	c.do(t, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (0)")
	held := server{p.Standby()}.admin(t)
	held.eventually(t, "SELECT COUNT(*) FROM main.t", "1")
	held.do(t, "LOCK TABLES main.t READ")
	for n := range 20 { // acknowledged, and not run
		c.do(t, fmt.Sprintf("INSERT INTO t VALUES (%d)", n+1))
	}
	held.want(t, "SELECT COUNT(*) FROM main.t", "1")
	p.KillPrimary(t)
	p.KillStandby(t)
	p.RestartStandby(t)
	p.FailOver(t)
	b.at(p.Primary()).connect(t).want(t, "SELECT COUNT(*) FROM t", "21")
	p.Rejoin(t)
	p.Protect(t)
}

// A node that follows takes nothing from clients, whatever they ask, and has no history of its own: with one, it could
// not follow any more.
func TestStandbyTakesNothing(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	b := server{p.Primary()}.bind(t)
	c := b.connect(t)
	c.do(t, "CREATE TABLE t (n int)", "CREATE TABLE fleeting (n int) ENGINE = MEMORY", "INSERT INTO fleeting VALUES (1)")
	there := b.at(p.Standby()).connect(t)
	there.eventually(t, "SELECT COUNT(*) FROM fleeting", "1")
	for _, statement := range []string{"INSERT INTO t VALUES (1)", "CREATE TABLE u (n int)", "DROP TABLE t",
		"SET GLOBAL read_only = OFF", "STOP SLAVE", "SHOW SLAVE STATUS",
		"CREATE EVENT e ON SCHEDULE EVERY 1 SECOND DO SELECT 1"} {
		if _, err := there.ExecContext(t.Context(), statement); err == nil {
			t.Errorf("%s is done on a standby", statement)
		}
	}
	for _, statement := range []string{"ANALYZE TABLE t", "OPTIMIZE TABLE t", "CREATE TEMPORARY TABLE x (n int)"} {
		there.ExecContext(t.Context(), statement) // may be done or not
	}
	const committed = "SELECT @@GLOBAL.gtid_binlog_pos"
	var ends string
	if err := (server{p.Primary()}).admin(t).QueryRowContext(t.Context(), committed).Scan(&ends); err != nil {
		t.Fatal(err)
	}
	(server{p.Standby()}).admin(t).eventually(t, committed, ends)
	var shown *string // the file has the password of those who follow
	err := there.QueryRowContext(t.Context(), "SELECT LOAD_FILE(CONCAT(@@datadir, 'master.info'))").Scan(&shown)
	if err != nil || shown != nil {
		t.Errorf("a binding reads a file of the server's: %v", err)
	}
}

// Events run where clients write, and nowhere else, and those that are off stay so.
func TestEventsMoveToTheNewPrimary(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	b := server{p.Primary()}.bind(t)
	b.connect(t).do(t, "CREATE TABLE ticks (n bigint)", "CREATE TABLE never (n int)",
		"CREATE EVENT e ON SCHEDULE EVERY 1 SECOND DO INSERT INTO ticks VALUES (@@server_id)",
		"CREATE EVENT off ON SCHEDULE EVERY 1 SECOND DISABLE DO INSERT INTO never VALUES (1)")
	time.Sleep(3 * time.Second) // those of the last two seconds are taken for ones that are on
	p.AwaitFollowing(t)
	p.KillPrimary(t)
	p.FailOver(t)
	c := b.at(p.Primary()).connect(t)
	c.eventually(t, "SELECT COUNT(*) > 0 FROM ticks WHERE n = @@server_id", "1")
	c.want(t, "SELECT COUNT(*) FROM never", "0")
}

// Rows of tables in memory are gone from a node that was started again, and no reason for a copy.
func TestFollowsDespiteTablesInMemory(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	c := server{p.Primary()}.bind(t).connect(t)
	c.do(t, "CREATE TABLE fleeting (n int PRIMARY KEY) ENGINE = MEMORY", "INSERT INTO fleeting VALUES (1), (2)")
	p.Release(t)
	p.KillStandby(t)
	p.StartStandby(t)
	c.do(t, "UPDATE fleeting SET n = 3 WHERE n = 1", "DELETE FROM fleeting", "CREATE TABLE later (n int)")
	p.AwaitFollowing(t)
	p.Protect(t)
	standby := server{p.Standby()}.admin(t)
	limited, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := wait.Until(limited, wait.Every(20*time.Millisecond), func() (again bool, err error) {
		p.AwaitFollowing(t) // it stops at each statement that finds no row, and goes on when it is looked at
		var n int
		const later = "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_NAME = 'later'"
		err = standby.QueryRowContext(limited, later).Scan(&n)
		return n == 0, err
	})
	if err != nil {
		t.Errorf("what came behind is not there: %v", err)
	}
}

// eventually wants a query to return what is wanted within a while.
func (c client) eventually(t *testing.T, query, want string) {
	t.Helper()
	var got string
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = c.QueryRowContext(t.Context(), query).Scan(&got); err == nil && got == want {
			return
		}
	}
	t.Fatalf("%s: got %q (%v), want %q", query, got, err, want)
}

// What was committed around a failover, before and behind it, is restored from one backup, however often the parts of
// the nodes change: also what the first primary had not archived when it was killed.
func TestArchiveGoesOnBehindAFailover(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	p := newPair(t)
	a := archived{server{p.Primary()}, nil, enginetest.NewRepository(t), backstay.Backup{}}
	b := a.bind(t)
	b.connect(t).do(t, "CREATE TABLE t (n int)")
	a.backUp(t)
	moments := []time.Time{}
	insert := func(n int) {
		b.at(p.Primary()).connect(t).do(t, fmt.Sprintf("INSERT INTO t VALUES (%d)", n))
		time.Sleep(1100 * time.Millisecond) // a moment is a whole second
		moments = append(moments, time.Now().Truncate(time.Second))
		time.Sleep(1100 * time.Millisecond)
	}
	insert(1)
	a.reachNow(t)
	insert(2) // is not archived
	for n := range 2 {
		p.KillPrimary(t)
		p.FailOver(t)
		if got, err := tested.Archive(t.Context(), p.Standby(), a.repository, 0, time.Time{}); err != nil || len(got.Gaps) > 0 {
			t.Errorf("of a node that is fenced, something is archived: %+v, %v", got, err)
		}
		insert(3 + n)
		a.Node = p.Primary()
		if gaps := a.archive(t).Gaps; len(gaps) > 0 {
			t.Errorf("gaps %v", gaps)
		}
		a.reachNow(t)
		p.Rejoin(t)
		p.Protect(t)
	}
	for i, moment := range moments {
		a.restore(t, moment).want(t, "SELECT GROUP_CONCAT(n ORDER BY n) FROM t", "1,2,3,4"[:2*i+1])
	}
	found, err := tested.Verify(t.Context(), a.Node, a.repository)
	if err != nil || len(found.Lost) > 0 {
		t.Errorf("Verify: %+v, %v", found, err)
	}
	if err := tested.Expire(t.Context(), a.Node, a.repository, []string{a.backup.ID}); err != nil {
		t.Fatal(err)
	}
	a.restore(t, moments[3]).want(t, "SELECT GROUP_CONCAT(n ORDER BY n) FROM t", "1,2,3,4")
}

// TestReadersEndNoPreparedTransaction on a node that follows: it could not follow any more.
func TestReadersEndNoPreparedTransaction(t *testing.T) {
	t.Parallel()
	p := enginetest.NewPair(t, tested, "")
	writer := server{p.Primary()}.bind(t)
	w := writer.connect(t)
	w.do(t, "CREATE TABLE prepared (n integer)", "XA START 'a'", "INSERT INTO prepared VALUES (1)", "XA END 'a'",
		"XA PREPARE 'a'")
	u := engine.User{Name: "u9", Password: "correcthorsebatterystaple", ReadOnly: true}
	c, err := tested.CreateUser(t.Context(), p.Primary(), u)
	if err == nil {
		err = tested.CatchUp(t.Context(), p.Primary(), p.Standby())
	}
	if err != nil {
		t.Fatal(err)
	}
	was, is := strconv.Itoa(p.Primary().Endpoint.Port), strconv.Itoa(p.Standby().Endpoint.Port)
	c["uri"], c["port"] = strings.Replace(c["uri"].(string), was, is, 1), p.Standby().Endpoint.Port
	r := binding{server: server{p.Standby()}, credentials: c}.connect(t)
	for _, end := range []string{"XA COMMIT 'a'", "XA ROLLBACK 'a'"} {
		if _, err := r.ExecContext(t.Context(), end); err == nil {
			t.Errorf("a reader of a standby ends what another has prepared: %s", end)
		}
	}
	w.do(t, "XA COMMIT 'a'")
	if err := tested.CatchUp(t.Context(), p.Primary(), p.Standby()); err != nil {
		t.Errorf("the standby does not follow any more: %v", err)
	}
	// A server may count the end of a prepared transaction as run a moment before it is seen.
	limited, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = wait.Until(limited, wait.Every(10*time.Millisecond), func() (again bool, err error) {
		var rows int
		err = r.QueryRowContext(limited, "SELECT count(*) FROM prepared").Scan(&rows)
		return err == nil && rows != 1, err
	})
	if err != nil {
		t.Errorf("a reader of the standby does not see what was committed: %v", err)
	}
}

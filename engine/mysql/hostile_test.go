package mysql_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
)

// hostileObjects are made by a user that does the worst that it may.
var hostileObjects = []string{
	"CREATE TABLE t (n int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2), (3)", "CREATE TABLE gone (n int)",
	"CREATE VIEW `v'\"\\ %;--` AS SELECT n FROM t", "CREATE VIEW broken AS SELECT n FROM gone", "DROP TABLE gone",
	"CREATE TRIGGER `tr'\"\\` BEFORE UPDATE ON t FOR EACH ROW SET @x = sleep(1000)",
	"CREATE PROCEDURE `p'\"\\`() DELETE FROM t", "CREATE FUNCTION `f'\"\\`() RETURNS int RETURN 1",
	"CREATE EVENT sleeper ON SCHEDULE EVERY 1 SECOND DO SELECT sleep(1000)",
	"CREATE PROCEDURE endless() WHILE true DO SET @x = 1; END WHILE",
}

// hostileSessions are what its sessions are at, each at the last of its statements. The last of all takes hours and
// does not look up when it is killed.
var hostileSessions = [][]string{
	{"LOCK TABLES t WRITE, mysql.proc READ", "LOCK TABLES t WRITE"},
	{"START TRANSACTION", "SELECT * FROM t FOR UPDATE"},
	{"START TRANSACTION", "SELECT count(*) FROM mysql.proc", "SELECT * FROM information_schema.VIEWS"},
	{"HANDLER mysql.proc OPEN", "HANDLER t OPEN", "SELECT get_lock('backstay', 0)"},
	{"BACKUP LOCK t"}, {"FLUSH TABLES WITH READ LOCK"},
	{"XA START 'hostile'", "INSERT INTO t VALUES (4)", "XA END 'hostile'", "XA PREPARE 'hostile'"},
	{"ALTER TABLE t ADD m int"}, {"DROP DATABASE main"}, {"CREATE TABLE slow AS SELECT sleep(1000) AS n"},
	{"CALL endless()"}, {"SELECT benchmark(1000000000000, sha2('x', 512))"},
	{"SELECT instr(repeat('a', 4000000), concat(repeat('a', 1000000), 'b'))"},
}

// TestWorstWithinItsRights: a user does the worst that it may, and leaves it as it is; the service is administered
// none the less, the user is unbound, and so it is when the server is started again.
func TestWorstWithinItsRights(t *testing.T) {
	t.Parallel()
	n := enginetest.NewNode(t, tested)
	p := enginetest.Serve(t, tested, n)
	defer p.Kill(t) // in an order it does not end
	s := server{n}
	hostile := s.bind(t)
	hostile.connect(t).do(t, hostileObjects...)
	hostile.leave(t)
	wantAdministered(t, n)
	began := time.Now()
	hostile.unbind(t)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("unbinding it took %v", took)
	}
	sessions := "SELECT count(*) FROM information_schema.PROCESSLIST WHERE HOST LIKE '%:%'"
	s.admin(t).want(t, sessions+" AND COMMAND <> 'Killed'", "0")
	hostile = s.rebind(t, hostile.name)
	hostile.leave(t)
	p.Kill(t)
	next := enginetest.Serve(t, tested, n)
	defer next.Kill(t)
	hostile.leave(t)
	wantAdministered(t, n)
	hostile.unbind(t)
}

// leave has a session for each of hostileSessions.
func (b binding) leave(t *testing.T) {
	t.Helper()
	for _, statements := range hostileSessions {
		c := b.connect(t)
		go func() {
			for _, statement := range statements {
				c.ExecContext(context.Background(), statement) // what is refused, or ends, is no matter
			}
		}()
	}
	time.Sleep(500 * time.Millisecond) // so that they are at it
}

// wantAdministered asks everything of an engine that asks the server.
func wantAdministered(t *testing.T, n engine.Node) {
	t.Helper()
	other := engine.User{Name: newName(), Password: backstay.Secret(uuid.NewString())}
	reader := engine.User{Name: newName(), Password: backstay.Secret(uuid.NewString()), ReadOnly: true}
	for _, ask := range []struct {
		what string
		it   func(context.Context) error
	}{
		{"Probe", func(ctx context.Context) error { return tested.Probe(ctx, n) }},
		{"Reload", func(ctx context.Context) error { _, err := tested.Reload(ctx, n); return err }},
		{"CreateUser", func(ctx context.Context) error { _, err := tested.CreateUser(ctx, n, other); return err }},
		{"CreateUser", func(ctx context.Context) error { _, err := tested.CreateUser(ctx, n, reader); return err }},
		{"DropUser", func(ctx context.Context) error { return tested.DropUser(ctx, n, other.Name) }},
		{"DropUser", func(ctx context.Context) error { return tested.DropUser(ctx, n, reader.Name) }},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if err := ask.it(ctx); err != nil {
			t.Errorf("%s: %v", ask.what, err)
		}
		cancel()
	}
}

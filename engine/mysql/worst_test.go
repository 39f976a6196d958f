package mysql_test

import (
	"context"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// worstObjects are made by a user that does the worst that it may.
var worstObjects = []string{
	"CREATE TABLE t (n int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2), (3)", "CREATE TABLE gone (n int)",
	"CREATE VIEW `v'\"\\ %;--` AS SELECT n FROM t", "CREATE VIEW broken AS SELECT n FROM gone", "DROP TABLE gone",
	"CREATE TRIGGER `tr'\"\\` BEFORE UPDATE ON t FOR EACH ROW SET @x = sleep(1000)",
	"CREATE PROCEDURE `p'\"\\`() DELETE FROM t", "CREATE FUNCTION `f'\"\\`() RETURNS int RETURN 1",
	"CREATE EVENT sleeper ON SCHEDULE EVERY 1 SECOND DO SELECT sleep(1000)",
	"CREATE PROCEDURE endless() WHILE true DO SET @x = 1; END WHILE",
}

// worstSessions are what its sessions are at, each at the last of its statements. The last of all takes hours and
// does not look up when it is killed.
var worstSessions = [][]string{
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

// makeWorst makes worstObjects, as a binding that does the worst that it may.
func makeWorst(t *testing.T, _ engine.Node, c backstay.Credentials) {
	t.Helper()
	db, err := open(c)
	opened(t, db, err).do(t, worstObjects...)
}

// holdWorst leaves worstSessions behind.
func holdWorst(t *testing.T, _ engine.Node, c backstay.Credentials) {
	t.Helper()
	for _, statements := range worstSessions {
		db, err := open(c)
		conn := opened(t, db, err)
		go func() {
			for _, statement := range statements {
				conn.ExecContext(context.Background(), statement) // what is refused, or ends, is no matter
			}
		}()
	}
	time.Sleep(500 * time.Millisecond) // so that they are at it
}

package mysql_test

import (
	"strings"
	"testing"
	"time"
)

// made are objects of every kind that runs with the rights of whoever defined it.
var made = []string{
	"CREATE TABLE t (n int)", "CREATE TABLE seen (n int)", "CREATE TABLE ticks (n int)", "INSERT INTO t VALUES (1)",
	"CREATE VIEW v AS SELECT n FROM t", "CREATE VIEW upon AS SELECT n FROM v",
	"CREATE FUNCTION f() RETURNS int READS SQL DATA RETURN (SELECT count(*) FROM t)",
	"CREATE PROCEDURE p() INSERT INTO t VALUES (7)",
	"CREATE TRIGGER tr AFTER INSERT ON t FOR EACH ROW INSERT INTO seen VALUES (new.n)",
	"CREATE EVENT e ON SCHEDULE EVERY 1 SECOND DO INSERT INTO ticks VALUES (1)",
}

// packages are MariaDB's alone.
var packages = []string{
	"SET sql_mode = ORACLE", "CREATE PACKAGE pk AS FUNCTION one RETURN int; END",
	"CREATE PACKAGE BODY pk AS FUNCTION one RETURN int AS BEGIN RETURN 1; END; END", "SET sql_mode = DEFAULT",
}

// What a binding has defined works on for the others when it is gone, under every way to it.
func testDefinersOutliveBindings(t *testing.T, s server) {
	maker, heir := s.bind(t), s.bind(t)
	begun := maker.connect(t)
	begun.do(t, made...)
	if s.mariadb() {
		begun.do(t, packages...)
	}
	maker.unbind(t)
	if _, err := maker.run(t, s.TLS.Authority, "mysql", "-e", "SELECT 1"); err == nil {
		t.Error("an account that is kept for what it defined is let in")
	}
	c := heir.connect(t)
	c.do(t, "DELETE FROM ticks")
	testDump(t, heir)
	c.want(t, "SELECT count(*) FROM upon", "1")
	c.do(t, "INSERT INTO v VALUES (2)", "CALL p()")
	c.want(t, "SELECT f()", "3")
	c.want(t, "SELECT group_concat(n ORDER BY n) FROM seen", "2,7")
	awaitTick(t, c)
	replacing := "CREATE OR REPLACE TRIGGER tr AFTER INSERT ON t FOR EACH ROW SET @x = 1"
	if s.mariadb() {
		c.do(t, "SET sql_mode = ORACLE")
		c.want(t, "SELECT pk.one()", "1")
		c.do(t, "DROP PACKAGE BODY pk", "DROP PACKAGE pk", "SET sql_mode = DEFAULT")
	} else {
		replacing = "DROP TRIGGER tr"
	}

	c.do(t, "ALTER EVENT e ON SCHEDULE EVERY 2 SECOND", "ALTER PROCEDURE p COMMENT 'x'", "ALTER TABLE t ADD m int",
		"ALTER DEFINER = CURRENT_USER VIEW upon AS SELECT 2 AS n", "CREATE OR REPLACE VIEW upon AS SELECT 1 AS n", replacing,
		"DROP EVENT e", "DROP PROCEDURE p", "DROP FUNCTION f", "DROP VIEW v, upon", "DROP TABLE t, seen, ticks")
	s.bind(t).unbind(t)
	s.admin(t).want(t, "SELECT count(*) FROM mysql.user WHERE User = '"+maker.name+"'", "0")
}

func awaitTick(t *testing.T, c client) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var n int
		if err := c.QueryRowContext(t.Context(), "SELECT count(*) FROM ticks").Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the event of a binding that is gone does not run")
		}
	}
}

func testDump(t *testing.T, b binding) {
	t.Helper()
	dump,
		err := b.run(t, b.TLS.Authority, "mysqldump", "--ssl-verify-server-cert", "--single-transaction", "--routines",
		"--triggers", "--events",
		"main", "t", "seen", "ticks", "v", "upon") // and not what other tests of this server make meanwhile
	if err != nil {
		t.Fatalf("mysqldump: %v: %s", err, dump)
	}
	parts := []string{"VIEW `v`", "FUNCTION `f`", "PROCEDURE `p`", "TRIGGER ", "EVENT `e`"}
	if b.mariadb() {
		parts = append(parts, `PACKAGE "pk"`, `PACKAGE BODY "pk"`)
	}
	for _, part := range parts {
		if !strings.Contains(dump, part) {
			t.Errorf("mysqldump leaves out %s", part)
		}
	}
}

// An account that came back goes on where it was.
func testBoundAgain(t *testing.T, s server) {
	b := s.bind(t)
	b.connect(t).do(t, "CREATE TABLE again (n int)", "CREATE VIEW again_v AS SELECT n FROM again")
	b.unbind(t)
	s.bind(t).unbind(t)
	s.rebind(t, b.name).connect(t).do(t, "INSERT INTO again_v VALUES (1)", "DROP VIEW again_v", "DROP TABLE again")
}

package mysql_test

import (
	"slices"
	"strings"
	"testing"
)

// readOnlyRefusals are what a read-only binding may not do to what another, $writer, has made.
var readOnlyRefusals = []string{
	// data
	`INSERT INTO ro_t VALUES (2)`, `REPLACE INTO ro_t VALUES (2)`, `UPDATE ro_t SET n = 2`, `DELETE FROM ro_t`,
	`TRUNCATE ro_t`, `INSERT INTO ro_v VALUES (2)`, `UPDATE ro_v SET n = 2`, `DELETE FROM ro_v`,
	`DELETE ro_t FROM ro_t JOIN ro_v`, `INSERT INTO ro_t SELECT 2`, `UPDATE ro_parted SET n = 2`,
	// objects
	`CREATE TABLE intruder (n int)`, `CREATE TABLE intruder LIKE ro_t`, `CREATE TABLE intruder AS SELECT * FROM ro_t`,
	`CREATE TEMPORARY TABLE intruder (n int)`, `CREATE TEMPORARY TABLE intruder AS SELECT 1`,
	`ALTER TABLE ro_t ADD m int`, `ALTER TABLE ro_parted TRUNCATE PARTITION p0`, `RENAME TABLE ro_t TO intruder`,
	`DROP TABLE ro_t`, `CREATE INDEX intruder ON ro_t (n)`, `DROP VIEW ro_v`, `CREATE VIEW intruder AS SELECT 1`,
	`CREATE OR REPLACE VIEW ro_v AS SELECT 1`, `ALTER VIEW ro_v AS SELECT 1`, `CREATE PROCEDURE intruder() SELECT 1`,
	`CREATE FUNCTION intruder() RETURNS int RETURN 1`, `ALTER PROCEDURE ro_p COMMENT 'x'`, `DROP PROCEDURE ro_p`,
	`CREATE TRIGGER intruder BEFORE INSERT ON ro_t FOR EACH ROW SET @x = 1`, `DROP TRIGGER ro_tr`,
	`CREATE EVENT intruder ON SCHEDULE EVERY 1 DAY DO SELECT 1`, `DROP EVENT ro_e`,
	`ALTER DATABASE main CHARACTER SET latin1`, `DROP DATABASE main`,
	`ANALYZE TABLE ro_t`, `OPTIMIZE TABLE ro_t`, `REPAIR TABLE ro_t`, `FLUSH TABLES ro_t`,
	`FLUSH TABLES ro_t WITH READ LOCK`, `LOCK TABLES ro_t READ`, `LOCK TABLES ro_t WRITE`,
	// routines, which run with the rights of who defined them
	`CALL ro_p()`, `SELECT ro_f()`, `DO ro_f()`,
	// accounts
	`GRANT SELECT ON main.* TO $writer`, `GRANT INSERT ON main.* TO $me`, `SET PASSWORD FOR $writer = ''`,
	`DROP USER $writer`, `CREATE USER intruder`, `CREATE ROLE intruder`,
	`SELECT 1 INTO OUTFILE '/tmp/intruder'`, `SET GLOBAL read_only = 0`,
}

var mariadbReadOnlyRefusals = []string{
	`SELECT NEXTVAL(ro_s)`, `SELECT NEXT VALUE FOR ro_s`, `SELECT SETVAL(ro_s, 7)`, `CREATE SEQUENCE intruder`,
	`DROP SEQUENCE ro_s`, `ALTER SEQUENCE ro_s RESTART`, `CREATE OR REPLACE TABLE ro_t (n int)`,
	`EXECUTE IMMEDIATE 'DELETE FROM ro_t'`, `BEGIN NOT ATOMIC DELETE FROM ro_t; END`,
	`INSERT INTO mysql.proc (db) VALUES ('main')`,
}

// TestReadOnly is what a read-only binding may and may not do, whether it is older or younger than what
// there is.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	s := serve(t)
	early := s.bindReadOnly(t) // was there first
	writer := s.bind(t)
	w := writer.connect(t)
	w.do(t, "CREATE TABLE ro_t (n int)", "INSERT INTO ro_t VALUES (1)", "CREATE VIEW ro_v AS SELECT n FROM ro_t",
		"CREATE PROCEDURE ro_p() INSERT INTO ro_t VALUES (7)",
		"CREATE FUNCTION ro_f() RETURNS int READS SQL DATA RETURN (SELECT count(*) FROM ro_t)",
		"CREATE VIEW ro_calls AS SELECT ro_f() AS n", "CREATE TRIGGER ro_tr AFTER INSERT ON ro_t FOR EACH ROW SET @x = 1",
		"CREATE EVENT ro_e ON SCHEDULE AT '2037-01-01' DO DELETE FROM ro_t",
		"CREATE TABLE ro_parted (n int) PARTITION BY HASH (n) PARTITIONS 2", "INSERT INTO ro_parted VALUES (1)")
	refusals := readOnlyRefusals
	if s.mariadb() {
		w.do(t, "CREATE SEQUENCE ro_s")
		refusals = slices.Concat(refusals, mariadbReadOnlyRefusals)
	}
	for _, reader := range []binding{early, s.bindReadOnly(t)} {
		c := reader.connect(t)
		for _, view := range []string{"ro_t", "ro_v", "ro_parted", "ro_calls"} {
			c.want(t, "SELECT n FROM "+view, "1")
		}
		for _, statement := range refusals {
			c.refused(t, strings.NewReplacer("$me", reader.name, "$writer", writer.name).Replace(statement))
		}
		testKeepsPassword(t, reader)
		dump, err := reader.run(t, s.TLS.Authority, "mysqldump", "--ssl-verify-server-cert", "--single-transaction",
			"--routines", "main", "ro_t", "ro_v")
		if err != nil || !strings.Contains(dump, "(1)") || !strings.Contains(dump, "VIEW `ro_v`") ||
			!strings.Contains(dump, "PROCEDURE `ro_p`") {
			t.Errorf("mysqldump: %v: %s", err, dump)
		}
	}
	w.want(t, "SELECT group_concat(n) FROM ro_t", "1")
}

// Whatever a read-only binding does to its password, that of its credentials lets in, and no other rights
// come with it.
func testKeepsPassword(t *testing.T, reader binding) {
	t.Helper()
	statements := []string{`SET PASSWORD = 'changed-by-itself'`, `SET PASSWORD = ''`, `SET PASSWORD TO RANDOM`,
		`ALTER USER USER() IDENTIFIED BY 'changed-by-itself'`, `ALTER USER USER() IDENTIFIED BY RANDOM PASSWORD`,
		`ALTER USER USER() IDENTIFIED BY ''`, `ALTER USER USER() DISCARD OLD PASSWORD`,
		`ALTER USER USER() IDENTIFIED BY 'changed-by-itself' RETAIN CURRENT PASSWORD`}
	if reader.mariadb() {
		statements = []string{`SET PASSWORD = PASSWORD('changed-by-itself')`,
			`SET PASSWORD = '*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19'`, `SET PASSWORD = ''`,
			`ALTER USER CURRENT_USER() IDENTIFIED BY 'x'`,
			`ALTER USER CURRENT_USER() IDENTIFIED VIA unix_socket`, `ALTER USER CURRENT_USER() ACCOUNT LOCK`,
			`ALTER USER CURRENT_USER() PASSWORD EXPIRE`}
	}
	c := reader.connect(t)
	for _, statement := range statements {
		_, err := c.ExecContext(t.Context(), statement)
		t.Logf("%s: %v", statement, err)
		if said, err := reader.run(t, reader.TLS.Authority, "mysql", "-e", "SELECT n FROM ro_t", "main"); err != nil {
			t.Fatalf("after %s the password of the credentials lets nobody in: %v: %s", statement, err, said)
		}
	}
	c.refused(t, "INSERT INTO ro_t VALUES (2)")
}

package mysql_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine/enginetest"
)

// refusals are what no binding may do.
var refusals = []string{
	// accounts and rights
	`CREATE USER intruder`, `CREATE ROLE intruder`, `DROP USER $other`, `DROP USER $me`, `RENAME USER $other TO intruder`,
	`ALTER USER $other IDENTIFIED BY 'x'`,
	`ALTER USER $me REQUIRE NONE`, `ALTER USER $me WITH MAX_USER_CONNECTIONS 0`, `SET PASSWORD FOR $other = ''`,
	`SHOW GRANTS FOR $other`,
	`GRANT ALL ON main.* TO $other`, `GRANT SELECT ON main.* TO $me`, `GRANT ALL ON *.* TO $me`,
	`GRANT FILE ON *.* TO $me`, `REVOKE ALL ON main.* FROM $other`,
	// other schemas
	`SELECT * FROM mysql.user`, `SELECT * FROM mysql.db`, `SELECT * FROM mysql.servers`, `SELECT * FROM sys.version`,
	`CREATE DATABASE intruder`, `DROP DATABASE mysql`, `DROP DATABASE sys`, `ALTER DATABASE mysql CHARACTER SET latin1`,
	`CREATE TABLE mysql.intruder (n int)`, `CREATE TABLE sys.intruder (n int)`,
	`CREATE TABLE performance_schema.intruder (n int)`, "CREATE TABLE `../intruder`.x (n int)", `USE sys`,
	`HANDLER mysql.user OPEN`, `LOCK TABLES mysql.user READ`,
	`CREATE VIEW intruder AS SELECT * FROM mysql.user`, `CREATE DEFINER = $other VIEW intruder AS SELECT 1`,
	`CREATE DEFINER = root@localhost PROCEDURE intruder() SELECT 1`,
	`CREATE DEFINER = $other FUNCTION intruder() RETURNS int RETURN 1`,
	`CREATE DEFINER = $other EVENT intruder ON SCHEDULE EVERY 1 DAY DO SELECT 1`,
	`CREATE DEFINER = $other TRIGGER intruder BEFORE INSERT ON w FOR EACH ROW SET @x = 1`,
	// files
	`SELECT 1 INTO OUTFILE '/tmp/intruder'`, `SELECT 1 INTO DUMPFILE '/tmp/intruder'`,
	`LOAD DATA INFILE '/etc/passwd' INTO TABLE w`, `LOAD XML INFILE '/etc/passwd' INTO TABLE w`,
	// the server
	`INSTALL PLUGIN intruder SONAME 'ha_archive'`, `UNINSTALL PLUGIN unix_socket`,
	`CREATE FUNCTION intruder RETURNS string SONAME 'x.so'`,
	`CREATE SERVER intruder FOREIGN DATA WRAPPER mysql OPTIONS (HOST 'localhost')`, `SHUTDOWN`, `KILL $theirs`,
	`KILL QUERY $theirs`, `FLUSH TABLES`, `FLUSH PRIVILEGES`, `FLUSH LOGS`, `FLUSH TABLES WITH READ LOCK`,
	`SET GLOBAL max_connections = 1`, `SET GLOBAL require_secure_transport = OFF`, `SET GLOBAL general_log = ON`,
	`SET GLOBAL log_output = 'FILE'`, `SET GLOBAL event_scheduler = OFF`, `SET GLOBAL local_infile = OFF`,
	`SET GLOBAL init_connect = 'x'`,
	`SET GLOBAL innodb_flush_log_at_trx_commit = 0`, `SET GLOBAL sql_mode = ''`, `SET SESSION sql_log_bin = 0`,
	`SET SESSION sql_log_off = 1`,
	`SHOW BINARY LOGS`, `SHOW ENGINE INNODB STATUS`, `SHOW CREATE USER $other`, `BINLOG ''`,
	`SELECT * FROM information_schema.INNODB_BUFFER_PAGE`, `SELECT * FROM information_schema.INNODB_TRX`,
	`SELECT * FROM information_schema.INNODB_METRICS`,
}

// mariadbRefusals are what only MariaDB would know how to do, and oracleRefusals only MySQL.
var (
	mariadbRefusals = []string{
		`SET PASSWORD FOR 'mariadb.sys'@localhost = ''`, `GRANT SELECT ON mysql.proc TO $other`,
		`SET DEFAULT ROLE NONE FOR $other`,
		`SELECT * FROM mysql.global_priv`, `SELECT * FROM mysql.event`, `INSERT INTO mysql.proc (db) VALUES ('main')`,
		`UPDATE mysql.proc SET definer = 'root@localhost'`, `DELETE FROM mysql.proc`,
		`UPDATE mysql.global_priv SET Priv = '{}'`,
		`USE performance_schema`, `HANDLER mysql.global_priv OPEN`, `LOCK TABLES mysql.global_priv READ`,
		`CALL mysql.AddGeometryColumn('', '', '', '', 1)`, `CREATE VIEW intruder AS SELECT * FROM mysql.global_priv`,
		`INSTALL SONAME 'ha_archive'`, `RESET MASTER`, `SET GLOBAL secure_auth = 0`,
		`SET STATEMENT sql_log_bin = 0 FOR SELECT 1`,
		`CHANGE MASTER TO MASTER_HOST = 'localhost'`, `START SLAVE`, `SHOW SLAVE STATUS`, `BACKUP STAGE START`,
		`STOP SLAVE`, `RESET SLAVE ALL`, `SHOW SLAVE HOSTS`, `SHOW BINLOG EVENTS`, `SET GLOBAL read_only = OFF`,
		`SET GLOBAL rpl_semi_sync_master_enabled = OFF`, `SET GLOBAL rpl_semi_sync_master_timeout = 1`,
		`SET GLOBAL gtid_slave_pos = ''`, `SET GLOBAL server_id = 7`, `SET SESSION gtid_domain_id = 7`,
		`SET SESSION gtid_seq_no = 7`, `SET SESSION server_id = 7`,
	}
	oracleRefusals = []string{
		`SET PASSWORD FOR 'mysql.sys'@localhost = ''`, `GRANT SHOW_ROUTINE ON *.* TO $other`,
		`SET DEFAULT ROLE NONE TO $other`, `GRANT 'mysql.sys'@localhost TO $me`,
		`SELECT * FROM mysql.global_grants`, `SELECT * FROM mysql.component`, `USE mysql`, `SELECT * FROM mysql.tables`,
		`SET PERSIST max_connections = 1`, `SET PERSIST_ONLY max_connections = 1`,
		`INSTALL COMPONENT 'file://component_validate_password'`, `RESTART`,
		`CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'localhost'`, `START REPLICA`, `SHOW REPLICA STATUS`,
		`RESET BINARY LOGS AND GTIDS`, `START GROUP_REPLICATION`,
		`CLONE LOCAL DATA DIRECTORY = '/tmp/intruder'`, `ALTER INSTANCE RELOAD TLS`,
		`ALTER INSTANCE DISABLE INNODB REDO_LOG`, `LOCK INSTANCE FOR BACKUP`, `CREATE RESOURCE GROUP intruder TYPE = USER`,
		`CREATE TABLESPACE intruder ADD DATAFILE 'intruder.ibd'`,
		`CREATE UNDO TABLESPACE intruder ADD DATAFILE 'intruder.ibu'`, `IMPORT TABLE FROM '/tmp/intruder.sdi'`,
		`SELECT * FROM performance_schema.threads`,
	}
)

func testRefusals(t *testing.T, s server) {
	me, other := s.bind(t), s.bind(t)
	theirs := other.connect(t)
	var id string
	if err := theirs.QueryRowContext(t.Context(), "SELECT CONNECTION_ID()").Scan(&id); err != nil {
		t.Fatal(err)
	}
	c := me.connect(t)
	c.do(t, "CREATE TABLE IF NOT EXISTS w (n int)")
	own, schemas, rights := oracleRefusals, "information_schema,main,performance_schema", "SHOW_ROUTINE,USAGE"
	if s.mariadb() {
		own, schemas, rights = mariadbRefusals, "information_schema,main,mysql", "USAGE"
	}
	for _, statement := range slices.Concat(refusals, own) {
		statement = strings.NewReplacer("$me", me.name, "$other", other.name, "$theirs", id).Replace(statement)
		c.refused(t, statement)
	}
	c.want(t, "SELECT ifnull(load_file('/etc/passwd'), 'nothing')", "nothing")
	c.want(t, "SELECT count(DISTINCT USER) FROM information_schema.PROCESSLIST", "1")
	c.want(t, "SELECT group_concat(SCHEMA_NAME ORDER BY SCHEMA_NAME) FROM information_schema.SCHEMATA", schemas)
	c.want(t, "SELECT count(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'mysql' AND TABLE_NAME <> 'proc'", "0")
	c.want(t, "SELECT group_concat(DISTINCT PRIVILEGE_TYPE) FROM information_schema.USER_PRIVILEGES", rights)
	c.want(t,
		"SELECT count(*) FROM information_schema.SCHEMA_PRIVILEGES WHERE IS_GRANTABLE = 'YES' OR TABLE_SCHEMA <> 'main'",
		"0")
	if s.mariadb() {
		c.do(t, "KILL USER "+other.name) // ends only one's own
	}
	theirs.want(t, "SELECT 'goes on'", "goes on")
}

// A table is in the data directory, wherever its maker would have it.
func testDataDirectory(t *testing.T, s server) {
	c := s.bind(t).connect(t)
	elsewhere := s.RunDir // is the node's own, to write in
	directory := " DATA DIRECTORY = '" + elsewhere + "'"
	if !s.mariadb() {
		c.refused(t, "CREATE TABLE far (n int)"+directory)
		c.refused(t, "CREATE TABLE apart (n int) PARTITION BY HASH (n) (PARTITION p0"+directory+")")
		return
	}
	c.do(t, "SET sql_mode = ''")
	for i, engine := range []string{"InnoDB", "MyISAM INDEX DIRECTORY = '" + elsewhere + "'", "Aria"} {
		c.do(t, fmt.Sprintf("CREATE TABLE far%d (n int) ENGINE = %s %s", i, engine, directory),
			fmt.Sprintf("CREATE TABLE apart%d (n int) ENGINE = %s PARTITION BY HASH (n) (PARTITION p0 %s)", i, engine,
				directory),
			fmt.Sprintf("INSERT INTO far%d VALUES (1)", i), fmt.Sprintf("INSERT INTO apart%d VALUES (1)", i))
	}
	left, err := filepath.Glob(filepath.Join(elsewhere, "*"))
	if err != nil || len(left) != 1 { // the socket
		t.Errorf("the directory holds %v (%v), want nothing new", left, err)
	}
}

// The operator's account, and those that every server has, are for the Unix socket alone.
func testOtherAccounts(t *testing.T, s server) {
	b := s.bind(t)
	for _, name := range []string{s.Operator, "root", "mysql", "mariadb.sys", "mysql.sys", "PUBLIC", ""} {
		for _, password := range []string{"", "x"} {
			c := backstay.Credentials{"username": name, "password": password}
			for _, key := range []string{"host", "port", "name", "ca_certificate"} {
				c[key] = b.credentials[key]
			}
			if session, err := connect(t.Context(), c); err == nil {
				session.Close()
				t.Errorf("user %q with password %q is let in over the network", name, password)
			}
		}
	}
	others := "mysql.infoschema@localhost,mysql.session@localhost,mysql.sys@localhost,"
	if s.mariadb() {
		others = "mariadb.sys@localhost,"
	}
	s.admin(t).want(t,
		"SELECT group_concat(User, '@', Host ORDER BY User) FROM mysql.user WHERE Host <> '%' AND User <> ''",
		others+s.Operator+"@localhost")
}

// Nothing is said in plain text, and nobody else can pass for the server.
func testTLS(t *testing.T, s server) {
	b := s.bind(t)
	mine := fmt.Sprint(b.credentials["ca_certificate"])
	stranger := enginetest.NewNode(t, tested).TLS.Authority
	for _, tc := range []struct {
		name, authority, option, says string
		ok                            bool
	}{
		{"verified", mine, "--ssl-verify-server-cert", "TLSv1.3", true},
		{"TLS 1.1", mine, "--tls-version=TLSv1.1", "SSL", false},
		{"plain text", mine, "--skip-ssl", "Access denied", false},
		{"another authority", stranger, "--ssl-verify-server-cert", "certificate", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			said, err := b.run(t, tc.authority, "mysql", tc.option, "-Ne", "SHOW STATUS LIKE 'Ssl_version'", "main")
			if (err == nil) != tc.ok || !strings.Contains(said, tc.says) {
				t.Errorf("mysql said %q (%v), want %q", said, err, tc.says)
			}
		})
	}
}

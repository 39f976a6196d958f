package mysql_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/internal/testkit"
)

// archived is a server whose node is backed up.
type archived struct {
	server
	process    *enginetest.Process
	repository backstay.Repository
	backup     backstay.Backup
}

// backUp makes a server that is archived, with what the statements make before the backup.
func backUp(t *testing.T, statements ...string) (archived, client) {
	t.Helper()
	n := enginetest.NewNode(t, tested)
	a := archived{server{n}, enginetest.Serve(t, tested, n), enginetest.NewRepository(t), backstay.Backup{}}
	if !a.mariadb() {
		t.Skip("this product has no archive")
	}
	c := a.bind(t).connect(t)
	c.do(t, statements...)
	a.backUp(t)
	return a, c
}

func (a *archived) backUp(t *testing.T) {
	t.Helper()
	var err error
	if a.backup, err = tested.Backup(t.Context(), a.Node, a.repository, false); err != nil {
		t.Fatal(err)
	}
}

func (a *archived) archive(t *testing.T) engine.Archived {
	t.Helper()
	reached, err := tested.Archive(t.Context(), a.Node, a.repository, 0, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return reached
}

// reachNow archives until what is committed now is in the archive.
func (a *archived) reachNow(t *testing.T) {
	t.Helper()
	now := time.Now()
	a.admin(t).do(t, "FLUSH BINARY LOGS")
	for deadline := now.Add(2 * time.Minute); a.archive(t).Until.Before(now); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the archive does not follow")
		}
	}
}

// end ends the server and archives the rest.
func (a *archived) end(t *testing.T) {
	t.Helper()
	a.process.Stop(t)
	a.archive(t)
}

func (a *archived) restore(t *testing.T, until time.Time) client {
	t.Helper()
	n := enginetest.NewNode(t, tested)
	if err := tested.Restore(t.Context(), n, a.repository, engine.Point{Backup: a.backup.ID, Until: until}); err != nil {
		t.Fatalf("Restore: %v", err)
	}
	enginetest.Serve(t, tested, n)
	return server{n}.bind(t).connect(t)
}

// wantLost wants a restore to be refused.
func (a *archived) wantLost(t *testing.T, why string, until time.Time) {
	t.Helper()
	n := enginetest.NewNode(t, tested)
	err := tested.Restore(t.Context(), n, a.repository, engine.Point{Backup: a.backup.ID, Until: until})
	if backstay.KindOf(err) != backstay.Invalid || backstay.SentenceOf(err) == "" {
		t.Errorf("where %s: got %v, want it to be refused", why, err)
	}
	if _, err := os.Lstat(n.DataDir); err == nil {
		t.Errorf("where %s, something was made", why)
	}
}

// All that users can do is in the archive: definitions and what these do by themselves, tables of each engine,
// transactions that are larger than a file of the log, and those of two phases.
func TestArchiveHoldsEverything(t *testing.T) {
	t.Parallel()
	a, c := backUp(t,
		"CREATE TABLE parent (n int PRIMARY KEY)", "CREATE TABLE child (n int PRIMARY KEY, p int, "+
			"FOREIGN KEY (p) REFERENCES parent (n) ON DELETE CASCADE)",
		"INSERT INTO parent VALUES (1), (2)", "INSERT INTO child VALUES (1, 1), (2, 2)",
		"CREATE TABLE fleeting (n int PRIMARY KEY, m int) ENGINE = MEMORY", "INSERT INTO fleeting VALUES (1, 1), (2, 2)",
		"CREATE TABLE happened (n int AUTO_INCREMENT PRIMARY KEY)",
		"CREATE EVENT happens ON SCHEDULE EVERY 1 SECOND DO INSERT INTO happened VALUES ()")
	c.do(t, "SET SESSION skip_replication = ON", // says that replicas may leave it out
		"UPDATE fleeting SET m = m + 1", "DELETE FROM fleeting WHERE n = 1", "INSERT INTO fleeting VALUES (3, 3)",
		"CREATE TABLE made (n int, doubled int, note text)",
		"CREATE TRIGGER doubles BEFORE INSERT ON made FOR EACH ROW SET NEW.doubled = NEW.n * 2",
		"INSERT INTO made (n) VALUES (1), (2)", "DELETE FROM parent WHERE n = 1",
		"CREATE PROCEDURE makes () INSERT INTO made (n) VALUES (9)", "CALL makes()",
		"CREATE VIEW seen AS SELECT SUM(doubled) AS d FROM made",
		"CREATE EVENT later ON SCHEDULE EVERY 1 DAY DO SET @a = 1",
		"CREATE EVENT never ON SCHEDULE EVERY 1 DAY DISABLE DO SET @a = 1",
		"CREATE TABLE large (n int PRIMARY KEY) AS SELECT seq AS n, REPEAT('x', 1000) AS text FROM seq_1_to_40000",
		"START TRANSACTION", "UPDATE large SET text = REPEAT('y', 1000)", "COMMIT",
		"CREATE TABLE plain (n int) ENGINE = MyISAM", "INSERT INTO plain VALUES (1), (2)",
		"CREATE TABLE crashsafe (n int) ENGINE = Aria", "INSERT INTO crashsafe VALUES (3)",
		"XA START 'two'", "INSERT INTO plain VALUES (3)", "INSERT INTO crashsafe SELECT 4", "INSERT INTO parent VALUES (7)",
		"XA END 'two'", "XA PREPARE 'two'", "XA COMMIT 'two'",
		"SET SESSION binlog_alter_two_phase = ON", "ALTER TABLE made ADD COLUMN further int DEFAULT 5",
		"CREATE TEMPORARY TABLE passing (n int)", "INSERT INTO passing VALUES (11)",
		"INSERT INTO made (n) SELECT n FROM passing",
		"DROP EVENT happens", "CREATE SEQUENCE numbers")
	var want string
	must(t, c.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM happened").Scan(&want))
	a.end(t)
	r := a.restore(t, time.Time{})
	for query, want := range map[string]string{
		"SELECT COUNT(*) FROM happened":                                           want,
		"SELECT GROUP_CONCAT(n ORDER BY n) FROM parent":                           "2,7",
		"SELECT GROUP_CONCAT(n ORDER BY n) FROM child":                            "2",
		"SELECT COUNT(*) FROM fleeting":                                           "0",
		"SELECT d FROM seen":                                                      "46",
		"SELECT SUM(further) FROM made":                                           "20",
		"SELECT CONCAT(COUNT(*), MIN(LEFT(text, 1))) FROM large":                  "40000y",
		"SELECT GROUP_CONCAT(n ORDER BY n) FROM plain":                            "1,2,3",
		"SELECT GROUP_CONCAT(n ORDER BY n) FROM crashsafe":                        "3,4",
		"SELECT STATUS FROM information_schema.EVENTS WHERE EVENT_NAME = 'later'": "ENABLED",
		"SELECT STATUS FROM information_schema.EVENTS WHERE EVENT_NAME = 'never'": "DISABLED",
		"SELECT COUNT(*) FROM information_schema.EVENTS":                          "2",
	} {
		r.want(t, query, want)
	}
	r.do(t, "CALL makes()", "DROP PROCEDURE makes", "INSERT INTO made (n) VALUES (3)")
}

// A gap in the archive is told once, and nothing behind it is restored from a backup before it.
func TestArchiveTellsOfGaps(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	a, c := backUp(t, "CREATE TABLE t (n int)")
	c.do(t, "INSERT INTO t VALUES (1)")
	a.reachNow(t)
	reached := time.Now()
	away := a.repository.Dir + ".away"
	must(t, os.Rename(a.repository.Dir, away))
	c.do(t, "INSERT INTO t VALUES (2)")
	if _, err := tested.Archive(t.Context(), a.Node, a.repository, 0, time.Time{}); backstay.KindOf(err) != backstay.Unavailable {
		t.Errorf("where the repository is away: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(a.DataDir, "binlog.0*"))
	must(t, err)
	must(t, os.Truncate(files[len(files)-1], 2<<30)) // with a hole
	if _, err := tested.Archive(t.Context(), a.Node, a.repository, 0, time.Time{}); backstay.KindOf(err) != backstay.Unavailable {
		t.Errorf("where the repository is away: %v", err)
	}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		tested.Archive(t.Context(), a.Node, a.repository, 0, time.Time{}) // the server may still need it
		if _, err := os.Lstat(files[len(files)-1]); err != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("what waits for the repository takes too much room")
		}
	}
	c.do(t, "INSERT INTO t VALUES (3)")
	must(t, os.Rename(away, a.repository.Dir))
	gaps := a.archive(t).Gaps
	soon := time.Now().Add(time.Second)
	if len(gaps) != 1 || gaps[0].From.After(reached) || gaps[0].Until.Before(reached) || gaps[0].Until.After(soon) {
		t.Errorf("told of the gaps %v, want one that holds %v", gaps, reached)
	}
	if gaps := a.archive(t).Gaps; len(gaps) != 0 {
		t.Errorf("told again of %v", gaps)
	}
	a.wantLost(t, "it lies behind a gap", time.Now())
	a.restore(t, time.Time{}).want(t, "SELECT GROUP_CONCAT(n) FROM t", "1")
	a.backUp(t)
	c.do(t, "INSERT INTO t VALUES (4)")
	a.end(t)
	a.restore(t, time.Time{}).want(t, "SELECT GROUP_CONCAT(n) FROM t", "1,2,3,4")
}

// After the machine has died under a server whose commits did not wait for the disk, the log may have what the data has
// not. So a series ends there.
func TestArchiveEndsWhereTheMachineDied(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	for _, relaxed := range []string{"1", "2"} {
		n := enginetest.NewNode(t, tested)
		n.Settings = []byte(`{"settings": {"innodb_flush_log_at_trx_commit": ` + relaxed + `}}`)
		a := archived{server{n}, enginetest.Serve(t, tested, n), enginetest.NewRepository(t), backstay.Backup{}}
		if !a.mariadb() {
			t.Skip("this product has no archive")
		}
		a.backUp(t)
		a.bind(t).connect(t).do(t, "CREATE TABLE t (n int)")
		a.process.Kill(t)
		followed := filepath.Join(n.DataDir, "archive.json")
		text, err := os.ReadFile(followed)
		must(t, err)
		boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
		must(t, err)
		before := strings.Replace(string(text), strings.TrimSpace(string(boot)), "another", 1)
		must(t, os.WriteFile(followed, []byte(before), 0o600))
		enginetest.Serve(t, tested, n)
		if gaps := a.archive(t).Gaps; len(gaps) == 1 != (relaxed == "2") {
			t.Errorf("with %s: told of the gaps %v", relaxed, gaps)
		}
	}
}

// A log that its server was killed on ends where it is torn. One on which the server has written on, as it does behind an
// event for which a full disk had no room, does not: what is behind the tear is a gap, though nobody has ended the file.
func TestArchiveEndsBeforeATear(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	for what, goesOn := range map[string]bool{"killed": false, "written on": true} {
		a, c := backUp(t, "CREATE TABLE t (n int)")
		c.do(t, "INSERT INTO t VALUES (1)")
		files, err := filepath.Glob(filepath.Join(a.DataDir, "binlog.0*"))
		must(t, err)
		last := files[len(files)-1]
		before, err := os.ReadFile(last)
		must(t, err)
		c.do(t, "INSERT INTO t VALUES (2)")
		a.process.Kill(t)
		content, err := os.ReadFile(last)
		must(t, err)
		text := content[:len(content)-40]
		if goesOn {
			text = append(bytes.Clone(text), content[len(before):]...)
		}
		must(t, os.WriteFile(last, text, 0o600))
		gaps := 0
		for range 3 { // the first call says that it is damaged
			reached, err := tested.Archive(t.Context(), a.Node, a.repository, 0, time.Time{})
			if err != nil && backstay.KindOf(err) != backstay.Unavailable {
				t.Fatal(err)
			}
			gaps += len(reached.Gaps)
		}
		if gaps == 1 != goesOn {
			t.Errorf("of a log that is %s, told of %d gaps", what, gaps)
		}
	}
}

// Who gets a policy has an archive from the next start on, and no log once there is none any more: also where the server
// was killed meanwhile. What is logged later is behind a gap.
func TestArchiveFollowsThePolicy(t *testing.T) {
	t.Parallel()
	n := enginetest.NewNode(t, tested)
	n.Archive = false
	a := archived{server{n}, enginetest.Serve(t, tested, n), enginetest.NewRepository(t), backstay.Backup{}}
	if !a.mariadb() {
		t.Skip("this product has no archive")
	}
	c := a.bind(t).connect(t)
	c.do(t, "CREATE TABLE t (n int)")
	a.backUp(t)
	gaps := 0
	for _, archive := range []bool{true, false, true} {
		a.Archive = archive
		if restart, err := tested.Reload(t.Context(), a.Node); restart || err != nil {
			t.Errorf("with %v, a restart is asked for: %v (%v)", archive, restart, err)
		}
		c.do(t, "INSERT INTO t VALUES (1)")
		a.archive(t)
		a.process.Kill(t)
		a.process = enginetest.Serve(t, tested, a.Node)
		if !archive { // the server has needed the log that it had when it was killed
			a.process.Stop(t)
			a.process = enginetest.Serve(t, tested, a.Node)
		}
		c = a.bind(t).connect(t)
		logs, err := filepath.Glob(filepath.Join(a.DataDir, "binlog.*"))
		if err != nil || len(logs) > 0 != archive {
			t.Errorf("with %v, there are %v (%v)", archive, logs, err)
		}
		reached := a.archive(t)
		if reached.Until.IsZero() == archive {
			t.Errorf("with %v, the archive reaches until %v", archive, reached.Until)
		}
		gaps += len(reached.Gaps)
	}
	if gaps != 2 { // one behind the backup, which has no archive, and one while there was no log
		t.Errorf("told of %d gaps, want 2", gaps)
	}
	a.restore(t, time.Time{}).want(t, "SELECT COUNT(*) FROM t", "0")
}

// Pieces that are gone or damaged are missed, and nothing is restored across them.
func TestArchiveMissesPieces(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	a, c := backUp(t, "CREATE TABLE t (n int)")
	for i := range 2 {
		c.do(t, fmt.Sprintf("INSERT INTO t VALUES (%d)", i))
		a.admin(t).do(t, "FLUSH BINARY LOGS")
	}
	a.archive(t)
	pieces, err := filepath.Glob(filepath.Join(a.repository.Dir, a.repository.Part, "log", "*", "*"))
	must(t, err)
	if len(pieces) != 3 { // with the head
		t.Fatalf("the archive consists of %v", pieces)
	}
	for _, piece := range pieces {
		content, err := os.ReadFile(piece)
		must(t, err)
		must(t, os.Remove(piece))
		a.wantDamaged(t, filepath.Base(piece)+" is gone")
		content[len(content)/2] ^= 1
		must(t, os.WriteFile(piece, content, 0o600))
		a.wantDamaged(t, "a bit of "+filepath.Base(piece)+" is flipped")
		content[len(content)/2] ^= 1
		must(t, os.WriteFile(piece, content, 0o600))
	}
	wantWhole(t, a.Node, a.repository, a.backup)
	a.restore(t, time.Time{}).want(t, "SELECT COUNT(*) FROM t", "2")
}

func (a *archived) wantDamaged(t *testing.T, why string) {
	t.Helper()
	if f, err := tested.Verify(t.Context(), a.Node, a.repository); err != nil || len(f.Lost) != 1 {
		t.Errorf("where %s, Verify: %+v, %v", why, f, err)
	}
	a.wantLost(t, why, time.Time{})
}

// Users cannot read the binary log, end it, keep anything out of it, or write another time into it.
func TestUsersLeaveTheLogAlone(t *testing.T) {
	t.Parallel()
	a, c := backUp(t)
	for _, statement := range []string{
		"SET timestamp = 1", "SET STATEMENT timestamp = 1 FOR SELECT 1", "SET SESSION sql_log_bin = OFF",
		"SET STATEMENT sql_log_bin = OFF FOR SELECT 1", "SET SESSION binlog_format = 'STATEMENT'",
		"SET SESSION binlog_row_image = 'MINIMAL'", "SET SESSION server_id = 7", "SET SESSION gtid_seq_no = 7",
		"SET SESSION gtid_domain_id = 7",
		"SET SESSION binlog_annotate_row_events = ON", "SET GLOBAL sync_binlog = 0",
		"SHOW BINARY LOGS", "SHOW BINLOG EVENTS", "SHOW MASTER STATUS", "PURGE BINARY LOGS BEFORE NOW()", "RESET MASTER",
		"FLUSH BINARY LOGS", "BINLOG 'AAAA'", "CHANGE MASTER TO MASTER_HOST = 'none'", "START SLAVE", "SHOW SLAVE STATUS",
	} {
		c.refused(t, statement)
	}
	c.do(t, "CREATE TABLE t (n int) ENGINE = MyISAM DATA DIRECTORY = '/tmp' INDEX DIRECTORY = '/tmp'",
		"CREATE TABLE u (n int) ENGINE = InnoDB DATA DIRECTORY = '/tmp'",
		"CREATE TABLE v (n int) ENGINE = Aria DATA DIRECTORY = '/tmp' INDEX DIRECTORY = '/tmp'")
	must(t, filepath.WalkDir(a.DataDir, func(path string, e os.DirEntry, err error) error {
		if err == nil && (e.Type()&os.ModeSymlink != 0 || strings.HasSuffix(path, ".isl")) {
			t.Errorf("%s leads elsewhere", path)
		}
		return err
	}))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

package mysql_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/engine/enginetest"
)

// Accounts, too, are as the last call left them after a kill at any moment.
func TestAccountsSurviveKill(t *testing.T) {
	t.Parallel()
	n := enginetest.NewNode(t, tested)
	p := enginetest.Serve(t, tested, n)
	s := server{n}
	stays, goes, keeps := s.bind(t), s.bind(t), s.bind(t)
	keeps.connect(t).do(t, "CREATE VIEW v AS SELECT 1 AS n")
	goes.unbind(t)
	keeps.unbind(t)
	p.Kill(t)
	enginetest.Start(t, tested, n)
	stays.connect(t).want(t, "SELECT n FROM v", "1")
	for _, b := range []binding{goes, keeps} {
		if session, err := connect(t.Context(), b.credentials); err == nil {
			session.Close()
			t.Error("a binding that was gone is let in")
		}
	}
}

// A server that breaks takes the statements it was at with it: they may hold secrets.
func TestCrashSaysNoStatement(t *testing.T) {
	t.Parallel()
	n := enginetest.NewNode(t, tested)
	enginetest.Serve(t, tested, n)
	s := server{n}
	c := s.bind(t).connect(t)
	ended := make(chan error)
	go func() {
		_, err := c.ExecContext(t.Context(), "SELECT benchmark(1000000000, sha2('x', 512)), 'a secret'")
		ended <- err
	}()
	text, err := os.ReadFile(filepath.Join(n.DataDir, "server.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Tgkill(pid, busyThread(t, pid), unix.SIGSEGV); err != nil {
		t.Fatal(err)
	}
	if <-ended == nil {
		t.Error("the statement goes on")
	}
	said, err := os.ReadFile(n.LogFile)
	if err != nil || strings.Contains(string(said), "a secret") ||
		!strings.Contains(string(said), "ready for connections") {
		t.Errorf("the log holds the statement, or nothing (%v): %s", err, said)
	}
}

// busyThread is the thread of a process that takes all of a processor.
func busyThread(t *testing.T, pid int) int {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		before := ticks(t, pid)
		time.Sleep(200 * time.Millisecond) // of which even on a busy machine it gets a tenth
		for thread, now := range ticks(t, pid) {
			if now-before[thread] >= 2 {
				return thread
			}
		}
	}
	t.Fatal("no thread is busy")
	return 0
}

// ticks is how long each thread of a process has run, in hundredths of a second.
func ticks(t *testing.T, pid int) map[int]int {
	t.Helper()
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	all := map[int]int{}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil { // the thread has ended
			continue
		}
		thread, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		_, rest, _ := strings.Cut(string(text), ") ")
		all[thread], _ = strconv.Atoi(strings.Fields(rest)[11]) // utime, the 14th in all (proc_pid_stat(5))
	}
	return all
}

// What apps find without asking for it.
func testDefaults(t *testing.T, s server) {
	c := s.bind(t).connect(t)
	for query, want := range map[string]string{
		"SELECT @@character_set_server":   "utf8mb4",
		"SELECT @@character_set_database": "utf8mb4",
		"SELECT @@character_set_client":   "utf8mb4",
		"SELECT @@time_zone":              "+00:00",
		"SELECT @@max_allowed_packet":     "268435456",
		"SELECT concat(@@innodb_flush_log_at_trx_commit, @@innodb_doublewrite)": "1ON",
		"SELECT @@max_user_connections":                                         strconv.Itoa(s.Size.Connections),
		"SELECT database()":                                                     "main",
		"SELECT CONVERT('⛵' USING utf8mb4)":                                     "⛵",
	} {
		c.want(t, query, want)
	}
	c.do(t, "CREATE TABLE sails (s varchar(20))", "INSERT INTO sails VALUES ('⛵')")
	c.want(t, "SELECT concat(s, CHARSET(s)) FROM sails", "⛵utf8mb4")
	c.do(t, "DROP TABLE sails")
}

// One binding that takes all it can get keeps neither the administrator out nor, while it lasts, what
// is not its plan's.
func TestAdministratorGetsIn(t *testing.T) {
	t.Parallel()
	n := enginetest.NewNode(t, tested)
	n.Size.Connections = 4
	enginetest.Serve(t, tested, n)
	s := server{n}
	greedy, second, third := s.bind(t), s.bind(t), s.bind(t)
	count := 0
	for _, b := range []binding{greedy, second, third} {
		for range n.Size.Connections {
			session, err := connect(t.Context(), b.credentials)
			if err != nil {
				continue
			}
			defer session.Close()
			count++
		}
		session, err := connect(t.Context(), b.credentials)
		if err == nil {
			session.Close()
			t.Errorf("one binding holds more than %d connections", n.Size.Connections)
		}
	}
	if count <= n.Size.Connections {
		t.Errorf("%d connections in all, want the test to use up what is kept free", count)
	}
	s.bind(t).unbind(t)
	greedy.unbind(t)
}

// A binding may drop its database and make it anew, and bind and unbind do not depend on it.
func TestDatabaseMadeAnew(t *testing.T) {
	t.Parallel()
	s := serve(t)
	maker := s.bind(t)
	c := maker.connect(t)
	c.do(t, "CREATE TABLE gone (n int)", "DROP DATABASE main")
	s.bind(t).unbind(t)
	heir := s.bind(t)
	c.do(t, "CREATE DATABASE main", "USE main", "CREATE TABLE made (n int)", "CREATE VIEW seen AS SELECT n FROM made")
	maker.unbind(t)
	other := heir.connect(t)
	other.do(t, "INSERT INTO seen VALUES (1)", "DROP VIEW seen", "DROP TABLE made")
	other.want(t,
		"SELECT DEFAULT_CHARACTER_SET_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'main'", "utf8mb4")
}

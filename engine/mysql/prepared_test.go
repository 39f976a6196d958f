package mysql_test

import (
	"database/sql/driver"
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestPreparedEndsWithItsBinding: a transaction that was prepared holds its locks until somebody ends it. That of a
// binding that goes is ended, as far as it is certain to be its own.
func TestPreparedEndsWithItsBinding(t *testing.T) {
	t.Parallel()
	s := serve(t)
	stays := s.bind(t)
	theirs := stays.connect(t)
	theirs.do(t, "CREATE TABLE t (n int PRIMARY KEY, m int)", "INSERT INTO t VALUES (1, 0), (2, 0), (3, 0)")
	theirs.prepare(t, "'theirs'", 1)
	if s.mariadb() { // Oracle's server takes each from its session as it is prepared
		goes := s.bind(t)
		goes.connect(t).prepare(t, "X'FF00C3','it''s',7", 2)
		goes.unbind(t)
		s.wantPrepared(t, "theirs")
		theirs.do(t, "XA COMMIT 'theirs'", "SET innodb_lock_wait_timeout = 1", "UPDATE t SET m = m + 1")
		theirs.want(t, "SELECT group_concat(m ORDER BY n) FROM t", "8,1,1")
		theirs.prepare(t, "'theirs'", 1)
	}
	gone := s.bind(t)
	lost := gone.connect(t)
	lost.prepare(t, "'lost'", 2)
	gone.hangUp(t, lost)
	gone.unbind(t) // it could be another's: whoever stays may end it
	s.wantPrepared(t, "lost", "theirs")
	stays.unbind(t)
	s.bind(t).connect(t).do(t, "SET innodb_lock_wait_timeout = 1", "UPDATE t SET m = m + 1")
	s.wantPrepared(t)
}

// prepare has a transaction change a row, and prepares it.
func (c client) prepare(t *testing.T, name string, row int) {
	t.Helper()
	c.do(t, "XA START "+name, fmt.Sprintf("UPDATE t SET m = 7 WHERE n = %d", row), "XA END "+name, "XA PREPARE "+name)
}

// hangUp ends a client's connection, and waits until the server has noticed.
func (b binding) hangUp(t *testing.T, c client) {
	t.Helper()
	c.Raw(func(any) error { return driver.ErrBadConn }) // which has it closed
	admin, sessions := b.admin(t), "SELECT count(*) FROM information_schema.PROCESSLIST WHERE USER = '"+b.name+"'"
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var left int
		err := admin.QueryRowContext(t.Context(), sessions).Scan(&left)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%d sessions are left, %v", left, err)
		}
		if left == 0 {
			return
		}
	}
}

// wantPrepared wants these to be prepared, in the order of their names.
func (s server) wantPrepared(t *testing.T, want ...string) {
	t.Helper()
	rows, err := s.admin(t).QueryContext(t.Context(), "XA RECOVER")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	got := []string{}
	for rows.Next() {
		var format, global, branch int
		var name string
		if err := rows.Scan(&format, &global, &branch, &name); err != nil {
			t.Fatal(err)
		}
		got = append(got, name)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%q are prepared, want %q", got, want)
	}
}

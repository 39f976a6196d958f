package postgres_test

import (
	"testing"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/postgres"
)

// TestMarkLog marks anew only where something was written meanwhile.
func TestMarkLog(t *testing.T) {
	t.Parallel()
	s := hosted(t)
	if err := (postgres.Engine{}).Establish(t.Context(), s.Node); err != nil {
		t.Fatal(err)
	}
	mark := func(last engine.LogMark) engine.LogMark {
		t.Helper()
		m, err := postgres.Engine{}.MarkLog(t.Context(), s.Node, last)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	first := mark(engine.LogMark{})
	if first.Piece == "" || first.At.IsZero() || first.State == "" {
		t.Fatalf("the first mark is %+v", first)
	}
	again := mark(first)
	if again.Piece != first.Piece || !again.At.Equal(first.At) || !again.Seen.After(first.Seen) {
		t.Errorf("with nothing written after %+v comes %+v", first, again)
	}
	if err := (postgres.Engine{}).Configure(t.Context(), s.Node); err != nil {
		t.Fatal(err)
	}
	writer := s.bind(t).connect(t)
	again = mark(first)
	writer.do(t, "BEGIN", "CREATE TABLE t ()")
	if open := mark(again); open.Piece != again.Piece { // nothing of it is committed
		t.Errorf("while somebody writes after %+v comes %+v", again, open)
	}
	during := mark(engine.LogMark{})
	if during.Piece <= again.Piece || during.State != "" {
		t.Errorf("a mark behind somebody who writes is %+v", during)
	}
	writer.do(t, "COMMIT")
	if next := mark(during); next.Piece <= during.Piece || !next.At.After(during.At) || next.State == "" {
		t.Errorf("with something written after %+v comes %+v", during, next)
	}
}

// TestDropUsersOfAHostedServer leaves the roles of whoever runs it.
func TestDropUsersOfAHostedServer(t *testing.T) {
	t.Parallel()
	s, e := hosted(t), postgres.Engine{}
	if err := e.Establish(t.Context(), s.Node); err != nil {
		t.Fatal(err)
	}
	if err := e.Configure(t.Context(), s.Node); err != nil {
		t.Fatal(err)
	}
	s.bindReadOnly(t)
	old := s.bind(t).connect(t)
	logins := "SELECT count(*) FROM pg_roles WHERE rolcanlogin AND rolname <> 'postgres'"
	old.want(t, logins, "2")
	for range 2 {
		if err := e.DropUsers(t.Context(), s.Node); err != nil {
			t.Fatal(err)
		}
	}
	old.refused(t, "SELECT", "57P01")
	s.bind(t).connect(t).want(t, logins, "1")
}

package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/wait"
)

// TestWhoInsistsIsShutOut has a binding go on writing to a full node, in one session after another. When there is no room
// for that any more it is shut out, and stays so over a start. Others read, delete for as long as that takes and are
// bound and unbound meanwhile, and when there is room the binding is let in again.
func TestWhoInsistsIsShutOut(t *testing.T) {
	t.Parallel()
	s := server{enginetest.NewNode(t, postgres.Engine{})}
	s.Size = backstay.Size{Storage: backstay.GB, Memory: 64 * backstay.MB, Connections: 20}
	process := enginetest.Serve(t, postgres.Engine{}, s.Node)
	insisting, other := s.bind(t), s.bind(t)
	insisting.connect(t).do(t, `CREATE TABLE t AS SELECT i FROM generate_series(1, 1000) i`, `CREATE TABLE u (i int)`)
	s.refuse(t, engine.FewWrites)
	s.admin(t).await(t, `clock_timestamp() > pg_conf_load_time() + interval '1 s'`)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- insisting.insist(ctx) }()
	for shutOut := false; !shutOut; {
		s.refuse(t, engine.NoWrites)
		select {
		case err := <-ended:
			if shutOut = stateOf(err) == "28000"; !shutOut {
				t.Fatalf("who insists on writing is told %v", err)
			}
		case <-time.After(50 * time.Millisecond):
		}
	}

	reader := other.connect(t)
	reader.want(t, `SELECT count(*) FROM t`, "1000")
	deleting := other.connect(t)
	deleting.do(t, `SET default_transaction_read_only = off`)
	deleted := make(chan error, 1)
	go func() {
		_, err := deleting.Exec(ctx, `DELETE FROM t WHERE i <= 100 AND pg_sleep(0.02) IS NOT NULL`)
		deleted <- err
	}()
	for done := false; !done; {
		s.refuse(t, engine.NoWrites)
		select {
		case err := <-deleted:
			if done = true; err != nil {
				t.Errorf("delete: %v", err)
			}
		case <-time.After(50 * time.Millisecond):
		}
	}
	deleting.do(t, `VACUUM t`, `TRUNCATE t`, `DROP TABLE t`)
	late := s.bind(t)
	late.connect(t).refused(t, `INSERT INTO u VALUES (1)`, "25006")
	late.unbind(t)

	process.Stop(t)
	full := s.Node
	full.Full = true
	enginetest.Serve(t, postgres.Engine{}, full)
	if _, err := dial(t.Context(), insisting.credentials); stateOf(err) != "28000" {
		t.Errorf("behind a start, who insisted is told %v", err)
	}
	other.connect(t).want(t, `SELECT count(*) > 0 FROM u`, "true")
	s.refuse(t, engine.AnyWrites)
	insisting.awaitEntry(t).do(t, `INSERT INTO u VALUES (1)`)
	insisting.unbind(t)
}

// TestClosedNodeBegins has a full node begin without clients. Once it refuses what they write, those are let in who
// read and who are bound from then on, and the others when there is room.
func TestClosedNodeBegins(t *testing.T) {
	t.Parallel()
	for _, w := range []engine.Writes{engine.FewWrites, engine.NoWrites} {
		t.Run(w.String(), func(t *testing.T) {
			t.Parallel()
			s := server{enginetest.NewNode(t, postgres.Engine{})}
			process := enginetest.Serve(t, postgres.Engine{}, s.Node)
			writing, reading := s.bind(t), s.bindReadOnly(t)
			process.Stop(t)
			closed := s.Node
			closed.Full, closed.Closed = true, true
			enginetest.Serve(t, postgres.Engine{}, closed)
			for _, b := range []binding{writing, reading} {
				if _, err := dial(t.Context(), b.credentials); stateOf(err) != "28000" {
					t.Errorf("a closed node tells a client %v", err)
				}
			}
			s.refuse(t, w)
			reading.awaitEntry(t).do(t, `SELECT 1`)
			s.bind(t).awaitEntry(t).do(t, `SELECT 1`)
			if _, err := dial(t.Context(), writing.credentials); stateOf(err) != "28000" {
				t.Errorf("who may have filled it is told %v", err)
			}
			s.refuse(t, engine.AnyWrites)
			writing.awaitEntry(t).do(t, `CREATE TABLE t (i int)`)
		})
	}
}

// insist writes in sessions that ask for it, until one is refused at the door.
func (b binding) insist(ctx context.Context) error {
	for {
		conn, err := dial(ctx, b.credentials)
		if err != nil {
			return err
		}
		for _, err = conn.Exec(ctx, `SET default_transaction_read_only = off`); err == nil; {
			_, err = conn.Exec(ctx, `INSERT INTO u SELECT generate_series(1, 100)`)
		}
		if err := errors.Join(conn.Close(ctx), ctx.Err()); err != nil && ctx.Err() != nil {
			return err
		}
	}
}

// awaitEntry connects once the server has read that it may.
func (b binding) awaitEntry(t *testing.T) (c client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := wait.Until(ctx, wait.Every(10*time.Millisecond), func() (again bool, err error) {
		conn, err := dial(ctx, b.credentials)
		if stateOf(err) == "28000" {
			return true, nil
		}
		c = client{conn}
		return false, err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

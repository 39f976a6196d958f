package postgres_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/testkit"
)

// hoard takes locks until the server has room for no other, and keeps them.
func (c client) hoard(t *testing.T) {
	t.Helper()
	c.refused(t, `SELECT count(pg_advisory_lock(i)) FROM generate_series(1, 10000000) i`, "53200")
}

// TestLocksRunOut: where clients hold so many locks that nobody can log in, that is told as what only ending the server
// helps against. Where the administrator still gets in, it makes room for what it does.
func TestLocksRunOut(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	s := serve(t, backstay.Size{Storage: backstay.GB, Memory: 256 * backstay.MB, Connections: 20})
	b, other := s.bind(t), s.bind(t)
	c := b.connect(t)
	c.hoard(t)
	var err error
	for range 5 { // a machine under load may not answer in time
		if err = s.probe(t); backstay.KindOf(err) == backstay.Busy {
			break
		}
	}
	if backstay.KindOf(err) != backstay.Busy {
		t.Errorf("of a server that lets nobody in: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := (postgres.Engine{}).DropUser(ctx, s.Node, b.name); backstay.KindOf(err) != backstay.Unavailable {
		t.Errorf("dropping a user of such a server: %v", err)
	}
	for _, room := range []int{12, 16, 20, 30} { // for the login, and some of what comes after it
		c.do(t, fmt.Sprintf(`SELECT pg_advisory_unlock(i) FROM generate_series(1, %d) i`, room))
		within(t, 20*time.Second, "binding and unbinding", func() { s.bind(t).unbind(t) })
		c = other.connect(t)
		c.hoard(t)
	}
	c.do(t, `SELECT pg_advisory_unlock(i) FROM generate_series(1, 16) i`)
	within(t, 20*time.Second, "unbinding whose sessions hold the locks", func() { other.unbind(t) })
	b.unbind(t)
	if err := s.probe(t); err != nil {
		t.Error(err)
	}
}

func (s server) probe(t *testing.T) error {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return postgres.Engine{}.Probe(ctx, s.Node)
}

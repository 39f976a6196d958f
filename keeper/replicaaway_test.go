package keeper_test

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/keeper/keepertest"
)

// readPair makes an instance of two in which a number is noted, and returns who writes to it and who reads from its
// standby.
func readPair(t *testing.T, p product, c keeper.Config, how backend.Reading) (
	b *local.Backend, spec backend.Spec, writes, reads backstay.Credentials,
) {
	t.Helper()
	b, _ = keepertest.Run(t, c)
	spec = specOf(t, p)
	spec.Nodes, spec.Reading = 2, how
	mustApplySpec(t, b, spec)
	until(t, b, spec.Instance, isProtected)
	writes = mustCredentials(t, b, spec.Instance)
	mustNoteAs(t, p, writes, 1)
	reads, err := b.CreateUser(t.Context(), spec.Instance, replicaUser("u2"))
	if err != nil {
		t.Fatal(err)
	}
	until(t, b, spec.Instance, isRead)
	return b, spec, writes, reads
}

// TestStandbyThatHangsIsNotReadFrom: who reads would hang, too.
func TestStandbyThatHangsIsNotReadFrom(t *testing.T) {
	onEachPair(t, func(t *testing.T, p product, c keeper.Config) {
		b, spec, _, reads := readPair(t, p, c, backend.Reading{})
		r := mustRead(t, p, reads)
		wantRead(t, r, true, 1)
		began := time.Now()
		goOn := mustStop(t, c, string(instance.Homes(spec.Instance)[1]))
		until(t, b, spec.Instance, func(s backend.Status) bool { return s.Nodes[0].Reads })
		t.Logf("reads go to the primary after %v", time.Since(began))
		wantEnded(t, r)
		wantRead(t, mustRead(t, p, reads), false, 1)
		goOn()
		until(t, b, spec.Instance, isRead)
		wantRead(t, mustRead(t, p, reads), true, 1)
	})
}

// holdUp has a reader hold up what its node is sent, and a writer send it that.
func holdUp(ctx context.Context, r, w writer) error {
	switch r := r.(type) {
	case postgresWriter:
		if _, err := r.Exec(ctx, "BEGIN; "+readNotes); err != nil {
			return err
		}
		_, err := w.(postgresWriter).Exec(ctx, "ALTER TABLE noted ADD COLUMN later integer")
		return err
	case mysqlWriter:
		for _, statement := range []string{"BEGIN", readNotes} {
			if _, err := r.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		_, err := w.(mysqlWriter).ExecContext(ctx, "ALTER TABLE noted ADD INDEX later (n)")
		return err
	}
	return errors.ErrUnsupported
}

// TestStandbyThatIsBehindIsNotReadFrom: a reader that holds up what the standby is sent is ended when that is too old by
// what the instance allows, and reads go to the primary until the standby has caught up.
func TestStandbyThatIsBehindIsNotReadFrom(t *testing.T) {
	onEachPair(t, func(t *testing.T, p product, c keeper.Config) {
		if p.engine == "redis" {
			t.Skip("nobody who reads can hold up what a standby of Redis is sent")
		}
		b, spec, writes, reads := readPair(t, p, c, backend.Reading{MaxLag: 2})
		r := mustRead(t, p, reads)
		wantRead(t, r, true, 1)
		w, err := p.open(t.Context(), writes)
		if err != nil {
			t.Fatal(err)
		}
		defer w.close()
		if err := holdUp(t.Context(), r, w); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		s := until(t, b, spec.Instance, func(s backend.Status) bool { return len(s.Nodes) == 2 && s.Nodes[0].Reads })
		t.Logf("reads go to the primary after %v: %+v, %+v", time.Since(began), s.Nodes, s.Troubles)
		wantEnded(t, r)
		wantRead(t, mustRead(t, p, reads), false, 1)
		s = until(t, b, spec.Instance, isRead)
		t.Logf("and to the standby after %v", time.Since(began))
		if slices.ContainsFunc(s.Troubles, func(t backstay.Trouble) bool { return t.Kind == "replica" }) {
			t.Errorf("a standby that is read from is told to be behind: %v", s.Troubles)
		}
		wantRead(t, mustRead(t, p, reads), true, 1)
	})
}

// TestReadersDoNotHoldUpAFailover: the standby takes over though somebody reads from it who holds up what it was sent.
func TestReadersDoNotHoldUpAFailover(t *testing.T) {
	onEachPair(t, func(t *testing.T, p product, c keeper.Config) {
		if p.engine == "redis" {
			t.Skip("nobody who reads can hold up what a standby of Redis is sent")
		}
		b, spec, writes, reads := readPair(t, p, c, backend.Reading{})
		r := mustRead(t, p, reads)
		w, err := p.open(t.Context(), writes)
		if err != nil {
			t.Fatal(err)
		}
		defer w.close()
		if err := holdUp(t.Context(), r, w); err != nil {
			t.Fatal(err)
		}
		mustSignal(t, mustPID(t, b, spec.Instance), syscall.SIGKILL)
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		if err := add(ctx, p, writes, 2); err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		t.Logf("the first write came after %v", took)
		if took > 4*time.Second { // without its end, what it was sent waits for five, or for ever
			t.Errorf("a reader has held up a failover for %v", took)
		}
	})
}

package keeper_test

import (
	"context"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/keeper/keepertest"
)

// hog is an app that fills a volume.
type hog interface {
	writer
	more(ctx context.Context) error // writes some more megabytes
}

func (w postgresWriter) more(ctx context.Context) error {
	_, err := w.Exec(ctx, `INSERT INTO hog SELECT repeat('x', 1000000) FROM generate_series(1, 16)`)
	return err
}

// clear deletes all of them, as users are told to.
func (w postgresWriter) clear(ctx context.Context) error {
	_, err := w.Exec(ctx, `SET default_transaction_read_only = off`)
	if err == nil {
		_, err = w.Exec(ctx, `TRUNCATE hog`)
	}
	return err
}

func (w mysqlWriter) more(ctx context.Context) error {
	_, err := w.ExecContext(ctx, `INSERT INTO hog WITH RECURSIVE s AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM s WHERE n < 16)
		SELECT REPEAT('x', 1000000) FROM s`)
	return err
}

// makeHog is what the app makes first.
var makeHog = map[string][]string{
	"postgres": {`CREATE TABLE hog (t text)`, `ALTER TABLE hog ALTER t SET STORAGE EXTERNAL`},
	"mysql":    {`CREATE TABLE hog (t longblob)`},
}

func mustHog(t *testing.T, p product, c backstay.Credentials) hog {
	t.Helper()
	w, err := p.open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	return w.(hog)
}

// fillUp has an app write until it is refused, in sessions of its own, and returns why.
func fillUp(t *testing.T, p product, c backstay.Credentials) (refusal error) {
	t.Helper()
	w := mustHog(t, p, c)
	for range 200 {
		if err := w.more(t.Context()); err != nil {
			t.Logf("it is refused: %v", err)
			return err
		}
	}
	t.Fatal("3 GB go into a volume of much less")
	return nil
}

func troubleOf(s backend.Status, kind string) string {
	i := slices.IndexFunc(s.Troubles, func(t backstay.Trouble) bool { return t.Kind == kind })
	if i < 0 {
		return ""
	}
	return s.Troubles[i].Sentence
}

func refuses(s backend.Status) bool { return running(s) && troubleOf(s, "read_only") != "" }
func allows(s backend.Status) bool  { return running(s) && troubleOf(s, "read_only") == "" }

// TestFullInstance has an app fill the volume of its database. The engine goes on, reads, and refuses to write; users
// come and go; who deletes is let in, and gives everybody room; and so does a larger plan. Nothing of that is forgotten
// by a keeper that begins meanwhile, and none of it ends the engine.
func TestFullInstance(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it fills volumes, twice")
	}
	c := keepertest.WithImages(t, 2)
	c.Engines["mysql"] = testedMySQL
	databases := testkit.Drawn(t, products[:2])
	b, stop := keepertest.Run(t, c)
	specs, pids, credentials := map[string]backend.Spec{}, map[string]int{}, map[string]backstay.Credentials{}
	t.Run("filled", func(t *testing.T) {
		for _, p := range databases {
			spec := specOf(t, p)
			spec.Size = backstay.Size{Storage: 600 * backstay.MB, Memory: backstay.GB, Connections: 20}
			mustReach(t, b, spec)
			specs[p.engine], credentials[p.engine] = spec, mustCredentials(t, b, spec.Instance)
			pids[p.engine] = mustPID(t, b, spec.Instance)
			t.Run(p.engine, func(t *testing.T) {
				t.Parallel()
				fillInstance(t, b, p, spec, credentials[p.engine])
			})
		}
	})
	stop()
	b, _ = keepertest.Run(t, c)
	t.Run("left", func(t *testing.T) {
		for _, p := range databases {
			t.Run(p.engine, func(t *testing.T) {
				t.Parallel()
				leaveFull(t, b, p, specs[p.engine], credentials[p.engine])
				if pid := mustPID(t, b, specs[p.engine].Instance); pid != pids[p.engine] {
					t.Errorf("process %d is %d by now", pids[p.engine], pid)
				}
				if err := b.Remove(t.Context(), specs[p.engine].Instance); err != nil {
					t.Error(err)
				}
				awaitGone(t, b, specs[p.engine].Instance)
			})
		}
	})
}

func fillInstance(t *testing.T, b *local.Backend, p product, spec backend.Spec, c backstay.Credentials) {
	w := mustHog(t, p, c)
	if err := w.write(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	mustMake(t, w, makeHog[p.engine]...)
	fillUp(t, p, c)
	s := until(t, b, spec.Instance, refuses)
	if troubleOf(s, "storage") == "" || !strings.Contains(troubleOf(s, "read_only"), "cf update-service NAME -p PLAN") {
		t.Errorf("it says %+v", s.Troubles)
	}
	t.Logf("it says %+v", s.Troubles)
	if err := b.DropUser(t.Context(), spec.Instance, "u1"); err != nil {
		t.Errorf("unbind: %v", err)
	}
	other := mustHog(t, p, mustCredentials(t, b, spec.Instance))
	if err := other.more(t.Context()); err == nil {
		t.Error("a new binding writes into a full volume")
	}
}

// leaveFull takes one of the ways out: the data of the one is deleted, and the other gets a larger plan.
func leaveFull(t *testing.T, b *local.Backend, p product, spec backend.Spec, c backstay.Credentials) {
	fillUp(t, p, c) // a log that has become shorter may have given some room back
	until(t, b, spec.Instance, refuses)
	if p.engine == "postgres" {
		if err := mustHog(t, p, c).(postgresWriter).clear(t.Context()); err != nil {
			t.Fatalf("delete: %v", err)
		}
	} else {
		spec.Generation, spec.Size.Storage = 2, backstay.GB
		mustReach(t, b, spec)
	}
	until(t, b, spec.Instance, allows)
	mustWriteAgain(t, p, c)
}

// mustMake runs statements, in an engine that has some.
func mustMake(t *testing.T, w writer, statements ...string) {
	t.Helper()
	for _, s := range statements {
		var err error
		switch w := w.(type) {
		case postgresWriter:
			_, err = w.Exec(t.Context(), s)
		case mysqlWriter:
			_, err = w.ExecContext(t.Context(), s)
		}
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// TestFilledWhileNobodyKeeps has an app fill its volume to the last byte while there is no keeper to stop it, until the
// server has ended. The next keeper brings the database back, which refuses to write, and in which the app can delete.
func TestFilledWhileNobodyKeeps(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it fills a volume")
	}
	c := keepertest.WithImages(t, 1)
	b, stop := keepertest.Run(t, c)
	p, spec := products[0], newSpec(t)
	spec.Size.Storage = 150 * backstay.MB
	mustReach(t, b, spec)
	credentials := mustCredentials(t, b, spec.Instance)
	w := mustHog(t, p, credentials)
	if err := w.write(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	mustMake(t, w, makeHog[p.engine]...)
	pid := mustPID(t, b, spec.Instance)
	stop()
	for failed := 0; failed < 20 && !isGone(pid); { // some of them end the server, and some do not
		w, err := p.open(t.Context(), credentials)
		if err == nil {
			err = w.(hog).more(t.Context())
			w.close()
		}
		if err != nil {
			failed++
		}
	}
	syscall.Kill(pid, syscall.SIGKILL) // unless it has ended by itself, for want of room for its log
	b, _ = keepertest.Run(t, c)
	until(t, b, spec.Instance, refuses)
	for began, err := time.Now(), error(nil); ; time.Sleep(10 * time.Millisecond) { // it is given room in a moment
		if err = fillUp(t, p, credentials); strings.Contains(err.Error(), "read-only") {
			err = mustHog(t, p, credentials).(postgresWriter).clear(t.Context())
		}
		if err == nil {
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("nothing can be deleted: %v", err)
		}
	}
	until(t, b, spec.Instance, allows)
	mustWriteAgain(t, p, credentials)
	awaitSize(t, c, spec.Instance, instance.VolumeSize(spec.Size.Storage))
}

// TestReadOnlyIsRemembered has an instance that is full, and has a little room again, not enough to be written to. Its
// engine and its keeper are killed: the next one refuses from the start on what clients write.
func TestReadOnlyIsRemembered(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	if testing.Short() {
		t.Skip("it fills a volume")
	}
	c := keepertest.WithImages(t, 1)
	b, stop := keepertest.Run(t, c)
	p, spec := products[0], newSpec(t)
	spec.Size.Storage = 900 * backstay.MB
	mustReach(t, b, spec)
	credentials := mustCredentials(t, b, spec.Instance)
	w := mustHog(t, p, credentials)
	if err := w.write(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	mustMake(t, w, makeHog[p.engine]...)
	fillUp(t, p, credentials)
	until(t, b, spec.Instance, refuses)
	for n := 0; usedIn(t, c, spec.Instance) > spec.Size.Storage*97/100; n++ { // as much as the log took may be room too
		mustMake(t, w, `SET default_transaction_read_only = off`,
			`DELETE FROM hog WHERE ctid IN (SELECT ctid FROM hog ORDER BY ctid DESC LIMIT 8)`, `VACUUM hog`)
		if n > 50 {
			t.Fatal("nothing gets less by deleting")
		}
	}
	pid := mustPID(t, b, spec.Instance)
	stop()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b, _ = keepertest.Run(t, c)
	until(t, b, spec.Instance, running)
	for range 100 {
		if err := writeOnce(t.Context(), p, credentials); err == nil || !strings.Contains(err.Error(), "read-only") {
			t.Fatalf("an instance that was read-only says %v to who writes", err)
		}
	}
	if s := until(t, b, spec.Instance, refuses); !strings.Contains(troubleOf(s, "storage"), "9") {
		t.Errorf("it says %+v", s.Troubles)
	}
}

func isGone(pid int) bool { return syscall.Kill(pid, 0) != nil }

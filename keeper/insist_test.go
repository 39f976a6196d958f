package keeper_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestInsistingWritersEndNothing has clients of one binding write to an instance however full it is, each by asking for
// writing and in one session after another. They are shut out before the server is in need. It, and its neighbour, serve
// on; others read, delete and vacuum, users come and go, and behind a change of the plan the binding is let in again.
func TestInsistingWritersEndNothing(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it fills a volume")
	}
	b, _ := keepertest.Run(t, keepertest.WithImages(t, 2))
	spec, neighbour := newSpec(t), newSpec(t)
	spec.Size.Storage = 200 * backstay.MB
	mustReach(t, b, spec)
	mustReach(t, b, neighbour)
	p, insisting, pid := products[0], mustCredentials(t, b, spec.Instance), mustPID(t, b, spec.Instance)
	mustMake(t, mustHog(t, p, insisting), makeHog[p.engine]...)
	slowest := watchNeighbour(t, b, neighbour)
	insistUntilShutOut(t, p, insisting)
	t.Logf("the neighbour's slowest commit took %v", slowest())

	another := mustCreate(t, b, spec.Instance, "u2")
	w := mustHog(t, p, another)
	mustMake(t, w, `SELECT count(*) FROM hog`, `SET default_transaction_read_only = off`,
		`DELETE FROM hog WHERE ctid IN (SELECT ctid FROM hog LIMIT 50)`, `VACUUM hog`)
	if err := b.DropUser(t.Context(), spec.Instance, "u2"); err != nil {
		t.Errorf("unbind: %v", err)
	}
	spec.Generation, spec.Size.Storage = 2, backstay.GB
	mustReach(t, b, spec)
	until(t, b, spec.Instance, allows)
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		w, err := p.open(t.Context(), insisting)
		if err == nil {
			err = w.(hog).more(t.Context())
			w.close()
		}
		if err == nil {
			break
		}
		if time.Since(began) > limit {
			t.Fatalf("who was shut out is told %v where there is room again", err)
		}
	}
	if now := mustPID(t, b, spec.Instance); now != pid {
		t.Errorf("the server was ended by its clients: process %d is %d by now", pid, now)
	}
}

// insistUntilShutOut has four clients write until each is refused at the door.
func insistUntilShutOut(t *testing.T, p product, c backstay.Credentials) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() {
			for ctx.Err() == nil {
				w, err := p.open(ctx, c)
				if err != nil && strings.Contains(err.Error(), "rejects connection") {
					return
				}
				if err == nil {
					insist(ctx, w.(postgresWriter), i)
					w.close()
				}
			}
		})
	}
	clients.Wait()
	if ctx.Err() != nil {
		t.Error("those who insist on writing are not shut out")
	}
}

// insist writes until it is refused: much at a time, or little.
func insist(ctx context.Context, w postgresWriter, client int) {
	_, err := w.Exec(ctx, `SET default_transaction_read_only = off`)
	for err == nil {
		if client%2 == 0 {
			err = w.more(ctx)
		} else {
			_, err = w.Exec(ctx, `INSERT INTO hog SELECT repeat('x', 10000) FROM generate_series(1, 10)`)
		}
	}
}

func mustCreate(t *testing.T, b *local.Backend, id backstay.InstanceID, name string) backstay.Credentials {
	t.Helper()
	c, err := b.CreateUser(t.Context(), id, backend.User{Name: name, Password: "correcthorsebatterystaple"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// watchNeighbour has an app write to another instance all the while. What it returns stops it, and tells how long its
// slowest commit took.
func watchNeighbour(t *testing.T, b *local.Backend, spec backend.Spec) (slowest func() time.Duration) {
	t.Helper()
	w, err := products[0].open(t.Context(), mustCredentials(t, b, spec.Instance))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.write(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	var most time.Duration
	watching.Go(func() {
		defer w.close()
		for n := 1; ctx.Err() == nil; n++ {
			began := time.Now()
			if err := w.write(t.Context(), n); err != nil {
				t.Errorf("the neighbour: %v", err)
				return
			}
			most = max(most, time.Since(began))
		}
	})
	return func() time.Duration { cancel(); watching.Wait(); return most }
}

// TestClientsAreQuickerThanTheKeeper takes all the room that a server has in the moment in which its clients are let in,
// and ends it, as clients do that insist on writing while the keeper gets no turn. At last the server begins without
// them, with room that was kept for that: it serves, who is bound anew is let in, and the others when there is room.
func TestClientsAreQuickerThanTheKeeper(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it fills a volume again and again")
	}
	c := keepertest.WithImages(t, 2)
	b, _ := keepertest.Run(t, c)
	spec := newSpec(t)
	spec.Size.Storage = 200 * backstay.MB
	mustReach(t, b, spec)
	p, quick := products[0], mustCredentials(t, b, spec.Instance)
	reading, err := b.CreateUser(t.Context(), spec.Instance,
		backend.User{Name: "u3", Password: "correcthorsebatterystaple", ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	fillers := takeRoomUntilShutOut(t, b, c, spec.Instance, quick)
	mustQuery(t, reading, `SELECT 1`)
	mustQuery(t, mustCreate(t, b, spec.Instance, "u2"), `SELECT 1`)
	if w, err := p.open(t.Context(), quick); err == nil {
		w.close()
		t.Error("who may have filled the volume is let in while there is no room")
	}
	for _, filler := range fillers {
		if err := os.Remove(filler); err != nil {
			t.Error(err)
		}
	}
	until(t, b, spec.Instance, allows)
	mustQuery(t, quick, `CREATE TABLE room (n int)`)
}

// takeRoomUntilShutOut returns the files with which it has filled the volume, each when the binding was let in.
func takeRoomUntilShutOut(
	t *testing.T, b *local.Backend, c keeper.Config, id backstay.InstanceID, quick backstay.Credentials,
) (fillers []string) {
	t.Helper()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		w, err := products[0].open(t.Context(), quick)
		if err != nil {
			if strings.Contains(err.Error(), "rejects connection") {
				return fillers
			}
			continue
		}
		filler := filepath.Join(c.DataDir, "instances", string(id), fmt.Sprint("filler", len(fillers)))
		fillers = append(fillers, filler)
		mustTakeRoom(t, filler)
		if admin, err := b.Admin(t.Context(), id); err == nil {
			if err := syscall.Kill(admin.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				t.Error(err)
			}
		}
		w.close()
	}
	t.Fatal("clients are let in again and again, and use up what the server needs")
	return fillers
}

// mustTakeRoom has a file take all the room that is left beside it.
func mustTakeRoom(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	end := int64(0)
	for chunk := int64(16 * backstay.MB); chunk >= 4096; chunk /= 4 {
		for unix.Fallocate(int(f.Fd()), 0, end, chunk) == nil {
			end += chunk
		}
	}
}

package keeper_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

func TestMain(m *testing.M) { os.Exit(keepertest.Main(m)) }

const limit = 30 * time.Second

func newSpec(t testing.TB) backend.Spec {
	return backend.Spec{
		Instance: backstay.InstanceID(uuid.NewString()), Generation: 1, Engine: "postgres", Version: "15",
		Size: backstay.Size{Storage: backstay.GB, Memory: 256 * backstay.MB, Connections: 20},
		TLS:  enginetest.Certificate(t, "localhost"),
	}
}

func mustApply(t *testing.T, b *local.Backend) backend.Spec {
	t.Helper()
	spec := newSpec(t)
	if err := b.Apply(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	return spec
}

// until follows a status until it is as wanted.
func until(t testing.TB, b *local.Backend, id backstay.InstanceID, wanted func(backend.Status) bool) backend.Status {
	t.Helper()
	return untilWithin(t, limit, b, id, wanted)
}

func untilWithin(t testing.TB, patience time.Duration, b *local.Backend, id backstay.InstanceID,
	wanted func(backend.Status) bool) backend.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var s backend.Status
	for {
		next, err := b.Await(ctx, id, s.Revision)
		if err != nil {
			t.Fatalf("%v; the last status was %+v", err, s)
		}
		s = next
		for i, n := range s.Nodes {
			if slices.ContainsFunc(s.Nodes[:i], func(other backend.NodeStatus) bool { return other.Name == n.Name }) {
				t.Errorf("two nodes have one name: %+v", s.Nodes)
			}
		}
		if wanted(s) {
			return s
		}
	}
}

func running(s backend.Status) bool { return s.Phase == backend.Running }

// mustPID is the process of an instance, once it serves.
func mustPID(t testing.TB, b *local.Backend, id backstay.InstanceID) int {
	t.Helper()
	admin, err := b.Admin(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return admin.PID
}

func mustUser(t *testing.T, b *local.Backend, id backstay.InstanceID) *pgx.Conn {
	t.Helper()
	c, err := b.CreateUser(t.Context(), id, backend.User{Name: "u1", Password: "correcthorsebatterystaple"})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), c["uri"].(string)+"?sslmode=require")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// awaitGone returns when nothing of an instance is left in the keeper's mind.
func awaitGone(t *testing.T, b *local.Backend, id backstay.InstanceID) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var s backend.Status
	for err := error(nil); backstay.KindOf(err) != backstay.NotFound; {
		if s, err = b.Await(ctx, id, s.Revision); err != nil && backstay.KindOf(err) != backstay.NotFound {
			t.Fatalf("%v; the last status was %+v", err, s)
		}
	}
}

// checkNothingLeft looks for anything of any instance on the disk.
func checkNothingLeft(t *testing.T, c keeper.Config) {
	t.Helper()
	for _, dir := range []string{"instances", "run", "keeper/instances"} {
		entries, err := os.ReadDir(filepath.Join(c.DataDir, dir))
		if err != nil || len(entries) > 0 {
			t.Errorf("%s holds %v, %v; want nothing", dir, entries, err)
		}
	}
}

func pidFile(c keeper.Config, s backend.Status) string {
	return filepath.Join(c.DataDir, "run", fmt.Sprint(s.Endpoint.Port), "node.pid")
}

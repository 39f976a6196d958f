package keeper_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestReadersAreTended: whatever a read-only user makes of its password, its credentials soon open the
// database again, whichever keeper comes by.
func TestReadersAreTended(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	b, kill, ended := keepertest.Start(t, c, "")
	spec := mustApply(t, b)
	mustUser(t, b, spec.Instance) // until it has a reader, an instance is left alone
	uri := mustReader(t, b, spec.Instance)
	for range 2 {
		spoil(t, uri)
		awaitLogin(t, uri)
	}
	kill()
	<-ended
	spoil(t, uri)
	keepertest.Start(t, c, "")
	awaitLogin(t, uri)
}

func mustReader(t *testing.T, b backend.Backend, id backstay.InstanceID) (uri string) {
	t.Helper()
	c, err := b.CreateUser(t.Context(), id, backend.User{Name: "reader1", Password: "correcthorsebatterystaple", ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	return c["uri"].(string) + "?sslmode=require"
}

// spoil has a read-only user change its password, so that it does not open the database any more.
func spoil(t *testing.T, uri string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, sql := range []string{`SET default_transaction_read_only = off`, `ALTER ROLE CURRENT_USER PASSWORD NULL`} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

func awaitLogin(t *testing.T, uri string) {
	t.Helper()
	began := time.Now()
	for {
		conn, err := pgx.Connect(t.Context(), uri)
		if err == nil {
			conn.Close(context.Background())
			t.Logf("the password holds again after %v", time.Since(began))
			return
		}
		if time.Since(began) > limit {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

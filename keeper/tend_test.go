package keeper_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	goredis "github.com/redis/go-redis/v9"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine/redis"
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
	u := backend.User{Name: "reader1", Password: "correcthorsebatterystaple", ReadOnly: true}
	c, err := b.CreateUser(t.Context(), id, u)
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

// TestStuckEngineIsStartedAgain: a script of a read-only user that nobody can end does not end the service, though
// its client is gone and nobody asks for anything.
func TestStuckEngineIsStartedAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("it lasts until an engine has answered nobody for long")
	}
	t.Parallel()
	c := keepertest.Config(t, 1)
	c.Engines["redis"] = redis.Engine{Patience: time.Second}
	b, _ := keepertest.Run(t, c)
	spec := newSpec(t)
	spec.Engine, spec.Version = "redis", "7.0"
	if err := b.Apply(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	until(t, b, spec.Instance, func(s backend.Status) bool { return s.Phase == backend.Running })
	reader := readerOfRedis(t, b, spec.Instance)
	const endless = "return string.find(string.rep('a', 60), string.rep('a?', 60) .. string.rep('a', 60))"
	if err := reader.EvalRO(t.Context(), endless, nil).Err(); err == nil {
		t.Fatal("the script ended")
	}
	for began := time.Now(); reader.Ping(t.Context()).Err() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 4*limit { // a busy machine has more patience with an engine
			t.Fatal("it does not serve any more")
		}
	}
	until(t, b, spec.Instance, func(s backend.Status) bool { return s.Phase == backend.Running })
}

// readerOfRedis is a client that does not wait long.
func readerOfRedis(t *testing.T, b backend.Backend, id backstay.InstanceID) *goredis.Client {
	t.Helper()
	u := backend.User{Name: "reader1", Password: "correcthorsebatterystaple", ReadOnly: true}
	c, err := b.CreateUser(t.Context(), id, u)
	if err != nil {
		t.Fatal(err)
	}
	options, err := goredis.ParseURL(c["uri"].(string))
	if err != nil {
		t.Fatal(err)
	}
	options.TLSConfig.InsecureSkipVerify = true // who answers is not what this is about
	options.MaxRetries, options.ReadTimeout = -1, 200*time.Millisecond
	client := goredis.NewClient(options)
	t.Cleanup(func() { client.Close() })
	return client
}

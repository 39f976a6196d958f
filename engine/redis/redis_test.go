package redis_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/redis"
	"github.com/backstay/backstay/internal/testkit"
)

// tested is the machine's server, or that in the directory that the environment names: all tests are
// for Redis and Valkey.
var tested = redis.Engine{Dirs: filepath.SplitList(os.Getenv("BACKSTAY_TEST_REDIS"))}

func TestContract(t *testing.T) {
	t.Parallel()
	enginetest.Run(t, enginetest.Subject{
		Engine: tested, Connect: connect, Versions: twoVersions,
		Worst:    enginetest.Worst{Make: makeWorst, Hold: holdWorst, Connections: 3*len(worstSessions) + 10},
		Refusing: enginetest.Refusing{Delete: deleteAll}, Asynchronous: true,
		BadSettings: []string{`{"maxmemory_policy": "lru"}`, `{"maxmemory_policy": 7}`},
	})
}

// twoVersions is the machine's Redis beside a Valkey, which reads its data.
func twoVersions(t testing.TB) engine.Engine {
	return redis.Engine{Dirs: []string{"/usr/bin", filepath.Join(testkit.Other(t, "valkey"), "usr/bin")}}
}

type session struct{ *goredis.Client }

// dial opens a client with the uri of the credentials, as an app does, and trusts their authority alone.
func dial(c backstay.Credentials) (*goredis.Client, error) {
	options, err := goredis.ParseURL(c["uri"].(string))
	if err != nil {
		return nil, err
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM([]byte(c["ca_certificate"].(string)))
	options.TLSConfig = &tls.Config{RootCAs: trusted, ServerName: c["host"].(string), MinVersion: tls.VersionTLS12}
	options.MaxRetries = -1
	options.PoolSize = 1
	return goredis.NewClient(options), nil
}

func connect(ctx context.Context, c backstay.Credentials) (enginetest.Session, error) {
	client, err := dial(c)
	if err != nil {
		return nil, err
	}
	if err := client.Ping(ctx).Err(); err != nil {
		client.Close()
		return nil, err
	}
	return session{client}, nil
}

func (s session) Set(ctx context.Context, key, value string) error {
	return s.Client.Set(ctx, key, value, 0).Err()
}

func (s session) Get(ctx context.Context, key string) (string, error) {
	return s.Client.Get(ctx, key).Result()
}

// serving is a node with a binding's client.
func serving(t *testing.T) (engine.Node, backstay.Credentials, *goredis.Client) {
	t.Helper()
	n := enginetest.NewNode(t, tested)
	enginetest.Serve(t, tested, n)
	c, err := tested.CreateUser(t.Context(), n, engine.User{Name: "u1", Password: "correcthorsebatterystaple"})
	if err != nil {
		t.Fatal(err)
	}
	client, err := dial(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return n, c, client
}

func TestWalls(t *testing.T) {
	t.Parallel()
	n, _, client := serving(t)
	for _, command := range []string{
		"CONFIG GET *", "CONFIG SET maxmemory 1", "CONFIG REWRITE", "DEBUG SLEEP 0", "MODULE LIST", "MODULE LOAD /tmp/x.so",
		"SHUTDOWN NOSAVE", "REPLICAOF 127.0.0.1 1", "SLAVEOF 127.0.0.1 1", "ACL LIST",
		"ACL SETUSER u2 on nopass +@all", "ACL DELUSER u1",
		"BGREWRITEAOF", "BGSAVE", "SAVE", "MONITOR", "SYNC", "PSYNC ? -1", "FAILOVER", "CLIENT PAUSE 1000",
		"CLIENT UNPAUSE", "CLIENT KILL USER operator", "CLIENT KILL TYPE pubsub", "SCRIPT DEBUG YES", "SCRIPT DEBUG SYNC",
		"CLUSTER MEET 127.0.0.1 1", "MIGRATE 127.0.0.1 1 k 0 1",
	} {
		var args []any
		for _, word := range strings.Fields(command) {
			args = append(args, word)
		}
		if err := client.Do(t.Context(), args...).Err(); err == nil || !strings.Contains(err.Error(), "NOPERM") &&
			!strings.Contains(err.Error(), "command not allowed") {
			t.Errorf("%s: %v, want it to be refused", command, err)
		}
	}
	script := `return redis.call('CONFIG', 'GET', '*')`
	if err := client.Eval(t.Context(), script, nil).Err(); err == nil {
		t.Error("a script reads the configuration")
	}
	for _, user := range []string{"default", "operator"} {
		other := goredis.NewClient(&goredis.Options{Addr: client.Options().Addr, TLSConfig: client.Options().TLSConfig,
			Username: user, Password: "operator", MaxRetries: -1})
		if err := other.Ping(t.Context()).Err(); err == nil {
			t.Errorf("%s gets in", user)
		}
		other.Close()
	}
	if err := tested.Probe(t.Context(), n); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

// TestOrdinaryCommands are those that clients and libraries count on.
func TestOrdinaryCommands(t *testing.T) {
	t.Parallel()
	_, _, client := serving(t)
	for _, command := range []string{
		"HELLO 3", "CLIENT SETNAME app", "CLIENT ID", "CLIENT LIST", "CLIENT GETNAME", "COMMAND COUNT", "INFO", "DBSIZE",
		"SELECT 1", "SELECT 0",
		"SET k v EX 60", "GET k", "KEYS *", "SCAN 0", "HSET h f v", "LPUSH l v", "ZADD z 1 m", "XADD s * f v",
		"PUBLISH c m", "MULTI", "EXEC",
		"EVAL return(1) 0", "OBJECT ENCODING k", "MEMORY USAGE k", "WAIT 0 0", "ACL WHOAMI", "FLUSHDB", "FLUSHALL",
		"PING", "ECHO x", "TIME",
		// As in ElastiCache.
		"ROLE", "LASTSAVE", "SLOWLOG GET", "SLOWLOG LEN", "SLOWLOG RESET", "LATENCY LATEST", "LATENCY HISTORY command",
		"LATENCY DOCTOR", "LATENCY HISTOGRAM", "LATENCY RESET", "CLIENT UNBLOCK 1",
		"CLIENT NO-EVICT ON",
	} {
		var args []any
		for _, word := range strings.Fields(command) {
			args = append(args, word)
		}
		if err := client.Do(t.Context(), args...).Err(); err != nil && err != goredis.Nil {
			t.Errorf("%s: %v", command, err)
		}
	}
}

func TestTLSOnly(t *testing.T) {
	t.Parallel()
	_, c, client := serving(t)
	plain := goredis.NewClient(&goredis.Options{Addr: client.Options().Addr, Username: "u1",
		Password: c["password"].(string), MaxRetries: -1})
	defer plain.Close()
	if err := plain.Ping(t.Context()).Err(); err == nil {
		t.Error("plain text is let in")
	}
	stranger := goredis.NewClient(&goredis.Options{Addr: client.Options().Addr, Username: "u1",
		Password: c["password"].(string), MaxRetries: -1,
		TLSConfig: &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost"}})
	defer stranger.Close()
	if err := stranger.Ping(t.Context()).Err(); err == nil {
		t.Error("another authority vouches for it")
	}
}

// TestMemoryIsBounded fills what the plan gives: keys that may go do, and the server lives.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	n := enginetest.NewNode(t, tested)
	n.Size.Memory = 8 * backstay.MB
	enginetest.Serve(t, tested, n)
	c, err := tested.CreateUser(t.Context(), n, engine.User{Name: "u1", Password: "correcthorsebatterystaple"})
	if err != nil {
		t.Fatal(err)
	}
	client, err := dial(c)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	value := strings.Repeat("x", 1<<20)
	for i := range 20 {
		if err := client.Set(t.Context(), strings.Repeat("k", i+1), value, 1<<40).Err(); err != nil {
			t.Fatalf("key %d: %v", i, err)
		}
	}
	kept, err := client.DBSize(t.Context()).Result()
	if err != nil || kept == 0 || kept > 8 {
		t.Errorf("%d keys of 1 MB are kept, %v", kept, err)
	}
	if err := client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if err = client.Set(t.Context(), strings.Repeat("p", i+1), value, 0).Err(); err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("what may not go fills the machine: %v", err)
	}
}

func TestDescribeIsTheGuidesBlock(t *testing.T) {
	t.Parallel()
	n := engine.Node{Instance: "66ecd739-2e98-401a-9e45-17938165be06",
		Installation: engine.Installation{Version: "7.0", FullVersion: "7.0.15"}}
	said := tested.Describe(n)
	lines := strings.Split(said, "\n              ")
	if len(lines) != 5 || lines[0] != "---" || lines[1] != "status               : available" ||
		!strings.HasPrefix(lines[2], "cluster id           : cf-") ||
		len(lines[2]) != len("cluster id           : cf-u7zpvbwzxmrvu") ||
		lines[3] != "engine version       : 7.0.15" || lines[4] != "maxmemory policy     : volatile-lru" {
		t.Errorf("it says\n%s", said)
	}
}

func TestInstallations(t *testing.T) {
	t.Parallel()
	const redisSays, valkeySays = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1", "Valkey server v=8.0.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1"
	for _, tc := range []struct {
		name string
		says map[string]string // by program
		want string
	}{
		{"Redis", map[string]string{"redis-server": redisSays}, "Redis 7.0/7.0.15"},
		{"Valkey", map[string]string{"valkey-server": valkeySays}, "Valkey 8.0/8.0.1"},
		{"both", map[string]string{"redis-server": redisSays, "valkey-server": valkeySays}, "Redis 7.0/7.0.15"},
		{"Valkey as Redis", map[string]string{"redis-server": valkeySays, "valkey-server": valkeySays}, "Valkey 8.0/8.0.1"},
		{"neither", nil, ""},
		{"says nothing", map[string]string{"redis-server": ""}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for name, says := range tc.says {
				if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho '"+says+"'\n"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			found, err := redis.Engine{Dirs: []string{dir}}.Installations(t.Context())
			got := ""
			for _, f := range found {
				got += f.Product + " " + f.Version + "/" + f.FullVersion
			}
			if err != nil || found == nil || got != tc.want {
				t.Errorf("got %q (%v), want %q", got, err, tc.want)
			}
		})
	}
}

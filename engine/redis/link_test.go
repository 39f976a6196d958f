package redis_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
)

// TestUsersAreMirrored: who was made on the primary gets in after the standby is promoted, and nobody else.
func TestUsersAreMirrored(t *testing.T) {
	t.Parallel()
	s := newSeveral(t)
	s.first = enginetest.Serve(t, tested, s.primary)
	createUser(t, s.primary, "stays")
	createUser(t, s.primary, "goes")
	s.copy(t)
	s.awaitStream(t)
	createUser(t, s.primary, "comes")
	reader := engine.User{Name: "reads", Password: "correcthorsebatterystaple", ReadOnly: true}
	if _, err := tested.CreateUser(t.Context(), s.primary, reader); err != nil {
		t.Fatal(err)
	}
	other := engine.User{Name: "stays", Password: "anotherpasswordaltogether"}
	if _, err := tested.CreateUser(t.Context(), s.primary, other); err != nil {
		t.Fatal(err)
	}
	gone := client(t, s.standby, "goes")
	if err := gone.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := tested.DropUser(t.Context(), s.primary, "goes"); err != nil {
		t.Fatal(err)
	}
	if f, err := tested.Follows(t.Context(), s.primary, s.standby); err != nil || f.Streams {
		t.Errorf("a standby with other users than the primary's follows: %+v, %v", f, err)
	}
	for range 2 {
		if err := tested.Mirror(t.Context(), s.primary, s.standby); err != nil {
			t.Fatal(err)
		}
	}
	if err := gone.Ping(t.Context()).Err(); err == nil {
		t.Error("the session of a user that was dropped goes on")
	}
	s.awaitStream(t)
	s.second.Kill(t) // what was mirrored is kept
	s.second = enginetest.Serve(t, tested, s.standby)
	if f := follows(t, s); !f.Streams && !t.Failed() {
		s.awaitStream(t)
	}
	s.first.Kill(t)
	s.change(t)
	set(t, client(t, s.primary, "comes"), "k", "v")
	set(t, client(t, s.primary, "default"), "k", "v") // with the password of any binding that may write
	wantKey(t, client(t, s.primary, "reads"), "k", "v")
	for user, want := range map[string]string{"stays": "WRONGPASS", "goes": "WRONGPASS", "reads": "NOPERM"} {
		err := client(t, s.primary, user).Set(t.Context(), "k", "w", 0).Err()
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", user, err, want)
		}
	}
}

func follows(t *testing.T, s *several) engine.Following {
	t.Helper()
	f, err := tested.Follows(t.Context(), s.primary, s.standby)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// linkPassword reads the replicator's password where only the node's account can.
func linkPassword(t *testing.T, n engine.Node) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(n.DataDir, "redis.conf"))
	match := regexp.MustCompile(`(?m)^masterauth "(.+)"$`).FindSubmatch(text)
	if err != nil || match == nil {
		t.Fatalf("no password of the replicator in redis.conf: %v", err)
	}
	return string(match[1])
}

// TestReplicatorOnlyFollows: whoever has its password gets at nothing else, and bindings do not get at it.
func TestReplicatorOnlyFollows(t *testing.T) {
	t.Parallel()
	s := following(t)
	createUser(t, s.primary, "u1")
	s.awaitStream(t)
	password := linkPassword(t, s.primary)
	if password != linkPassword(t, s.standby) || len(password) < 32 {
		t.Fatal("the nodes have not the same password")
	}
	as := client(t, s.primary, "u1").Options()
	r := goredis.NewClient(&goredis.Options{Addr: as.Addr, TLSConfig: as.TLSConfig, Username: "replicator",
		Password: password, MaxRetries: -1, DisableIndentity: true, Protocol: 2})
	defer r.Close()
	if err := r.Ping(t.Context()).Err(); err != nil {
		t.Fatalf("the replicator does not get in: %v", err)
	}
	for _, command := range []string{"GET k", "SET k v", "KEYS *", "CONFIG GET masterauth", "ACL LIST", "INFO", "SYNC",
		"REPLICAOF NO ONE", "FAILOVER", "SUBSCRIBE c", "PUBLISH c m", "CLIENT LIST", "SHUTDOWN", "EVAL return(1) 0"} {
		wantDenied(t, r, command)
	}
	for _, n := range []engine.Node{s.primary, s.standby} {
		c := client(t, n, "u1")
		for _, command := range []string{"REPLICAOF NO ONE", "SLAVEOF 127.0.0.1 1", "PSYNC ? -1", "SYNC", "FAILOVER",
			"FAILOVER ABORT", "REPLCONF listening-port 1", "CONFIG GET masterauth",
			"CLIENT UNPAUSE", "ACL GETUSER replicator", "ACL LIST"} {
			wantDenied(t, c, command)
		}
		for _, command := range []string{"INFO everything", "CLIENT LIST", "SLOWLOG GET 128", "ROLE"} {
			said, err := c.Do(t.Context(), words(command)...).Result()
			if err != nil || strings.Contains(strings.ToLower(goString(said)), password) {
				t.Errorf("%s: %v, and it shows the password or fails", command, err)
			}
		}
	}
	for _, name := range []string{"replicator"} {
		if _, err := tested.CreateUser(t.Context(), s.primary, engine.User{Name: name, Password: "p"}); err == nil {
			t.Errorf("a binding is called %s", name)
		}
	}
}

func goString(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		all := ""
		for _, part := range v {
			all += goString(part) + " "
		}
		return all
	}
	return ""
}

func words(command string) (args []any) {
	for _, word := range strings.Fields(command) {
		args = append(args, word)
	}
	return args
}

func wantDenied(t *testing.T, c *goredis.Client, command string) {
	t.Helper()
	err := c.Do(t.Context(), words(command)...).Err()
	if err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
		t.Errorf("%s: %v, want it to be refused", command, err)
	}
}

// TestStrangerIsNotFollowed: a server that listens where the primary should, with another authority's certificate, is
// told no password, and sends nothing.
func TestStrangerIsNotFollowed(t *testing.T) {
	t.Parallel()
	s := following(t)
	s.first.Kill(t)
	pair := enginetest.Certificate(t, "localhost")
	certificate, err := tls.X509KeyPair([]byte(pair.Leaf), []byte(pair.Key.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	address := "127.0.0.1:" + strconv.Itoa(s.primary.Port(engine.ClientPort).Number)
	l, err := tls.Listen("tcp", address, &tls.Config{Certificates: []tls.Certificate{certificate},
		MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 2 {
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		if count, err := conn.Read(make([]byte, 64)); count > 0 || err == nil {
			t.Errorf("the node says %d bytes to a stranger", count)
		}
		conn.Close()
	}
}

// TestOneBecomesSeveralAndBack while clients are connected.
func TestOneBecomesSeveralAndBack(t *testing.T) {
	t.Parallel()
	s := newSeveral(t)
	one := s.primary
	one.Replication = nil
	before := enginetest.Serve(t, tested, one)
	createUser(t, one, "u1")
	c := client(t, one, "u1")
	set(t, c, "k", "v")
	config := readFile(t, one, "redis.conf")
	if strings.Contains(config, "master") || strings.Contains(config, "replica") {
		t.Error("the only node is told of others")
	}
	id := c.ClientID(t.Context()).Val()
	reload(t, s.primary)
	s.first = before
	s.copy(t)
	s.awaitStream(t)
	s.await(t, "b")
	wantKey(t, client(t, s.standby, "u1"), "k", "v")
	s.second.Kill(t)
	reload(t, one)
	set(t, c, "k", "w")
	if now := c.ClientID(t.Context()).Val(); now != id {
		t.Errorf("the session has ended: it was %d and is %d", id, now)
	}
	if readFile(t, one, "redis.conf") != config {
		t.Error("the only node has another configuration than before")
	}
	if users := readFile(t, one, "users.acl"); strings.Contains(users, "replicator") {
		t.Error("nobody follows, and the replicator is let in")
	}
}

func readFile(t *testing.T, n engine.Node, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(n.DataDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func reload(t *testing.T, n engine.Node) {
	t.Helper()
	if restart, err := tested.Reload(t.Context(), n); restart || err != nil {
		t.Fatalf("Reload: restart %v, %v", restart, err)
	}
}

// TestReplicaFollowsAnother once it is told to, while it runs; a primary does not begin to follow so.
func TestReplicaFollowsAnother(t *testing.T) {
	t.Parallel()
	s := following(t)
	replica := enginetest.NewNode(t, tested)
	replica.Instance, replica.TLS = s.primary.Instance, s.primary.TLS
	replica.Replication = &engine.Replication{Name: "c", Link: s.primary.Replication.Link, Follows: sourceOf(s.primary)}
	r := &several{primary: s.primary, standby: replica}
	r.copy(t)
	r.awaitStream(t)
	s.first.Kill(t)
	s.change(t)
	replica.Replication = &engine.Replication{Name: "c", Link: s.primary.Replication.Link, Follows: sourceOf(s.primary)}
	reload(t, replica)
	r.primary, r.standby = s.primary, replica
	r.awaitStream(t)
	lost := s.primary
	lost.Replication = &engine.Replication{Name: "b", Link: s.primary.Replication.Link, Follows: sourceOf(replica)}
	if restart, err := tested.Reload(t.Context(), lost); err != nil || !restart {
		t.Errorf("a primary that is to follow: restart %v, %v", restart, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	createUser(t, s.primary, "u1")
	if err := client(t, s.primary, "u1").Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Errorf("the primary follows while it runs: %v", err)
	}
}

// TestSystemTrustIsThere: an operator's own certificate names no authority.
func TestSystemTrustIsThere(t *testing.T) {
	t.Parallel()
	if _, err := x509.SystemCertPool(); err != nil {
		t.Skip(err)
	}
	s := newSeveral(t)
	s.primary.TLS.Authority = ""
	if err := tested.Prepare(t.Context(), s.primary); err != nil {
		t.Fatal(err)
	}
	if config := readFile(t, s.primary, "redis.conf"); !strings.Contains(config, `tls-ca-cert-dir "/etc/ssl/certs"`) {
		t.Error("it does not trust what the machine trusts")
	}
	enginetest.Start(t, tested, s.primary)
}

// TestHowFarBehind a node is that has lost its primary, and that one has nothing to catch up with that follows.
func TestHowFarBehind(t *testing.T) {
	t.Parallel()
	s := following(t)
	createUser(t, s.primary, "u1")
	s.awaitStream(t)
	await := func(what string, is func(engine.Following) bool) {
		t.Helper()
		var f engine.Following
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for ctx.Err() == nil {
			if f = follows(t, s); is(f) {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Errorf("%s: %+v", what, f)
	}
	await("in step", func(f engine.Following) bool { return f.Streams && f.Behind == 0 && f.Lag == 0 })
	lost := s.standby
	lost.Replication = &engine.Replication{Name: "b", Link: s.standby.Replication.Link,
		Follows: &engine.Source{Name: "a", Address: "127.0.0.1", Port: 1}}
	reload(t, lost)
	set(t, client(t, s.primary, "u1"), "k", strings.Repeat("v", 1000))
	await("without its primary", func(f engine.Following) bool {
		return !f.Streams && f.Behind >= 1000 && f.Behind < 5000 && f.Lag >= time.Second && f.Lag < time.Minute
	})
	reload(t, s.standby)
	await("in step again", func(f engine.Following) bool { return f.Streams && f.Behind == 0 && f.Lag == 0 })
}

package redis_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
)

// makeWorst fills the memory, with large values, odd names, functions and scripts.
func makeWorst(t *testing.T, _ engine.Node, c backstay.Credentials) {
	t.Helper()
	client, err := dial(c)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, err := range []error{
		client.SetRange(t.Context(), "big", 4<<20, "x").Err(),
		client.Set(t.Context(), "\x00\r\n'\" ~ %", "odd", 0).Err(),
		client.FunctionLoad(t.Context(), library).Err(),
		client.ScriptLoad(t.Context(), "return redis.call('FLUSHALL')").Err(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; err == nil; i++ {
		err = client.SetRange(t.Context(), fmt.Sprint("full", i), 8<<20, "x").Err()
	}
	if !strings.HasPrefix(err.Error(), "OOM") {
		t.Fatal(err)
	}
}

// worstSessions are what the sessions of a user that does its worst have said last: transactions that are not ended,
// clients that wait for ever, one that asks and does not listen, one in the middle of a command.
var worstSessions = []string{
	"MULTI\r\nGET big\r\n", "WATCH big\r\nMULTI\r\n", "BLPOP nothing 0\r\n", "BLPOP nothing 0\r\n",
	"XREAD BLOCK 0 STREAMS nothing $\r\n", "WAIT 1 0\r\n", "SUBSCRIBE channel\r\n", "PSUBSCRIBE *\r\n",
	"CLIENT TRACKING ON BCAST\r\n", "CLIENT REPLY OFF\r\n", strings.Repeat("GET big\r\n", 16), "*1000000\r\n$1\r\n",
}

// holdWorst leaves worstSessions behind.
func holdWorst(t *testing.T, n engine.Node, c backstay.Credentials) {
	t.Helper()
	for _, says := range worstSessions {
		conn := rawClient(t, n, c)
		if _, err := fmt.Fprintf(conn, "AUTH %v %v\r\n%s", c["username"], c["password"], says); err != nil {
			t.Fatal(err)
		}
	}
}

// rawClient is a connection on which anything can be said. It ends with the test.
func rawClient(t *testing.T, n engine.Node, c backstay.Credentials) net.Conn {
	t.Helper()
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM([]byte(c["ca_certificate"].(string)))
	d := tls.Dialer{Config: &tls.Config{RootCAs: trusted, ServerName: "localhost"}}
	conn, err := d.DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", n.Ports[0].Number))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// wantAdministered asks everything of an engine that asks the server.
func wantAdministered(t *testing.T, n engine.Node) {
	t.Helper()
	other := engine.User{Name: "other", Password: "correcthorse"}
	for what, ask := range map[string]func(context.Context) error{
		"Probe":     func(ctx context.Context) error { return tested.Probe(ctx, n) },
		"Configure": func(ctx context.Context) error { return tested.Configure(ctx, n) },
		"Reload":    func(ctx context.Context) error { _, err := tested.Reload(ctx, n); return err },
		"Tend":      func(ctx context.Context) error { return tend(t, tested, n) },
		"CreateUser": func(ctx context.Context) error {
			_, err := tested.CreateUser(ctx, n, other)
			return err
		},
		"DropUser": func(ctx context.Context) error { return tested.DropUser(ctx, n, other.Name) },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // as the keeper gives it
		defer cancel()
		if err := ask(ctx); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestBusyAndFull: a script that does not end, in a server all of whose connections are taken.
func TestBusyAndFull(t *testing.T) {
	t.Parallel()
	n, _, _, reader := busyServer(t)
	options := *reader.Options()
	options.ReadTimeout, options.MaxRetries = -1, -1
	patient := goredis.NewClient(&options)
	defer patient.Close()
	if err := patient.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	greedy, err := tested.CreateUser(t.Context(), n, engine.User{Name: "greedy", Password: "correcthorse"})
	for err == nil {
		var session enginetest.Session
		if session, err = connect(t.Context(), greedy); err == nil {
			defer session.Close()
		}
	}
	go patient.Do(context.Background(), "EVAL_RO", endless["plain"], 0) // how it ends is no matter
	time.Sleep(200 * time.Millisecond)                                  // so that the server has begun
	wantAdministered(t, n)
}

// TestUsersCannotBeWritten: whoever binds or unbinds is told why that cannot be, and it can be when the reason is
// gone.
func TestUsersCannotBeWritten(t *testing.T) {
	t.Parallel()
	n := enginetest.NewNode(t, tested)
	enginetest.Serve(t, tested, n)
	mode := func(m os.FileMode) {
		if err := os.Chmod(n.DataDir, m); err != nil {
			t.Fatal(err)
		}
	}
	mode(0o500) // as a disk that takes no more
	u := engine.User{Name: "u1", Password: "correcthorse"}
	_, created := tested.CreateUser(t.Context(), n, u)
	for _, err := range []error{created, tested.DropUser(t.Context(), n, u.Name)} {
		if backstay.KindOf(err) != backstay.Unavailable || !strings.Contains(backstay.SentenceOf(err), "disk") {
			t.Errorf("%v, want its disk to be named", err)
		}
	}
	mode(0o700)
	wantAdministered(t, n)
}

// TestEarlierUsersAreBroughtUpToDate: what an earlier version gave its users, and is too much, they lose, and what they
// lacked they get, while their sessions go on. What is as it should be is not written again.
func TestEarlierUsersAreBroughtUpToDate(t *testing.T) {
	t.Parallel()
	n, c, client := serving(t)
	reader := bind(t, n, engine.User{Name: "reader", Password: "readers", ReadOnly: true})
	heard := client.Subscribe(t.Context(), "news")
	defer heard.Close()
	if _, err := heard.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	earlier := asOperator(t, n)
	for _, command := range []string{"ACL SETUSER u1 +script|debug -role", "ACL SETUSER reader (%R~x +get) -lastsave",
		"ACL SETUSER default reset off", "ACL DELUSER x"} {
		if err := do(t, earlier, command); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := tested.Configure(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	if err := do(t, client, "SCRIPT DEBUG NO"); err == nil || !refusal(err) {
		t.Errorf("%v, want it to be refused", err)
	}
	for _, command := range []string{"SET k v", "EVAL return(1) 0", "ROLE", "PUBLISH news x"} {
		if err := do(t, client, command); err != nil {
			t.Errorf("%s: %v", command, err)
		}
	}
	if m, err := heard.ReceiveMessage(t.Context()); err != nil || m.Payload != "x" {
		t.Errorf("heard %v, %v", m, err)
	}
	if err := do(t, reader, "LASTSAVE"); err != nil {
		t.Error(err)
	}
	for _, user := range nameless {
		if err := do(t, clientAs(t, c, user), "PING"); err != nil {
			t.Errorf("as %q: %v", user, err)
		}
	}
	list, err := earlier.Do(t.Context(), "ACL", "LIST").StringSlice()
	if err != nil || strings.Contains(strings.Join(list, "\n"), "~x") {
		t.Errorf("%q, %v", list, err)
	}
	path := filepath.Join(n.DataDir, "users.acl")
	saved, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := tested.Configure(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if again, err := os.Stat(path); err != nil || !os.SameFile(saved, again) {
		t.Errorf("the users are written though nothing has changed (%v)", err)
	}
}

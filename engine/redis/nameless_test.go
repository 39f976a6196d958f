package redis_test

import (
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
)

// nameless are the users that clients without a user's name come as: none, and that of the guide's addresses.
var nameless = []string{"", "x"}

// clientAs is a client with the password of the credentials, and another user than theirs.
func clientAs(t *testing.T, c backstay.Credentials, user string) *goredis.Client {
	t.Helper()
	client, err := dial(c)
	if err != nil {
		t.Fatal(err)
	}
	options := *client.Options()
	client.Close()
	options.Username = user
	client = goredis.NewClient(&options)
	t.Cleanup(func() { client.Close() })
	return client
}

func credentialsOf(t *testing.T, n engine.Node, u engine.User) backstay.Credentials {
	t.Helper()
	c, err := tested.CreateUser(t.Context(), n, u)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestPasswordAlone lets in, with the rights of a binding that may write, until that is unbound, after a kill of the
// server too.
func TestPasswordAlone(t *testing.T) {
	t.Parallel()
	n := enginetest.NewNode(t, tested)
	p := enginetest.Serve(t, tested, n)
	mine := credentialsOf(t, n, engine.User{Name: "mine", Password: "ofmine"})
	other := credentialsOf(t, n, engine.User{Name: "other", Password: "ofother"})
	p.Kill(t)
	enginetest.Start(t, tested, n)
	for _, user := range nameless {
		client := clientAs(t, mine, user)
		if err := do(t, client, "SET k "+user+"!"); err != nil {
			t.Errorf("as %q: %v", user, err)
		}
		for _, command := range []string{"CONFIG GET *", "ACL LIST", "SHUTDOWN", "MONITOR", "SCRIPT DEBUG YES"} {
			if err := do(t, client, command); err == nil || !refusal(err) {
				t.Errorf("%s as %q: %v, want it to be refused", command, user, err)
			}
		}
	}
	drop(t, n, "mine")
	for _, user := range nameless {
		wantRefused(t, clientAs(t, mine, user))
		if err := do(t, clientAs(t, other, user), "GET k"); err != nil {
			t.Errorf("the password of another binding, as %q: %v", user, err)
		}
	}
	drop(t, n, "other")
	for _, user := range nameless {
		wantRefused(t, clientAs(t, other, user))
	}
}

func drop(t *testing.T, n engine.Node, name string) {
	t.Helper()
	if err := tested.DropUser(t.Context(), n, name); err != nil {
		t.Fatal(err)
	}
}

// wantRefused wants a client not to get in.
func wantRefused(t *testing.T, client *goredis.Client) {
	t.Helper()
	if err := do(t, client, "PING"); err == nil || !strings.HasPrefix(err.Error(), "WRONGPASS") {
		t.Errorf("%v, want no user to be let in", err)
	}
}

// TestUnbindEndsSessionsWithoutAName, and leaves those with a name alone, and all of them when who goes may only read.
func TestUnbindEndsSessionsWithoutAName(t *testing.T) {
	t.Parallel()
	n := enginetest.NewNode(t, tested)
	enginetest.Serve(t, tested, n)
	goes := credentialsOf(t, n, engine.User{Name: "goes", Password: "ofgoes"})
	named := held(t, bind(t, n, engine.User{Name: "stays", Password: "ofstays"}))
	bind(t, n, engine.User{Name: "reader", Password: "ofreader", ReadOnly: true})
	var sessions []*goredis.Conn
	for _, user := range nameless {
		sessions = append(sessions, held(t, clientAs(t, goes, user)))
	}
	drop(t, n, "reader")
	for _, s := range append(sessions, named) {
		if err := s.Ping(t.Context()).Err(); err != nil {
			t.Errorf("after a reader is gone: %v", err)
		}
	}
	drop(t, n, "goes")
	for _, s := range sessions {
		if err := s.Ping(t.Context()).Err(); err == nil {
			t.Error("a session goes on that came in by the password of a binding that is gone")
		}
	}
	if err := named.Ping(t.Context()).Err(); err != nil {
		t.Errorf("a session with a name: %v", err)
	}
}

// held is a client's one connection.
func held(t *testing.T, client *goredis.Client) *goredis.Conn {
	t.Helper()
	conn := client.Conn()
	t.Cleanup(func() { conn.Close() })
	if err := conn.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestReadersNeedTheirName: by its password alone, a reader would be a user that may write.
func TestReadersNeedTheirName(t *testing.T) {
	t.Parallel()
	n := enginetest.NewNode(t, tested)
	enginetest.Serve(t, tested, n)
	u := engine.User{Name: "u1", Password: "ofu1"}
	credentialsOf(t, n, u)
	u.ReadOnly = true
	c := credentialsOf(t, n, u) // and may only read now
	for _, user := range nameless {
		wantRefused(t, clientAs(t, c, user))
	}
}

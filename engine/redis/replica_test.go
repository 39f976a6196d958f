package redis_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/internal/wait"
)

// several are two nodes of an instance, the first of which is the primary.
type several struct {
	primary, standby engine.Node
	first, second    *enginetest.Process
}

// newSeveral returns nodes that are not prepared.
func newSeveral(t *testing.T) *several {
	t.Helper()
	s := &several{primary: enginetest.NewNode(t, tested), standby: enginetest.NewNode(t, tested)}
	link := enginetest.Certificate(t, "nodes")
	s.standby.Instance, s.standby.TLS = s.primary.Instance, s.primary.TLS
	s.primary.Replication = &engine.Replication{Name: "a", Link: link}
	s.standby.Replication = &engine.Replication{Name: "b", Link: link, Follows: sourceOf(s.primary)}
	return s
}

func sourceOf(n engine.Node) *engine.Source {
	return &engine.Source{Name: n.Replication.Name, Address: "127.0.0.1", Port: n.Port(engine.ClientPort).Number}
}

// following are two nodes, of which the second streams.
func following(t *testing.T) *several {
	t.Helper()
	s := newSeveral(t)
	s.first = enginetest.Serve(t, tested, s.primary)
	s.copy(t)
	s.awaitStream(t)
	return s
}

// copy makes the standby and starts it.
func (s *several) copy(t *testing.T) {
	t.Helper()
	if err := tested.Copy(t.Context(), s.primary, s.standby, func(string) {}); err != nil {
		t.Fatalf("Copy: %v", err)
	}
	s.second = enginetest.Serve(t, tested, s.standby)
}

// awaitStream waits until the standby follows, as the keeper does.
func (s *several) awaitStream(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var f engine.Following
	err := wait.Until(ctx, wait.Every(10*time.Millisecond), func() (again bool, err error) {
		if err = tested.Mirror(ctx, s.primary, s.standby); err != nil {
			return true, err
		}
		f, err = tested.Follows(ctx, s.primary, s.standby)
		if err == nil && !f.Streams {
			err = errors.New("it does not stream")
		}
		return err != nil, err
	})
	if err != nil {
		t.Fatalf("Follows: %+v, %v", f, err)
	}
}

func (s *several) await(t *testing.T, name string) {
	t.Helper()
	r := *s.primary.Replication
	r.Awaits = name
	s.primary.Replication = &r
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := tested.Await(ctx, s.primary); err != nil {
		t.Fatalf("Await %q: %v", name, err)
	}
}

// change has the nodes change their parts, as the keeper does once no process of the primary is left.
func (s *several) change(t *testing.T) {
	t.Helper()
	if err := tested.Fence(s.primary); err != nil {
		t.Fatalf("Fence: %v", err)
	}
	promoted := s.standby
	promoted.Replication = &engine.Replication{Name: s.standby.Replication.Name, Link: s.standby.Replication.Link}
	if err := tested.Promote(t.Context(), promoted); err != nil {
		t.Fatalf("Promote: %v", err)
	}
	fenced := s.primary
	fenced.Replication = &engine.Replication{
		Name: s.primary.Replication.Name, Link: s.primary.Replication.Link, Follows: sourceOf(promoted),
	}
	s.primary, s.standby, s.first, s.second = promoted, fenced, s.second, nil
}

// rejoin starts the standby, which was the primary.
func (s *several) rejoin(t *testing.T) {
	t.Helper()
	if err := tested.Rejoin(t.Context(), s.primary, s.standby); err != nil {
		t.Fatalf("Rejoin: %v", err)
	}
	s.second = enginetest.Serve(t, tested, s.standby)
	s.awaitStream(t)
}

// client is a binding's client of one node.
func client(t *testing.T, n engine.Node, user string) *goredis.Client {
	t.Helper()
	c, err := dial(backstay.Credentials{
		"uri":            fmt.Sprintf("rediss://%s:correcthorsebatterystaple@localhost:%d", user, n.Port(engine.ClientPort).Number),
		"ca_certificate": n.TLS.Authority, "host": "localhost",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func createUser(t *testing.T, n engine.Node, name string) {
	t.Helper()
	u := engine.User{Name: name, Password: "correcthorsebatterystaple"}
	if _, err := tested.CreateUser(t.Context(), n, u); err != nil {
		t.Fatal(err)
	}
}

func set(t *testing.T, c *goredis.Client, key, value string) {
	t.Helper()
	if err := c.Set(t.Context(), key, value, 0).Err(); err != nil {
		t.Fatalf("set %s: %v", key, err)
	}
}

func wantKey(t *testing.T, c *goredis.Client, key, want string) {
	t.Helper()
	if got, err := c.Get(t.Context(), key).Result(); got != want && (want != "" || err != goredis.Nil) {
		t.Errorf("%s is %q (%v), want %q", key, got, err, want)
	}
}

// TestLostPrimaryIsReplaced kills the primary, has the standby take over, and the old one follow that.
func TestLostPrimaryIsReplaced(t *testing.T) {
	t.Parallel()
	s := newSeveral(t)
	s.first = enginetest.Serve(t, tested, s.primary)
	createUser(t, s.primary, "u1")
	set(t, client(t, s.primary, "u1"), "before", "1")
	s.copy(t)
	s.awaitStream(t)
	s.await(t, "b")
	set(t, client(t, s.primary, "u1"), "after", "2")
	if err := client(t, s.standby, "u1").Set(t.Context(), "k", "v", 0).Err(); err == nil ||
		!strings.HasPrefix(err.Error(), "READONLY") {
		t.Errorf("a standby is written to: %v", err)
	}
	s.awaitStream(t)
	s.first.Kill(t)
	began := time.Now()
	s.change(t)
	c := client(t, s.primary, "u1")
	set(t, c, "new", "3")
	t.Logf("promoted and written after %v", time.Since(began))
	wantKey(t, c, "before", "1")
	wantKey(t, c, "after", "2")
	if err := tested.Promote(t.Context(), s.primary); err != nil {
		t.Errorf("promoted again: %v", err)
	}
	s.rejoin(t)
	wantKey(t, client(t, s.standby, "u1"), "new", "3")
	s.await(t, "a")
}

// TestPromotedNodeIsOneForGood kills it at once: it comes back with all it had, and without a fence.
func TestPromotedNodeIsOneForGood(t *testing.T) {
	t.Parallel()
	s := newSeveral(t)
	s.first = enginetest.Serve(t, tested, s.primary)
	createUser(t, s.primary, "u1")
	const fill = `for i = 1, 20000 do redis.call('SET', KEYS[1] .. i, string.rep('x', 100)) end return 1`
	for i := range 3 {
		if err := client(t, s.primary, "u1").Eval(t.Context(), fill, []string{fmt.Sprint(i, "/")}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	s.copy(t)
	s.awaitStream(t)
	s.first.Kill(t)
	s.change(t)
	s.first.Kill(t)
	s.first = enginetest.Serve(t, tested, s.primary)
	c := client(t, s.primary, "u1")
	if size, err := c.DBSize(t.Context()).Result(); size != 60000 || err != nil {
		t.Errorf("%d keys came back (%v), want 60000", size, err)
	}
	set(t, c, "k", "v")
}

// TestNothingBehindIsPromoted: a standby that has had no copy since it was started may be far behind, whatever its
// files hold.
func TestNothingBehindIsPromoted(t *testing.T) {
	t.Parallel()
	s := following(t)
	s.second.Kill(t)
	s.first.Kill(t)
	s.second = enginetest.Serve(t, tested, s.standby)
	promoted := s.standby
	promoted.Replication = &engine.Replication{Name: "b", Link: s.standby.Replication.Link}
	if err := tested.Fence(s.standby); err != nil { // that follows all the same
		t.Fatal(err)
	}
	wantFenced(t, s.standby, true)
	wantFenced(t, s.primary, false)
	if err := tested.Ready(t.Context(), s.standby); !errors.Is(err, engine.ErrBehind) {
		t.Errorf("Ready: %v, want ErrBehind", err)
	}
	if err := tested.Promote(t.Context(), promoted); !errors.Is(err, engine.ErrBehind) {
		t.Errorf("Promote: %v, want ErrBehind", err)
	}
	s.first = enginetest.Serve(t, tested, s.primary)
	s.awaitStream(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := tested.Promote(ctx, promoted); err == nil {
		t.Error("a node is promoted beside the primary that it follows")
	}
	s.awaitStream(t)
}

// TestAllThatIsLeftIsPromoted, once that is conceded: the primary's data is gone.
func TestAllThatIsLeftIsPromoted(t *testing.T) {
	t.Parallel()
	s := following(t)
	createUser(t, s.primary, "u1")
	set(t, client(t, s.primary, "u1"), "k", "v")
	s.awaitStream(t)
	s.first.Kill(t)
	s.second.Kill(t)
	s.second = enginetest.Serve(t, tested, s.standby)
	s.standby.Replication = &engine.Replication{Name: "b", Link: s.standby.Replication.Link}
	if err := tested.Promote(t.Context(), s.standby); !errors.Is(err, engine.ErrBehind) {
		t.Errorf("Promote: %v, want ErrBehind", err)
	}
	if err := tested.Concede(s.standby); err != nil {
		t.Fatal(err)
	}
	wantFenced(t, s.standby, true)
	if err := tested.Promote(t.Context(), s.standby); err != nil {
		t.Fatal(err)
	}
	wantKey(t, client(t, s.standby, "u1"), "k", "v")
	set(t, client(t, s.standby, "u1"), "k", "w")
}

// TestFenceHolds whoever prepares the data, until it is promoted.
func TestFenceHolds(t *testing.T) {
	t.Parallel()
	n := enginetest.NewNode(t, tested)
	n.Replication = &engine.Replication{Name: "a", Link: enginetest.Certificate(t, "nodes")}
	if err := tested.Fence(n); err != nil {
		t.Errorf("data that is not there: %v", err)
	}
	p := enginetest.Serve(t, tested, n)
	createUser(t, n, "u1")
	set(t, client(t, n, "u1"), "before", "fence")
	p.Kill(t)
	for range 2 {
		if err := tested.Fence(n); err != nil {
			t.Fatal(err)
		}
	}
	for name, start := range map[string]func(testing.TB, engine.Engine, engine.Node) *enginetest.Process{
		"started": enginetest.Start, "prepared": enginetest.Serve,
	} {
		p := start(t, tested, n)
		if err := client(t, n, "u1").Set(t.Context(), "k", "v", 0).Err(); err == nil ||
			!strings.HasPrefix(err.Error(), "READONLY") {
			t.Errorf("%s, fenced data is written to: %v", name, err)
		}
		p.Kill(t)
	}
	alone := n
	alone.Replication = nil
	p = enginetest.Serve(t, tested, alone)
	if err := client(t, n, "u1").Set(t.Context(), "k", "v", 0).Err(); err == nil {
		t.Error("as the only node it is written to")
	}
	p.Kill(t)
	enginetest.Serve(t, tested, n)
	wantFenced(t, n, true)
	for range 2 { // its data is its own: it may go on
		if err := tested.Promote(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	wantFenced(t, n, false)
	wantKey(t, client(t, n, "u1"), "before", "fence")
	set(t, client(t, n, "u1"), "k", "v")
}

func wantFenced(t *testing.T, n engine.Node, want bool) {
	t.Helper()
	if is, err := tested.IsFenced(n); is != want || err != nil {
		t.Errorf("its data is fenced: %v, %v", is, err)
	}
}

// TestDamagedDataRejoins, and what only a copy replaces is told.
func TestDamagedDataRejoins(t *testing.T) {
	t.Parallel()
	s := following(t)
	createUser(t, s.primary, "u1")
	set(t, client(t, s.primary, "u1"), "k", "v")
	s.awaitStream(t)
	s.first.Kill(t)
	s.change(t)
	files, err := filepath.Glob(filepath.Join(s.standby.DataDir, "appendonlydir", "*"))
	if err != nil || len(files) < 3 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, name := range files {
		if err := os.WriteFile(name, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.rejoin(t)
	wantKey(t, client(t, s.standby, "u1"), "k", "v")
	s.second.Kill(t)
	if err := os.Remove(filepath.Join(s.standby.DataDir, "users.acl")); err != nil {
		t.Fatal(err)
	}
	if err := tested.Rejoin(t.Context(), s.primary, s.standby); !errors.Is(err, engine.ErrCopy) {
		t.Errorf("Rejoin: %v, want ErrCopy", err)
	}
	s.copy(t)
	s.awaitStream(t)
	wantKey(t, client(t, s.standby, "u1"), "k", "v")
}

// TestAbsentNodeIsNotAwaited, and writers do not suffer from that.
func TestAbsentNodeIsNotAwaited(t *testing.T) {
	t.Parallel()
	s := following(t)
	createUser(t, s.primary, "u1")
	c := client(t, s.primary, "u1")
	s.await(t, "b")
	s.second.Signal(t, syscall.SIGSTOP)
	wantNotAwaited(t, s, "b")
	s.second.Signal(t, syscall.SIGCONT)
	s.awaitStream(t)
	s.second.Kill(t)
	set(t, c, "k", "v")
	wantNotAwaited(t, s, "b")
	wantNotAwaited(t, s, "c")
	set(t, c, "k", "w")
	s.await(t, "")
}

// wantNotAwaited asks for more time than a node that follows takes to say so.
func wantNotAwaited(t *testing.T, s *several, name string) {
	t.Helper()
	waiting := s.primary
	waiting.Replication = &engine.Replication{Name: "a", Link: s.primary.Replication.Link, Awaits: name}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := tested.Await(ctx, waiting); err == nil {
		t.Errorf("node %q is awaited and does not follow", name)
	}
}

// TestHandOverLosesNothing of what a writer was told is written, time and again.
func TestHandOverLosesNothing(t *testing.T) {
	t.Parallel()
	s := following(t)
	createUser(t, s.primary, "u1")
	s.awaitStream(t)
	told := 0
	for round := range 3 {
		s.await(t, s.standby.Replication.Name)
		c := client(t, s.primary, "u1")
		ended := make(chan int)
		go func(last int) {
			for c.Set(context.Background(), "n", last+1, 0).Err() == nil {
				last++
			}
			ended <- last
		}(told)
		time.Sleep(200 * time.Millisecond) // for the writer to be in the middle of it
		began := time.Now()
		if err := tested.HandOver(t.Context(), s.primary, s.standby); err != nil {
			t.Fatalf("HandOver: %v", err)
		}
		s.first.Stop(t)
		told = <-ended
		s.change(t)
		set(t, client(t, s.primary, "u1"), "k", "v")
		t.Logf("round %d: %d written, handed over in %v", round, told, time.Since(began))
		got, err := client(t, s.primary, "u1").Get(t.Context(), "n").Int()
		if err != nil || got != told && got != told+1 { // one may be written and not told
			t.Errorf("round %d: %d is there (%v), %d was told", round, got, err, told)
		}
		told = got
		s.rejoin(t)
	}
}

// TestHandOverThatFailsIsUndone, so that clients write.
func TestHandOverThatFailsIsUndone(t *testing.T) {
	t.Parallel()
	s := following(t)
	createUser(t, s.primary, "u1")
	s.awaitStream(t)
	s.second.Kill(t)
	if err := tested.HandOver(t.Context(), s.primary, s.standby); err == nil {
		t.Error("it is handed over to nobody")
	}
	set(t, client(t, s.primary, "u1"), "k", "v")
}

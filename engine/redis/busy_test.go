package redis_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/redis"
)

// busyServer is a node whose server finds a script slow sooner than others do, with clients of a binding that may
// write and of one that may not.
func busyServer(t *testing.T) (n engine.Node, p *enginetest.Process, writer, reader *goredis.Client) {
	t.Helper()
	n = enginetest.NewNode(t, tested)
	p = enginetest.Serve(t, tested, n)
	if err := asOperator(t, n).ConfigSet(t.Context(), "busy-reply-threshold", "100").Err(); err != nil {
		t.Fatal(err)
	}
	writer = bind(t, n, engine.User{Name: "writer", Password: "correcthorse"})
	return n, p, writer, bind(t, n, engine.User{Name: "reader", Password: "correcthorse", ReadOnly: true})
}

func bind(t *testing.T, n engine.Node, u engine.User) *goredis.Client {
	t.Helper()
	c, err := tested.CreateUser(t.Context(), n, u)
	if err != nil {
		t.Fatal(err)
	}
	client, err := dial(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// asOperator is a client with all rights.
func asOperator(t *testing.T, n engine.Node) *goredis.Client {
	t.Helper()
	secret, err := n.Admin.Secret()
	if err != nil {
		t.Fatal(err)
	}
	c := goredis.NewClient(&goredis.Options{
		Username: n.Admin.User, Password: secret.Reveal(), DisableIndentity: true, MaxRetries: -1,
		Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) { return n.Admin.Dial(ctx) },
	})
	t.Cleanup(func() { c.Close() })
	return c
}

// leave has a client ask for something that takes for ever, and go.
func leave(t *testing.T, client *goredis.Client, args ...any) {
	t.Helper()
	options := *client.Options()
	options.MaxRetries = -1
	options.ReadTimeout = 300 * time.Millisecond // within which it has become busy, and the client is gone
	c := goredis.NewClient(&options)
	defer c.Close()
	var timeout net.Error
	if err := c.Do(t.Context(), args...).Err(); !errors.As(err, &timeout) {
		t.Fatalf("%v: %v, want no answer", args, err)
	}
}

// endless are scripts that do not end, and that are ended whoever asks the server for something.
var endless = map[string]string{
	"plain":    "while true do end",
	"catching": "while true do pcall(function() while true do end end) end",
}

const endlessFunction = `#!lua name=endless
redis.register_function{function_name = 'endless', flags = {'no-writes'}, callback = function() while true do end end}`

// TestEndlessScript: whatever script a reader leaves behind, whoever administers gets in soon.
func TestEndlessScript(t *testing.T) {
	t.Parallel()
	n, _, writer, reader := busyServer(t)
	if err := writer.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	for name, script := range endless {
		for _, ask := range []struct {
			what string
			it   func() error
		}{
			{"Probe", func() error { return tested.Probe(t.Context(), n) }},
			{"Tend", func() error { return tend(t, tested, n) }},
			{"CreateUser", func() error {
				_, err := tested.CreateUser(t.Context(), n, engine.User{Name: "other", Password: "correcthorse"})
				return err
			}},
			{"DropUser", func() error { return tested.DropUser(t.Context(), n, "other") }},
		} {
			leave(t, reader, "EVAL_RO", script, 0)
			if err := ask.it(); err != nil {
				t.Errorf("%s while a script (%s) runs: %v", ask.what, name, err)
			}
		}
	}
	if err := writer.FunctionLoad(t.Context(), endlessFunction).Err(); err != nil {
		t.Fatal(err)
	}
	leave(t, reader, "FCALL_RO", "endless", 0)
	if err := tested.DropUser(t.Context(), n, "reader"); err != nil {
		t.Errorf("while a function runs: %v", err)
	}
	if v, err := writer.Get(t.Context(), "k").Result(); err != nil || v != "v" {
		t.Errorf("the others read %q, %v", v, err)
	}
}

func tend(t *testing.T, e redis.Engine, n engine.Node) error {
	t.Helper()
	now, _, err := e.Tend(t.Context(), n, "")
	if err == nil && now == "" {
		t.Error("there is nothing to tend, it says")
	}
	return err
}

// TestScriptThatCannotBeEnded: half of what a script writes must not be kept, and some scripts do not look up. The
// server is found stuck, and has kept all that clients were told and nothing of the script.
func TestScriptThatCannotBeEnded(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"has written": "redis.call('SET', 'half', 'x') while true do end",
		"hides": "while true do pcall(coroutine.wrap(function() while true do " +
			"pcall(coroutine.wrap(function() while true do end end)) end end)) end",
		"is deaf": "return string.find(string.rep('a', 60), string.rep('a?', 60) .. string.rep('a', 60))",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, p, writer, _ := busyServer(t)
			if err := writer.Set(t.Context(), "told", "v", 0).Err(); err != nil {
				t.Fatal(err)
			}
			leave(t, writer, "EVAL", script, 0)
			wantSentence(t, n)
			e := tested
			e.Patience = time.Second
			err := tend(t, e, n)
			if !errors.Is(err, engine.ErrStuck) || backstay.KindOf(err) != backstay.Unavailable {
				t.Errorf("tended, it is %v, want it stuck", err)
			}
			p.Kill(t)
			enginetest.Start(t, tested, n)
			writer = bind(t, n, engine.User{Name: "writer", Password: "correcthorse"})
			if v, err := writer.Get(t.Context(), "told").Result(); err != nil || v != "v" {
				t.Errorf("what was told is %q, %v", v, err)
			}
			if there, err := writer.Exists(t.Context(), "half").Result(); err != nil || there != 0 {
				t.Errorf("half of a script is kept: %d, %v", there, err)
			}
		})
	}
}

// wantSentence wants whoever binds and unbinds meanwhile to be told in words, and within their time.
func wantSentence(t *testing.T, n engine.Node) {
	t.Helper()
	for what, ask := range map[string]func(context.Context) error{
		"CreateUser": func(ctx context.Context) error {
			_, err := tested.CreateUser(ctx, n, engine.User{Name: "other", Password: "correcthorse"})
			return err
		},
		"DropUser": func(ctx context.Context) error { return tested.DropUser(ctx, n, "other") },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		began := time.Now()
		err := ask(ctx)
		cancel()
		if backstay.KindOf(err) != backstay.Unavailable || time.Since(began) > 5*time.Second {
			t.Errorf("%s: %q after %v", what, err, time.Since(began))
		}
	}
}

// TestUnbindOutlivesTheEnd: who waits for a server that is ended and started again gets in.
func TestUnbindOutlivesTheEnd(t *testing.T) {
	t.Parallel()
	n, p, writer, _ := busyServer(t)
	leave(t, writer, "EVAL", "redis.call('SET', 'half', 'x') while true do end", 0)
	found := make(chan struct{})
	dial, isBusy := n.Admin.Dial, sync.OnceFunc(func() { close(found) })
	n.Admin.Dial = func(ctx context.Context) (net.Conn, error) {
		c, err := dial(ctx)
		return heard{c, isBusy}, err
	}
	dropped := make(chan error, 1)
	go func() { dropped <- tested.DropUser(t.Context(), n, "reader") }()
	select {
	case <-found:
	case err := <-dropped:
		t.Fatalf("the server was not busy: %v", err)
	}
	p.Kill(t)
	enginetest.Start(t, tested, n)
	if err := <-dropped; err != nil {
		t.Errorf("unbound while the server was started again: %v", err)
	}
}

// heard is a connection that tells when the server says that it is busy.
type heard struct {
	net.Conn
	isBusy func()
}

func (h heard) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	if bytes.Contains(b[:n], []byte("-BUSY ")) {
		h.isBusy()
	}
	return n, err
}

// TestUnbindAgainstAFlood: a binding whose clients run one endless script after the other, and come again at once when
// the server does, is unbound none the less, by whichever user they come.
func TestUnbindAgainstAFlood(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"reader", "default"} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			n, p, writer, reader := busyServer(t)
			flooding, name := *reader.Options(), "reader"
			if by == "default" {
				flooding, name = *bind(t, n, engine.User{Name: "flooding", Password: "itsown"}).Options(), "flooding"
				flooding.Username = ""
			}
			unbindAgainstAFlood(t, n, p, writer, name, flooding)
		})
	}
}

func unbindAgainstAFlood(t *testing.T, n engine.Node, p *enginetest.Process, writer *goredis.Client, name string,
	flooding goredis.Options) {
	t.Helper()
	if err := writer.Set(t.Context(), "told", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	defer flood.Wait()
	defer leave()
	for range 10 {
		flood.Go(func() { runAgainAndAgain(ctx, flooding, "EVAL_RO", endless["plain"], 0) })
	}
	time.Sleep(300 * time.Millisecond) // so that they are at it
	flood.Go(func() {                  // as the keeper does
		for {
			select {
			case <-p.Done(): // again, where it did not hear in time that it is to end
				p = enginetest.Start(t, tested, n)
			case <-ctx.Done(): // the sessions could be ended without the server
				return
			}
		}
	})
	began := time.Now()
	dropping, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := tested.DropUser(dropping, n, name); err != nil {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
	t.Logf("it took %v", time.Since(began))
	writer = bind(t, n, engine.User{Name: "writer", Password: "correcthorse"})
	if v, err := writer.Get(t.Context(), "told").Result(); err != nil || v != "v" {
		t.Errorf("what was told is %q, %v", v, err)
	}
}

func runAgainAndAgain(ctx context.Context, options goredis.Options, command ...any) {
	options.ReadTimeout, options.MaxRetries = -1, -1
	dial := goredis.NewDialer(&options)
	options.Dialer = func(dialing context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(dialing, network, address)
		if err == nil { // the client does not close what it is still dialling when it is closed
			context.AfterFunc(ctx, func() { conn.Close() })
		}
		return conn, err
	}
	c := goredis.NewClient(&options)
	defer c.Close()
	for ctx.Err() == nil {
		c.Pipelined(ctx, func(p goredis.Pipeliner) error { // how it ends is no matter
			for range 300 {
				p.Do(ctx, command...)
			}
			return nil
		})
	}
}

// TestHungServer: one that answers nobody for no reason that it could tell is stuck, too, unless nobody wants to know
// any more.
func TestHungServer(t *testing.T) {
	t.Parallel()
	n := enginetest.NewNode(t, tested)
	p := enginetest.Serve(t, tested, n)
	p.Signal(t, syscall.SIGSTOP)
	defer p.Signal(t, syscall.SIGCONT)
	ctx, cancel := context.WithCancel(t.Context())
	tended := make(chan error, 1)
	go func() {
		_, _, err := tested.Tend(ctx, n, "")
		tended <- err
	}()
	time.Sleep(50 * time.Millisecond) // so that it waits for an answer
	cancel()
	select {
	case err := <-tended:
		if err == nil || errors.Is(err, engine.ErrStuck) {
			t.Errorf("given up, it says %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("a hung server holds up who tends it, though nobody wants to know")
	}
	e := tested
	e.Patience = 300 * time.Millisecond
	if err := tend(t, e, n); !errors.Is(err, engine.ErrStuck) {
		t.Errorf("it is %v, want it stuck", err)
	}
}

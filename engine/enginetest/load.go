package enginetest

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/wait"
)

// load is clients that write one key after the other, and note of which they were told that it is written.
type load struct {
	name    string
	mu      sync.Mutex
	written []int // by client: how many of its keys it was told of
	last    time.Time
	end     func()
}

// startLoad starts clients that write until their session ends.
func (s Subject) startLoad(t testing.TB, c backstay.Credentials, clients int) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{name: fmt.Sprintf("load%d", writerNumber.Add(1)), written: make([]int, clients)}
	var all sync.WaitGroup
	for i := range clients {
		session, err := s.Connect(ctx, c)
		if err != nil {
			t.Fatalf("connect: %v", err)
		}
		all.Go(func() {
			defer session.Close()
			for n := 0; session.Set(ctx, l.key(i, n), strconv.Itoa(n)) == nil; n++ {
				l.note(i)
			}
		})
	}
	l.end = sync.OnceFunc(func() { cancel(); all.Wait() })
	t.Cleanup(l.end)
	return l
}

func (l *load) key(client, number int) string { return fmt.Sprintf("%s/%d/%d", l.name, client, number) }

func (l *load) note(client int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.written[client]++
	l.last = time.Now()
}

// told returns how many keys all clients were told of, and when they were last told of one.
func (l *load) told() (count int, last time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.written {
		count += n
	}
	return count, l.last
}

// want wants everything to be there that the clients were told of, and returns how much that was and what is missing.
func (l *load) want(t *testing.T, s Subject, c backstay.Credentials) {
	t.Helper()
	count, missing := l.compare(t, s, c)
	if missing > 0 {
		t.Errorf("of %d values that clients were told are written, %d are missing", count, missing)
	}
}

func (l *load) compare(t *testing.T, s Subject, c backstay.Credentials) (count, missing int) {
	t.Helper()
	l.end()
	s.session(t, c, func(c Session) {
		for i, n := range l.written {
			for k := range n {
				count++
				if got, err := c.Get(t.Context(), l.key(i, k)); err != nil || got != strconv.Itoa(k) {
					missing++
				}
			}
		}
	})
	return count, missing
}

// awaitMore waits until the clients were told of so many more values.
func (l *load) awaitMore(t *testing.T, more int) {
	t.Helper()
	before, _ := l.told()
	await(t, fmt.Sprintf("%d more commits", more), func() bool { count, _ := l.told(); return count >= before+more })
}

// wantWaiting wants the clients to be told of nothing for a while.
func (l *load) wantWaiting(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		before, _ := l.told()
		time.Sleep(500 * time.Millisecond) // what is to be seen is that nothing happens
		after, _ := l.told()
		if before == after {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("clients do not wait for the standby")
		}
	}
}

// firstWrite has a client try again and again to write. The function that it returns waits until it has, and tells how
// long that was from began.
func (s Subject) firstWrite(t *testing.T, c backstay.Credentials, key string, began time.Time) func() time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	written := make(chan error, 1)
	var took time.Duration
	go func() {
		written <- wait.Until(ctx, wait.Every(2*time.Millisecond), func() (again bool, err error) {
			session, err := s.Connect(ctx, c)
			if err == nil {
				err = session.Set(ctx, key, "written")
				session.Close()
			}
			took = time.Since(began)
			return err != nil, err
		})
	}()
	return func() time.Duration {
		t.Helper()
		defer cancel()
		if err := <-written; err != nil {
			t.Fatalf("nobody can write: %v", err)
		}
		return took
	}
}

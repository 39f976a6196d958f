package state

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// channel carries every change that somebody may wait for; the payload is a topic.
const channel = "backstay_change"

// changes tells waiters of a topic that it may have changed: at once, and at least once. One
// connection listens for all of them.
type changes struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	waiters map[string]map[chan struct{}]struct{}
}

func listen(pool *pgxpool.Pool, log *slog.Logger) *changes {
	ctx, cancel := context.WithCancel(context.Background())
	c := &changes{cancel: cancel, done: make(chan struct{}), waiters: map[string]map[chan struct{}]struct{}{}}
	go func() {
		defer close(c.done)
		c.run(ctx, pool, log)
	}()
	return c
}

func (c *changes) close() {
	c.cancel()
	<-c.done
}

// run listens until ctx ends. What happens while it is not connected cannot be known, so after each
// connect every waiter looks again.
func (c *changes) run(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) {
	for ctx.Err() == nil {
		err := c.receive(ctx, pool)
		if ctx.Err() != nil {
			return
		}
		log.Warn("listening for changes was interrupted", "error", err)
		pool.Reset() // as a rule the database was started again, and no other connection of ours is alive either
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond): // a database that is down refuses at once
		}
	}
}

func (c *changes) receive(ctx context.Context, pool *pgxpool.Pool) error {
	conn, err := pgx.ConnectConfig(ctx, pool.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	c.wakeAll()
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		c.wake(n.Payload)
	}
}

func (c *changes) wake(topic string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for w := range c.waiters[topic] {
		wakeUp(w)
	}
}

func (c *changes) wakeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ws := range c.waiters {
		for w := range ws {
			wakeUp(w)
		}
	}
}

// wakeUp never blocks: one pending wake-up is as good as many.
func wakeUp(w chan struct{}) {
	select {
	case w <- struct{}{}:
	default:
	}
}

func (c *changes) subscribe(topic string) (<-chan struct{}, func()) {
	w := make(chan struct{}, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiters[topic] == nil {
		c.waiters[topic] = map[chan struct{}]struct{}{}
	}
	c.waiters[topic][w] = struct{}{}
	return w, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.waiters[topic], w)
		if len(c.waiters[topic]) == 0 {
			delete(c.waiters, topic)
		}
	}
}

// lookAgain is how long a waiter trusts that it would have been told: a connection may be gone without a word.
const lookAgain = 5 * time.Second

// await calls look at once, after every change of topic, and now and then without one, until it reports true,
// fails, or ctx ends.
func (s *Store) await(ctx context.Context, topic string, look func() (bool, error)) error {
	w, cancel := s.changes.subscribe(topic)
	defer cancel()
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	for {
		if done, err := look(); done || err != nil {
			return err
		}
		select {
		case <-w:
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// announce tells waiters of topic, once the transaction has committed.
func announce(ctx context.Context, tx pgx.Tx, topic string) error {
	_, err := tx.Exec(ctx, `SELECT pg_notify($1, $2)`, channel, topic)
	return err
}

package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// driller is the user that writes in drills: one key, in the last of the server's databases, where KEYS, DBSIZE and
// SCAN of clients that have chosen none do not find it. It lasts for as long as drillLife at the most, so that a copy
// that was taken meanwhile does not hold it for ever. Whoever says FLUSHALL deletes it.
const (
	driller       = "backstay-drill"
	drillKey      = "backstay:drill"
	drillDatabase = 15
	drillLife     = time.Hour
)

var _ engine.Drillable = Engine{}

// mayDrill is what it may.
var mayDrill = []string{"resetkeys", "resetchannels", "clearselectors", "-@all", "~" + drillKey,
	"+get", "+set", "+select", "+ping", "+hello"}

// AdmitDriller makes the user. Nodes that follow are told of it by Mirror.
func (Engine) AdmitDriller(ctx context.Context, n engine.Node, password backstay.Secret) error {
	rules := slices.Concat([]string{"reset", "on", hashed(password.Reveal())}, mayDrill)
	err := withUsers(ctx, n, func(c *redis.Client) error {
		if err := forgetDrill(ctx, c); err != nil {
			return err
		}
		if err := c.Do(ctx, setUser(driller, rules...)...).Err(); err != nil {
			return err
		}
		return c.Do(ctx, "ACL", "SAVE").Err()
	})
	if err != nil {
		return fmt.Errorf("admit who writes in a drill: %w", err)
	}
	return nil
}

// DismissDriller removes the user, which ends its sessions, and then the key.
func (Engine) DismissDriller(ctx context.Context, n engine.Node) error {
	err := withUsers(ctx, n, func(c *redis.Client) error {
		if err := c.Do(ctx, "ACL", "DELUSER", driller).Err(); err != nil {
			return err
		}
		if err := c.Do(ctx, "ACL", "SAVE").Err(); err != nil {
			return err
		}
		return forgetDrill(ctx, c)
	})
	if err != nil {
		return fmt.Errorf("dismiss who has written in a drill: %w", err)
	}
	return nil
}

// forgetDrill deletes the key. The operator's connection, which is the client's only one, goes back to where it was.
func forgetDrill(ctx context.Context, c *redis.Client) error {
	_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Do(ctx, "SELECT", drillDatabase)
		p.Unlink(ctx, drillKey)
		p.Do(ctx, "SELECT", 0)
		return nil
	})
	return err
}

// OpenDrill logs in as the user. The driver would connect again by itself where the connection has ended, and nobody
// would look for what was acknowledged before: it is let do so once.
func (Engine) OpenDrill(ctx context.Context, _ engine.Node, l engine.DrillLogin) (engine.DrillSession, error) {
	var dialed atomic.Bool
	c := redis.NewClient(&redis.Options{
		Username: driller, Password: l.Password.Reveal(), DB: drillDatabase,
		Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
			if dialed.Swap(true) {
				return nil, net.ErrClosed
			}
			conn, err := l.Dial(ctx)
			if err != nil {
				return nil, err
			}
			return tls.Client(conn, l.TLS), nil
		},
		MaxRetries: -1, PoolSize: 1, DisableIndentity: true, ContextTimeoutEnabled: true, ReadTimeout: -1, WriteTimeout: -1,
	})
	if err := c.Ping(ctx).Err(); err != nil {
		c.Close()
		return nil, err
	}
	return drillSession{c}, nil
}

type drillSession struct{ c *redis.Client }

func (s drillSession) Keep(ctx context.Context, number int64) error {
	return s.c.Set(ctx, drillKey, number, drillLife).Err()
}

func (s drillSession) Kept(ctx context.Context) (number int64, err error) {
	number, err = s.c.Get(ctx, drillKey).Int64()
	if errors.Is(err, redis.Nil) {
		return 0, engine.ErrErased
	}
	return number, err
}

func (s drillSession) Close() { s.c.Close() }

package redis

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
)

// Rotate has the server accept both passwords, durably, before the file names the new one; after that, the new one
// alone.
func (Engine) Rotate(ctx context.Context, n engine.Node) error {
	secret := rand.Text()
	err := withUsers(ctx, n, func(c *redis.Client) error {
		if err := setPassword(ctx, c, hashed(secret)); err != nil {
			return err
		}
		uid, gid := n.Account.IDs()
		if err := datadir.WriteFiles(n.DataDir, uid, gid, map[string]string{secretFile: secret}); err != nil {
			return err
		}
		return setPassword(ctx, c, "resetpass", hashed(secret))
	})
	if err != nil {
		return fmt.Errorf("give the operator another password: %w", err)
	}
	return nil
}

// setPassword changes the operator's passwords in the server and in its file. Sessions go on.
func setPassword(ctx context.Context, c *redis.Client, rules ...string) error {
	if err := c.Do(ctx, setUser(operator, rules...)...).Err(); err != nil {
		return err
	}
	return c.Do(ctx, "ACL", "SAVE").Err()
}

package redis

import (
	"context"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/backstay/backstay/engine"
)

// Configure gives the users that an earlier version made the rights that users have today, and lets in nodes that
// follow. Sessions go on.
func (Engine) Configure(ctx context.Context, n engine.Node) error {
	return withUsers(ctx, n, func(c *redis.Client) error {
		before, err := c.Do(ctx, "ACL", "LIST").StringSlice()
		if err != nil {
			return err
		}
		_, err = c.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, line := range before {
				if u := parseUser(line); u.isBinding() {
					p.Do(ctx, setUser(u.name, rights(!u.writes)...)...)
				}
			}
			p.Do(ctx, admitNodes(n)...)
			return nil
		})
		if err == nil {
			err = admitNameless(ctx, c)
		}
		if err != nil {
			return err
		}
		after, err := c.Do(ctx, "ACL", "LIST").StringSlice()
		if err != nil || slices.Equal(before, after) {
			return err
		}
		return c.Do(ctx, "ACL", "SAVE").Err()
	})
}

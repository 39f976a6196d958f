package redis

import (
	"context"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/backstay/backstay/engine"
)

// Configure takes from the users that an earlier version made what no user is given any more.
func (Engine) Configure(ctx context.Context, n engine.Node) error {
	return withOperator(ctx, n, func(c *redis.Client) error {
		users, err := c.Do(ctx, "ACL", "LIST").StringSlice()
		if err != nil {
			return err
		}
		changed := false
		for _, rules := range users {
			words := strings.Fields(rules) // "user", its name, and what it may
			if words[1] == operator || !slices.Contains(words, "+@all") || slices.Contains(words, "-script|debug") {
				continue
			}
			if err := c.Do(ctx, "ACL", "SETUSER", words[1], "-script|debug").Err(); err != nil {
				return err
			}
			changed = true
		}
		if !changed {
			return nil
		}
		return c.Do(ctx, "ACL", "SAVE").Err()
	})
}

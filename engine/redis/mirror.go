package redis

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/backstay/backstay/engine"
)

// Mirror has the node that follows know the primary's bindings, the user of a drill, and no others. The primary is
// asked while the users of the node are locked: of two calls, the one that changes them later has asked later.
func (Engine) Mirror(ctx context.Context, primary, n engine.Node) error {
	err := withUsers(ctx, n, func(c *redis.Client) error {
		wanted, err := mirroredOf(ctx, primary)
		if err != nil {
			return err
		}
		users, err := listUsers(ctx, c)
		if err != nil {
			return err
		}
		has := mirrored(users)
		if slices.EqualFunc(wanted, has, aclUser.equal) {
			return nil
		}
		if err := change(ctx, c, has, wanted); err != nil {
			return err
		}
		return admitAndSave(ctx, c)
	})
	if err != nil {
		return fmt.Errorf("mirror users: %w", err)
	}
	return nil
}

// change makes the server's users those that are wanted. Each is sorted by name.
func change(ctx context.Context, c *redis.Client, has, wanted []aclUser) error {
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, u := range has {
			if !slices.ContainsFunc(wanted, u.isNamed) {
				p.Do(ctx, "ACL", "DELUSER", u.name)
			}
		}
		for _, u := range wanted {
			i := slices.IndexFunc(has, u.isNamed)
			if i < 0 || !has[i].equal(u) {
				p.Do(ctx, setUser(u.name, slices.Concat([]string{"reset", "on"}, u.hashes, u.rights())...)...)
			}
		}
		return nil
	})
	return err
}

// mirroredOf asks a running node for the users that its others are to know.
func mirroredOf(ctx context.Context, n engine.Node) (found []aclUser, err error) {
	err = withOperator(ctx, n, func(c *redis.Client) error {
		users, err := listUsers(ctx, c)
		found = mirrored(users)
		return err
	})
	return found, err
}

// mirrored are those of the users, sorted, in the form in which they are compared.
func mirrored(users []aclUser) []aclUser {
	found := slices.DeleteFunc(slices.Clone(users), func(u aclUser) bool { return !u.isMirrored() })
	for i := range found {
		slices.Sort(found[i].hashes)
	}
	slices.SortFunc(found, func(a, b aclUser) int { return strings.Compare(a.name, b.name) })
	return found
}

func (u aclUser) isNamed(other aclUser) bool { return u.name == other.name }

// equal compares what makes a user: its rights follow from its kind.
func (u aclUser) equal(other aclUser) bool {
	return u.name == other.name && u.writes == other.writes && slices.Equal(u.hashes, other.hashes)
}

func haveSameUsers(ctx context.Context, primary, n engine.Node) (bool, error) {
	wanted, err := mirroredOf(ctx, primary)
	if err != nil {
		return false, err
	}
	has, err := mirroredOf(ctx, n)
	return slices.EqualFunc(wanted, has, aclUser.equal), err
}

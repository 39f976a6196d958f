package redis

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/backstay/backstay/engine"
)

// Mirror has the node that follows know the primary's bindings, and no others. The primary is asked while the users of
// the node are locked: of two calls, the one that changes them later has asked later.
func (Engine) Mirror(ctx context.Context, primary, n engine.Node) error {
	err := withUsers(ctx, n, func(c *redis.Client) error {
		wanted, err := bindingsOf(ctx, primary)
		if err != nil {
			return err
		}
		users, err := listUsers(ctx, c)
		if err != nil {
			return err
		}
		has := bindings(users)
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

// change makes the server's bindings those that are wanted. Each is sorted by name.
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
				p.Do(ctx, setUser(u.name, slices.Concat([]string{"reset", "on"}, u.hashes, rights(!u.writes))...)...)
			}
		}
		return nil
	})
	return err
}

// bindingsOf asks a running node for the users of its bindings.
func bindingsOf(ctx context.Context, n engine.Node) (found []aclUser, err error) {
	err = withOperator(ctx, n, func(c *redis.Client) error {
		users, err := listUsers(ctx, c)
		found = bindings(users)
		return err
	})
	return found, err
}

// bindings are the bindings' own users, sorted, in the form in which they are compared.
func bindings(users []aclUser) []aclUser {
	found := slices.DeleteFunc(slices.Clone(users), func(u aclUser) bool { return !u.isBinding() })
	for i := range found {
		slices.Sort(found[i].hashes)
	}
	slices.SortFunc(found, func(a, b aclUser) int { return strings.Compare(a.name, b.name) })
	return found
}

func (u aclUser) isNamed(other aclUser) bool { return u.name == other.name }

// equal compares what makes a binding's user: its rights follow from its kind.
func (u aclUser) equal(other aclUser) bool {
	return u.name == other.name && u.writes == other.writes && slices.Equal(u.hashes, other.hashes)
}

func haveSameUsers(ctx context.Context, primary, n engine.Node) (bool, error) {
	wanted, err := bindingsOf(ctx, primary)
	if err != nil {
		return false, err
	}
	has, err := bindingsOf(ctx, n)
	return slices.EqualFunc(wanted, has, aclUser.equal), err
}

package redis

import (
	"context"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// nameless are the users of clients that know a password alone. Redis takes those that name no user for default, and
// addresses as GOV.UK PaaS wrote them name x. Both have the passwords of all bindings that may write, and the rights
// that these have. A read-only binding's password is not among them: a user has one set of rights, whatever password
// it came by.
var nameless = []string{"default", "x"}

func isNameless(user string) bool { return slices.Contains(nameless, user) }

// admitNameless gives the nameless users the passwords of today's bindings. If one of their passwords has lost its
// binding, all their sessions are ended: by which password a session came in, the server does not know. Those of other
// bindings come back at once. Whoever is about to log in is no session yet, and has to show a password of today's.
func admitNameless(ctx context.Context, c *redis.Client) error {
	users, err := listUsers(ctx, c)
	if err != nil {
		return err
	}
	var wanted []string
	has := map[string][]string{}
	for _, u := range users {
		has[u.name] = u.hashes
		if u.isBinding() && u.writes {
			wanted = append(wanted, u.hashes...)
		}
	}
	var after *redis.Cmd // the clients that came before the passwords changed are among them
	_, err = c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, name := range nameless {
			rules := slices.Concat([]string{"on"}, rights(false), wanted)
			orphaned := slices.DeleteFunc(has[name], func(hash string) bool { return slices.Contains(wanted, hash) })
			for _, hash := range orphaned {
				rules = append(rules, "!"+strings.TrimPrefix(hash, "#"))
			}
			p.Do(ctx, setUser(name, rules...)...)
			if len(orphaned) > 0 {
				after = p.Do(ctx, "CLIENT", "LIST")
			}
		}
		return nil
	})
	if err != nil || after == nil {
		return err
	}
	list, err := after.Text()
	if err != nil {
		return err
	}
	return endSessions(ctx, c, clientsOf(list, isNameless))
}

// endSessions ends clients by their numbers. One that has left is no error to the server.
func endSessions(ctx context.Context, c *redis.Client, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, id := range ids {
			p.Do(ctx, "CLIENT", "KILL", "ID", id)
		}
		return nil
	})
	return err
}

func admitAndSave(ctx context.Context, c *redis.Client) error {
	if err := admitNameless(ctx, c); err != nil {
		return err
	}
	return c.Do(ctx, "ACL", "SAVE").Err()
}

func listUsers(ctx context.Context, c *redis.Client) (users []aclUser, err error) {
	lines, err := c.Do(ctx, "ACL", "LIST").StringSlice()
	for _, line := range lines {
		users = append(users, parseUser(line))
	}
	return users, err
}

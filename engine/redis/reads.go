package redis

import (
	"context"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/backstay/backstay/engine"
)

var _ engine.Reader = Engine{}

// CatchUp is Mirror: users do not come by what a node is sent, and the server ends the sessions of those that it is
// told to forget.
func (e Engine) CatchUp(ctx context.Context, primary, n engine.Node) error {
	return e.Mirror(ctx, primary, n)
}

// EndReaders ends all clients but the administrator's.
func (Engine) EndReaders(ctx context.Context, n engine.Node) error {
	return withOperator(ctx, n, func(c *redis.Client) error {
		list, err := c.Do(ctx, "CLIENT", "LIST", "TYPE", "normal").Text()
		if err != nil {
			return err
		}
		subscribed, err := c.Do(ctx, "CLIENT", "LIST", "TYPE", "pubsub").Text()
		if err != nil {
			return err
		}
		return endSessions(ctx, c, clientsOf(list+subscribed, func(user string) bool { return user != operator }))
	})
}

// clientsOf finds in the server's list of clients the numbers of those that came in as certain users. The server calls
// everybody default who has not logged in yet: those have not given any command.
func clientsOf(list string, is func(user string) bool) (ids []string) {
	for line := range strings.Lines(list) {
		client := map[string]string{}
		for _, field := range strings.Fields(line) {
			name, value, _ := strings.Cut(field, "=")
			client[name] = value
		}
		if is(client["user"]) && client["cmd"] != "NULL" {
			ids = append(ids, client["id"])
		}
	}
	return ids
}

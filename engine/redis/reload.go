package redis

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/backstay/backstay/engine"
)

// Reload writes the configuration and sets what can be set while the server runs, the certificate first. A server that
// follows follows another one then, if it is to; whether it follows at all is not changed while it runs.
func (e Engine) Reload(ctx context.Context, n engine.Node) (restart bool, err error) {
	p, err := plan(n)
	if err != nil {
		return false, err
	}
	wanted, err := settingsOf(n)
	if err != nil {
		return false, err
	}
	linked := n.Replication != nil
	err = withOperator(ctx, n, func(c *redis.Client) error {
		if err := refuseToShrink(ctx, c, n); err != nil { // since Check there may have come more
			return err
		}
		if err := p.Reconfigure(); err != nil {
			return err
		}
		if !linked {
			if linked, err = isLinked(ctx, c); err != nil {
				return err
			}
			if linked {
				wanted = append(wanted, unlinked()...)
			}
		}
		if err := renewCertificate(ctx, c, wanted); err != nil {
			return err
		}
		for _, s := range wanted {
			immutable, err := set(ctx, c, s)
			if err != nil {
				return fmt.Errorf("set %s: %w", s.name, err)
			}
			restart = restart || immutable
		}
		another, err := followAnother(ctx, c, n)
		restart = restart || another
		return err
	})
	if err == nil && linked {
		err = e.Configure(ctx, n)
	}
	if err != nil {
		return false, fmt.Errorf("put the configuration in force: %w", err)
	}
	return restart, nil
}

// certified are the settings that go with each other.
var certified = []string{certificateSetting, keySetting, trustSetting, "tls-ca-cert-dir", "tls-replication"}

// renewCertificate sets certificate and key, and the authority of other nodes, in one command, because the server
// refuses one without the other. It reads the files again even if their names are the same.
func renewCertificate(ctx context.Context, c *redis.Client, wanted []setting) error {
	command := []any{"CONFIG", "SET"}
	for _, s := range wanted {
		if slices.Contains(certified, s.name) {
			command = append(command, s.name, s.value())
		}
	}
	if len(command) == 2 {
		return nil
	}
	return c.Do(ctx, command...).Err()
}

// fewerClients matches the refusal of a number of clients for which the operating system lets the server open too few
// files, with the number that it would take.
var fewerClients = regexp.MustCompile(`not able to handle the specified number of clients, try with (\d+)`)

// set gives one setting the value that it would have after a restart. It reports immutable if only a restart can.
func set(ctx context.Context, c *redis.Client, s setting) (immutable bool, err error) {
	has, err := c.ConfigGet(ctx, s.name).Result()
	if err != nil || has[s.name] == s.value() {
		return false, err
	}
	err = c.ConfigSet(ctx, s.name, s.value()).Err()
	if err != nil {
		// As at a start: as many clients as the machine lets the server have files for.
		if match := fewerClients.FindStringSubmatch(err.Error()); match != nil {
			err = c.ConfigSet(ctx, s.name, match[1]).Err()
		}
	}
	if err != nil && strings.Contains(err.Error(), "can't set immutable config") {
		return true, nil
	}
	return false, err
}

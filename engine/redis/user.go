package redis

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/wait"
)

const operator = "operator"

// firstUsers returns the users.acl with which a new node starts.
func firstUsers(secret string) string {
	return "user default reset off\n" +
		"user " + operator + " reset on " + hashed(secret) + " ~* &* +@all\n"
}

// hashed returns a password as ACL rules take it: only its hash.
func hashed(password string) string { return fmt.Sprintf("#%x", sha256.Sum256([]byte(password))) }

// rules returns the ACL rules that make a user what u says, whatever it was before.
func rules(u engine.User) []string {
	allowed := mayAll
	if u.ReadOnly {
		allowed = mayRead
	}
	return append([]string{"reset", "on", hashed(u.Password.Reveal())}, allowed...)
}

// mayAll is what bindings may. Commands that administer the server are refused, and MIGRATE, which would make
// the server connect to wherever a tenant likes, and SCRIPT DEBUG, by which it would wait for one client alone.
// CLIENT LIST stays: pools look themselves up in it.
var mayAll = []string{
	"~*", "&*", "+@all", "-@admin", "-acl", "+acl|whoami", "-migrate", "-script|debug", "+client|list",
}

// mayRead is what read-only bindings may: to read every key, listen to every channel and ask about both.
// They may not publish: whoever listens acts on it. Keys are theirs to read alone, whatever command
// gets at them; counting a HyperLogLog notes the count in it, so that has a rule of its own.
var mayRead = []string{
	"%R~*", "&*", "+@read", "+@connection", "+@transaction", "+@pubsub", "-publish", "-spublish",
	"-@admin", "-@dangerous", "+keys", "+sort_ro", "+info", "+role", "+time", "+acl|whoami", "+client|list",
	"+eval_ro", "+evalsha_ro", "+script|exists", "+fcall_ro", "+function|list", "+function|dump",
	"(~* +pfcount)",
}

// userName matches the names that engine.User allows.
var userName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

func checkUser(name string) error {
	if !userName.MatchString(name) || slices.Contains([]string{operator, "default"}, name) {
		return backstay.Errorf(backstay.Invalid, "%q cannot be the name of a user.", name)
	}
	return nil
}

// LocalAdmin is the Unix socket in RunDir, where the operator logs in with the secret that lies beside the data.
func (Engine) LocalAdmin(n engine.Node) engine.Admin {
	a := engine.SocketAdmin(n, filepath.Join(n.RunDir, socketName), operator)
	a.Secret = func() (backstay.Secret, error) { return readSecret(n.DataDir) }
	a.Process = func() (*process.Process, error) { return server(n) }
	return a
}

// withOperator calls do with an administrator's connection to the running node, which it gets however many
// clients there are. It calls it again when a script has kept the server busy meanwhile, until ctx ends.
func withOperator(ctx context.Context, n engine.Node, do func(*redis.Client) error) error {
	c, err := operatorClient(n)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })() // a server that hangs holds up whoever reads from it
	err = enter(ctx, n, c, func() error { return do(c) })
	if err != nil && !isBusy(err) && ctx.Err() != nil {
		err = errors.Join(ctx.Err(), err)
	}
	return inWords(err)
}

// operatorClient waits as long as its caller: a server that runs a script answers late.
func operatorClient(n engine.Node) (*redis.Client, error) {
	secret, err := n.Admin.Secret()
	if err != nil {
		return nil, fmt.Errorf("read the operator's secret: %w", err)
	}
	return redis.NewClient(&redis.Options{
		Username: n.Admin.User, Password: secret.Reveal(),
		Dialer:     func(ctx context.Context, _, _ string) (net.Conn, error) { return n.Admin.Dial(ctx) },
		MaxRetries: -1, PoolSize: 1, DisableIndentity: true, ContextTimeoutEnabled: true, ReadTimeout: -1, WriteTimeout: -1,
	}), nil
}

// Probe pings the server as the operator. A server that is still reading its data answers that it is loading.
func (Engine) Probe(ctx context.Context, n engine.Node) error {
	err := withOperator(ctx, n, answers(ctx))
	if isBusy(err) {
		return backstay.Wrapf(err, backstay.Busy, "%s", backstay.SentenceOf(err))
	}
	return err
}

// CreateUser makes the ACL user, or gives an existing one this password and these rules. The server is told only the
// password's hash.
func (Engine) CreateUser(ctx context.Context, n engine.Node, u engine.User) (backstay.Credentials, error) {
	if err := checkUser(u.Name); err != nil {
		return nil, err
	}
	err := withOperator(ctx, n, func(c *redis.Client) error {
		args := []any{"ACL", "SETUSER", u.Name}
		for _, rule := range rules(u) {
			args = append(args, rule)
		}
		if err := c.Do(ctx, args...).Err(); err != nil {
			return err
		}
		return c.Do(ctx, "ACL", "SAVE").Err()
	})
	if err != nil {
		return nil, fmt.Errorf("create user %s: %w", u.Name, err)
	}
	return credentials(n, u), nil
}

// DropUser removes an ACL user; the server ends its sessions by itself. A user that keeps the server busy with one
// script after the other does not keep its place by that: the server is ended, which the keeper starts again, and
// the user is removed before it can come back.
func (Engine) DropUser(ctx context.Context, n engine.Node, name string) error {
	if err := checkUser(name); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, dropLimit)
	defer cancel()
	err := drop(limited, n, name)
	if isBusy(err) && ctx.Err() == nil {
		writeAndEnd(ctx, n)
		err = wait.Until(ctx, wait.Every(time.Millisecond), func() (again bool, err error) {
			err = drop(ctx, n, name)
			return isNoServer(err), err
		})
	}
	if err != nil {
		return fmt.Errorf("drop user %s: %w", name, err)
	}
	return nil
}

func drop(ctx context.Context, n engine.Node, name string) error {
	return withOperator(ctx, n, func(c *redis.Client) error {
		if err := c.Do(ctx, "ACL", "DELUSER", name).Err(); err != nil {
			return err
		}
		return c.Do(ctx, "ACL", "SAVE").Err()
	})
}

// credentials are what an app needs, with the keys of GOV.UK PaaS, the user's own name and the
// authority of our own.
func credentials(n engine.Node, u engine.User) backstay.Credentials {
	password := u.Password.Reveal()
	address := net.JoinHostPort(n.Endpoint.Host, strconv.Itoa(n.Endpoint.Port))
	uri := url.URL{Scheme: "rediss", User: url.UserPassword(u.Name, password), Host: address}
	return backstay.Credentials{
		"host": n.Endpoint.Host, "port": n.Endpoint.Port, "name": clusterID(n.Instance),
		"username": u.Name, "password": password, "tls_enabled": true, "uri": uri.String(),
		"ca_certificate": n.TLS.Authority,
	}
}

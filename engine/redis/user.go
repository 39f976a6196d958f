package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/wait"
)

const operator = "operator"

// noDefault is the line of users.acl that lets nobody in who names no user.
const noDefault = "user default reset off"

// firstUsers returns the users.acl with which a new node starts.
func firstUsers(secret string) string {
	return noDefault + "\n" +
		"user " + operator + " reset on " + hashed(secret) + " ~* &* +@all\n"
}

// userName matches the names that engine.User allows.
var userName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

func checkUser(name string) error {
	if !userName.MatchString(name) || !isFree(name) {
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
// clients there are. It calls it again when a script has kept the server busy meanwhile, until ctx ends, and once when
// the operator's password was another one by the time that it was tried.
func withOperator(ctx context.Context, n engine.Node, do func(*redis.Client) error) error {
	err := asOperator(ctx, n, do)
	if err != nil && strings.HasPrefix(err.Error(), "WRONGPASS") {
		err = asOperator(ctx, n, do)
	}
	return inWords(err)
}

func asOperator(ctx context.Context, n engine.Node, do func(*redis.Client) error) error {
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
	return err
}

// withUsers is withOperator for changes of users, one at a time: which passwords the nameless users have follows from
// all the others.
func withUsers(ctx context.Context, n engine.Node, do func(*redis.Client) error) (err error) {
	unlock, err := n.Admin.Lock(ctx)
	if err != nil {
		return inWords(err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	return withOperator(ctx, n, do)
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

// CreateUser makes the ACL user, or gives an existing one this password and these rules, and lets clients in that name
// no user. The server is told only the password's hash.
func (Engine) CreateUser(ctx context.Context, n engine.Node, u engine.User) (backstay.Credentials, error) {
	if err := checkUser(u.Name); err != nil {
		return nil, err
	}
	err := withUsers(ctx, n, func(c *redis.Client) error {
		if err := c.Do(ctx, setUser(u.Name, rules(u)...)...).Err(); err != nil {
			return err
		}
		return admitAndSave(ctx, c)
	})
	if err != nil {
		return nil, fmt.Errorf("create user %s: %w", u.Name, err)
	}
	return credentials(n, u), nil
}

// DropUser removes an ACL user; the server ends its sessions by itself. It ends those that named no user, too, if they
// may have used this one's password. A user that keeps the server busy with one script after the other does not keep
// its place by that: it is struck from the file of users and the server is ended, which the keeper starts again and
// which does not know the user then.
func (Engine) DropUser(ctx context.Context, n engine.Node, name string) error {
	if err := checkUser(name); err != nil {
		return err
	}
	err := drop(ctx, n, name)
	for isBusy(err) && ctx.Err() == nil { // again, if the server was too busy to hear that it is to end
		if err = strike(ctx, n, name); err != nil {
			break
		}
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

// drop is bounded by dropLimit.
func drop(ctx context.Context, n engine.Node, name string) error {
	ctx, cancel := context.WithTimeout(ctx, dropLimit)
	defer cancel()
	return withUsers(ctx, n, func(c *redis.Client) error {
		if err := c.Do(ctx, "ACL", "DELUSER", name).Err(); err != nil {
			return err
		}
		return admitAndSave(ctx, c)
	})
}

// strike removes a user from the file that the server reads when it starts, and the nameless users with it: they have
// the passwords of the other bindings again when they are admitted.
func strike(ctx context.Context, n engine.Node, name string) (err error) {
	unlock, err := n.Admin.Lock(ctx)
	if err != nil {
		return inWords(err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	users, err := readUsers(n.DataDir)
	if err != nil {
		return err
	}
	left := []string{noDefault}
	for line := range strings.Lines(users) {
		if fields := strings.Fields(line); len(fields) < 2 || fields[1] != name && !slices.Contains(nameless, fields[1]) {
			left = append(left, strings.TrimRight(line, "\n"))
		}
	}
	uid, gid := n.Account.IDs()
	return datadir.WriteFiles(n.DataDir, uid, gid, map[string]string{usersFile: strings.Join(left, "\n") + "\n"})
}

// credentials are what an app needs, with the keys of GOV.UK PaaS and the user's own name.
func credentials(n engine.Node, u engine.User) backstay.Credentials {
	password := u.Password.Reveal()
	address := net.JoinHostPort(n.Endpoint.Host, strconv.Itoa(n.Endpoint.Port))
	uri := url.URL{Scheme: "rediss", User: url.UserPassword(u.Name, password), Host: address}
	return n.WithAuthority(backstay.Credentials{
		"host": n.Endpoint.Host, "port": n.Endpoint.Port, "name": clusterID(n.Instance),
		"username": u.Name, "password": password, "tls_enabled": true, "uri": uri.String(),
	})
}

package mongodb

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/mongodb/front"
	"github.com/backstay/backstay/engine/pgserver"
	"github.com/backstay/backstay/internal/scram"
)

// userName matches the names that engine.User allows.
var userName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// notUsers are roles that this package makes, or that mean something else to PostgreSQL.
var notUsers = []string{admin, front.Writer, front.Reader, front.Role, front.Writes, front.Reads, front.Decoy,
	front.Driller, "postgres", "public", "none"}

func checkUser(name string) error {
	reserved := strings.HasPrefix(name, "pg_") || strings.HasPrefix(name, "documentdb_") ||
		slices.Contains(notUsers, name)
	if !userName.MatchString(name) || reserved {
		return backstay.Errorf(backstay.Invalid, "%q cannot be the name of a user.", name)
	}
	return nil
}

// CreateUser makes a role that nobody can log in to PostgreSQL as. DocumentDB compares its password, and the front
// knows by its membership where it may go. Sessions of a user that had another right end.
func (Engine) CreateUser(ctx context.Context, n engine.Node, u engine.User) (backstay.Credentials, error) {
	if err := checkUser(u.Name); err != nil {
		return nil, err
	}
	verifier, err := scram.Verifier(u.Password)
	if err != nil {
		return nil, err
	}
	right := front.Writes
	if u.ReadOnly {
		right = front.Reads
	}
	role := quoteName(u.Name)
	err = withUsers(ctx, n, func(conn *pgx.Conn) error {
		there, had, err := find(ctx, conn, u.Name)
		if err != nil {
			return err
		}
		statement := "CREATE ROLE " + role + " NOLOGIN PASSWORD '" + verifier + "' IN ROLE " + right
		if there {
			statement = "ALTER ROLE " + role + " NOLOGIN PASSWORD '" + verifier + "'; " +
				"REVOKE " + front.Writes + ", " + front.Reads + " FROM " + role + "; GRANT " + right + " TO " + role
		}
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
		if there && had != right {
			err = endSessions(ctx, conn, u.Name)
		}
		return cmp.Or(err, pgserver.InStep(ctx, conn, n))
	})
	if err != nil {
		return nil, fmt.Errorf("create role %s: %w", u.Name, err)
	}
	return credentials(n, u), nil
}

// DropUser drops the role, which owns nothing, and has the front end its connections. It does so also where there is no
// such role: an earlier call may have been interrupted in between.
func (Engine) DropUser(ctx context.Context, n engine.Node, name string) error {
	if err := checkUser(name); err != nil {
		return err
	}
	err := withUsers(ctx, n, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "DROP ROLE IF EXISTS "+quoteName(name)); err != nil {
			return err
		}
		return cmp.Or(endSessions(ctx, conn, name), pgserver.InStep(ctx, conn, n))
	})
	if err != nil {
		return fmt.Errorf("drop role %s: %w", name, err)
	}
	return nil
}

// withUsers is withAdmin for changes of users, one at a time.
func withUsers(ctx context.Context, n engine.Node, do func(*pgx.Conn) error) (err error) {
	unlock, err := n.Admin.Lock(ctx)
	if err != nil {
		return inWords(err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	return withAdmin(ctx, n, do)
}

// find looks for a user, and for the role that says what it may do.
func find(ctx context.Context, conn *pgx.Conn, name string) (there bool, right string, err error) {
	err = conn.QueryRow(ctx, "SELECT count(who) > 0, coalesce(min(may.rolname), '') FROM pg_roles who "+
		"LEFT JOIN pg_auth_members ON member = who.oid LEFT JOIN pg_roles may ON may.oid = roleid "+
		"WHERE who.rolname = $1", name).Scan(&there, &right)
	return there, right, err
}

// frontPatience is how long the front may take to end connections. It does so at once, unless it hangs.
const frontPatience = 10 * time.Second

// endSessions has the front end the connections of a user, and waits until it has. Where no front listens, there are no
// connections: it ends all of them when it loses PostgreSQL, and lets nobody in before it listens again.
func endSessions(ctx context.Context, conn *pgx.Conn, name string) error {
	ctx, cancel := context.WithTimeout(ctx, frontPatience)
	defer cancel()
	order := front.NewOrder(name)
	const give = "LISTEN " + front.Done + "; SELECT pg_notify('" + front.End + "', $1)"
	if _, err := conn.Exec(ctx, give, order.String()); err != nil {
		return err
	}
	for {
		waiting, stop := context.WithTimeout(ctx, 200*time.Millisecond)
		said, err := conn.WaitForNotification(waiting)
		stop()
		switch {
		case err == nil && said.Payload == order.String():
			return nil
		case err != nil && ctx.Err() != nil:
			return backstay.Wrapf(err, backstay.Unavailable, "The connections of the user could not be ended.")
		case err != nil && waiting.Err() == nil:
			return err
		case err != nil:
			if leads, _, err := isLed(ctx, conn); err != nil || !leads {
				return err
			}
		}
	}
}

// credentials are what an app needs, with the keys of the guide's system. Clients find the user in the database admin,
// and are not to try a write again by themselves: that takes sessions of a kind that FerretDB does not have.
func credentials(n engine.Node, u engine.User) backstay.Credentials {
	password := u.Password.Reveal()
	address := net.JoinHostPort(n.Endpoint.Host, strconv.Itoa(n.Endpoint.Port))
	query := url.Values{"authSource": {"admin"}, "tls": {"true"}, "retryWrites": {"false"}}
	uri := url.URL{Scheme: "mongodb", User: url.UserPassword(u.Name, password), Host: address, Path: "/" + appDatabase,
		RawQuery: query.Encode()}
	c := backstay.Credentials{
		"host": n.Endpoint.Host, "port": n.Endpoint.Port, "hosts": []string{address}, "name": appDatabase,
		"username": u.Name, "password": password, "auth_source": "admin", "uri": uri.String(),
	}
	if n.TLS.Authority != "" {
		c["ca_certificate_base64"] = base64.StdEncoding.EncodeToString([]byte(n.TLS.Authority))
	}
	return n.WithAuthority(c)
}

// appDatabase is the one that clients use who name none. It is made with the first thing that is kept in it.
const appDatabase = "main"

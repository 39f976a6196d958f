package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// userName is what engine.User allows; roles that PostgreSQL or this package makes are not users.
var userName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

func checkUser(name string) error {
	if !userName.MatchString(name) || strings.HasPrefix(name, "pg_") || slices.Contains([]string{admin, owner, reader, "public", "none"}, name) {
		return backstay.Errorf(backstay.Invalid, "%q cannot be the name of a user.", name)
	}
	return nil
}

// CreateUser makes a role that logs in with the password, and is owner from its first statement on or,
// if it may only read, never.
// The server never sees the password, only what proves that a client has it.
func (Engine) CreateUser(ctx context.Context, n engine.Node, u engine.User) (backstay.Credentials, error) {
	if err := checkUser(u.Name); err != nil {
		return nil, err
	}
	verifier, err := scramVerifier(u.Password)
	if err != nil {
		return nil, err
	}
	err = withRoles(ctx, n, func(conn *pgx.Conn) error {
		if err := dropKept(ctx, conn, u.Name); err != nil {
			return err
		}
		_, err := conn.Exec(ctx, createRole(u, verifier))
		if isState(err, pgerrcode.DuplicateObject) {
			_, err = conn.Exec(ctx, resetRole(u, verifier))
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("create role %s: %w", u.Name, err)
	}
	return credentials(n, u), nil
}

// createRole is one transaction, as all statements in one message are.
func createRole(u engine.User, verifier string) string {
	return "CREATE ROLE " + quoteName(u.Name) + "; " + shapeRole(u, verifier) + keepVerifier(u, verifier)
}

// lockRoles begins a transaction that changes a role which may be changing itself: PostgreSQL fails one of the two.
const lockRoles = "LOCK TABLE pg_authid, pg_db_role_setting IN SHARE ROW EXCLUSIVE MODE; "

// resetRole makes an existing role what createRole would have made it, whatever it has done to itself.
func resetRole(u engine.User, verifier string) string {
	return lockRoles + "REVOKE " + owner + ", " + reader + " FROM " + quoteName(u.Name) + "; " + shapeRole(u, verifier) + keepVerifier(u, verifier)
}

func shapeRole(u engine.User, verifier string) string {
	role := quoteName(u.Name)
	shape := "ALTER ROLE " + role + " LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD " + quoteText(verifier) + "; " +
		forgetSettings(role)
	if u.ReadOnly {
		return shape + shapeReader(role)
	}
	return shape + "ALTER ROLE " + role + " NOINHERIT NOBYPASSRLS; " +
		"ALTER ROLE " + role + " IN DATABASE " + database + " SET role = " + quoteText(owner) + "; " +
		"GRANT " + owner + " TO " + role + "; " +
		"GRANT CONNECT ON DATABASE " + database + " TO " + role
}

// forgetSettings: a role may have some for databases too, one that it cannot enter not excepted.
func forgetSettings(role string) string {
	return "ALTER ROLE " + role + " RESET ALL; " +
		"ALTER ROLE " + role + " IN DATABASE " + database + " RESET ALL; " +
		"ALTER ROLE " + role + " IN DATABASE template0 RESET ALL; "
}

// DropUser ends a role and its sessions. What the role owns in its own name, because a client left
// owner behind with SET ROLE NONE, goes to owner; what was granted to it is revoked.
func (Engine) DropUser(ctx context.Context, n engine.Node, name string) error {
	if err := checkUser(name); err != nil {
		return err
	}
	err := withRoles(ctx, n, func(conn *pgx.Conn) error {
		var id uint32
		err := conn.QueryRow(ctx, "SELECT oid FROM pg_roles WHERE rolname = $1", name).Scan(&id)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		return dropRole(ctx, conn, name, id)
	})
	if err != nil {
		return fmt.Errorf("drop role %s: %w", name, err)
	}
	return nil
}

func dropRole(ctx context.Context, conn *pgx.Conn, name string, id uint32) error {
	role := quoteName(name)
	if _, err := conn.Exec(ctx, lockRoles+"ALTER ROLE "+role+" NOLOGIN"); err != nil {
		return err
	}
	if err := errors.Join(endSessions(ctx, conn, id), dropKept(ctx, conn, name)); err != nil {
		return err
	}
	_, err := conn.Exec(ctx, "REASSIGN OWNED BY "+role+" TO "+owner+"; DROP OWNED BY "+role+"; DROP ROLE "+role)
	if err != nil && !isState(err, pgerrcode.UndefinedObject) {
		return err
	}
	return endSessions(ctx, conn, id) // one that was about to begin could not be seen before
}

// endSessions ends the sessions that a role has begun, and waits until they have ended.
func endSessions(ctx context.Context, conn *pgx.Conn, id uint32) error {
	for {
		var count int
		err := conn.QueryRow(ctx, `SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE usesysid = $1`, id).Scan(&count)
		if err != nil || count == 0 {
			return err
		}
	}
}

// credentials are what an app needs, with the keys of GOV.UK PaaS and the authority of our own.
func credentials(n engine.Node, u engine.User) backstay.Credentials {
	host, password := n.Endpoint.Host, u.Password.Reveal()
	address := net.JoinHostPort(host, strconv.Itoa(n.Endpoint.Port))
	uri := url.URL{Scheme: "postgres", User: url.UserPassword(u.Name, password), Host: address, Path: "/" + database}
	query := url.Values{"user": {u.Name}, "password": {password}, "ssl": {"true"}}
	return backstay.Credentials{
		"host": host, "port": n.Endpoint.Port, "name": database, "username": u.Name, "password": password,
		"uri": uri.String(), "jdbcuri": "jdbc:postgresql://" + address + "/" + database + "?" + query.Encode(),
		"ca_certificate": n.TLS.Authority,
	}
}

func isState(err error, state string) bool {
	var refusal *pgconn.PgError
	return errors.As(err, &refusal) && refusal.Code == state
}

package postgres

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/pgserver"
	"github.com/backstay/backstay/internal/scram"
)

// userName matches the names that engine.User allows.
var userName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// notUsers are names of roles that this package makes, that servers have which others run (see Establish), or that mean
// something else to PostgreSQL.
var notUsers = []string{admin, owner, reader, "postgres", "streaming_replica", "public", "none"}

func checkUser(name string) error {
	if !userName.MatchString(name) || strings.HasPrefix(name, "pg_") || slices.Contains(notUsers, name) {
		return backstay.Errorf(backstay.Invalid, "%q cannot be the name of a user.", name)
	}
	return nil
}

// CreateUser makes a role that logs in with the password. The role becomes owner with its first statement, unless
// it may only read. The server is never told the password, only the verifier that proves that a client knows it.
func (Engine) CreateUser(ctx context.Context, n engine.Node, u engine.User) (backstay.Credentials, error) {
	if err := checkUser(u.Name); err != nil {
		return nil, err
	}
	verifier, err := scram.Verifier(u.Password)
	if err != nil {
		return nil, err
	}
	err = withPriority(ctx, n, func(conn *pgx.Conn) error {
		err := changeRoles(ctx, conn, func(tx pgx.Tx) error { return createRole(ctx, tx, u, verifier) })
		return cmp.Or(err, pgserver.InStep(ctx, conn, n))
	})
	if err != nil {
		return nil, fmt.Errorf("create role %s: %w", u.Name, err)
	}
	return credentials(n, u), nil
}

// createRole makes the role. A role that exists becomes the same as a new one, whatever it has changed of itself.
func createRole(ctx context.Context, tx pgx.Tx, u engine.User, verifier string) error {
	if err := dropKept(ctx, tx, u.Name); err != nil {
		return err
	}
	id, err := roleID(ctx, tx, u.Name)
	if err != nil {
		return err
	}
	begin := "CREATE ROLE " + quoteName(u.Name) + "; "
	if id != 0 {
		begin = "REVOKE " + owner + ", " + reader + " FROM " + quoteName(u.Name) + "; "
	}
	_, err = tx.Exec(ctx, begin+shapeRole(u, verifier)+keepVerifier(u, verifier))
	return err
}

// roleID returns the id of a role, or 0 if there is no such role.
func roleID(ctx context.Context, tx pgx.Tx, name string) (id uint32, err error) {
	err = tx.QueryRow(ctx, "SELECT coalesce(max(oid::bigint), 0) FROM pg_roles WHERE rolname = $1", name).Scan(&id)
	return id, err
}

// shapeRole returns the statements that give a role its password, its rights and its settings.
func shapeRole(u engine.User, verifier string) string {
	role := quoteName(u.Name)
	shape := "ALTER ROLE " + role + " LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION " +
		"PASSWORD " + quoteText(verifier) + "; " + forgetSettings(role)
	if u.ReadOnly {
		return shape + shapeReader(role)
	}
	return shape + "ALTER ROLE " + role + " NOINHERIT NOBYPASSRLS; " +
		"ALTER ROLE " + role + " IN DATABASE " + database + " SET role = " + quoteText(owner) + "; " +
		"GRANT " + owner + " TO " + role + "; " +
		"GRANT CONNECT ON DATABASE " + database + " TO " + role
}

// forgetSettings returns the statements that take a role's settings from it, also those for single databases. A
// role can make some even for template0, which it cannot enter.
func forgetSettings(role string) string {
	return "ALTER ROLE " + role + " RESET ALL; " +
		"ALTER ROLE " + role + " IN DATABASE " + database + " RESET ALL; " +
		"ALTER ROLE " + role + " IN DATABASE template0 RESET ALL; "
}

// DropUser drops a role and ends its sessions. It first sees to it that nobody can log in as the role any more, so
// that the role cannot delay the rest. What the role owns in its own name, because a client has said SET ROLE NONE,
// goes to owner. What was granted to the role is revoked.
func (Engine) DropUser(ctx context.Context, n engine.Node, name string) error {
	if err := checkUser(name); err != nil {
		return err
	}
	err := withPriority(ctx, n, func(conn *pgx.Conn) error {
		id, err := closeRole(ctx, conn, name)
		if err != nil || id == 0 {
			return cmp.Or(err, pgserver.InStep(ctx, conn, n)) // an earlier call may have dropped it a moment ago
		}
		if err := endSessions(ctx, conn, id); err != nil {
			return err
		}
		if err := handOver(ctx, conn, id); err != nil {
			return err
		}
		err = changeRoles(ctx, conn, func(tx pgx.Tx) error { return dropRole(ctx, tx, name) })
		if err != nil {
			return err
		}
		err = endSessions(ctx, conn, id) // those that were just beginning when we looked before
		return cmp.Or(err, pgserver.InStep(ctx, conn, n))
	})
	if err != nil {
		return fmt.Errorf("drop role %s: %w", name, err)
	}
	return nil
}

// closeRole keeps everybody from logging in as the role. It returns the role's id, or 0 if there is no such role.
func closeRole(ctx context.Context, conn *pgx.Conn, name string) (id uint32, err error) {
	err = changeRoles(ctx, conn, func(tx pgx.Tx) error {
		if id, err = roleID(ctx, tx, name); err != nil || id == 0 {
			return err
		}
		_, err = tx.Exec(ctx, "ALTER ROLE "+quoteName(name)+" NOLOGIN")
		return err
	})
	return id, err
}

// handOver gives the role's relations to owner and takes the role out of policies. It does so in portions, because one
// transaction for everything could need more locks than the server has room for.
func handOver(ctx context.Context, conn *pgx.Conn, id uint32) error {
	for _, portion := range []string{relationsOfRole, policiesOfRole} {
		for more := true; more; {
			err := again(func() error {
				var statements *string
				err := conn.QueryRow(ctx, portion, id).Scan(&statements)
				if more = err == nil && statements != nil; more {
					_, err = conn.Exec(ctx, *statements)
				}
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

const (
	// relationsOfRole returns the statements for a portion of the relations. Sequences of columns are left out: they
	// go with their tables.
	relationsOfRole = `SELECT string_agg(format('ALTER TABLE %s OWNER TO ` + owner + `', relation), '; ')
FROM (SELECT oid::regclass AS relation FROM pg_class c
    WHERE relowner = $1 AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    AND NOT EXISTS (SELECT FROM pg_depend WHERE c.relkind = 'S' AND objid = c.oid AND deptype IN ('a', 'i')
        AND (classid, refclassid) = ('pg_class'::regclass, 'pg_class'::regclass)) LIMIT 200) AS portion`

	// policiesOfRole returns the statements for a portion of the policies. A policy for the role alone is dropped, as
	// DROP OWNED would drop it.
	policiesOfRole = `SELECT string_agg(CASE WHEN others IS NULL THEN format('DROP POLICY %I ON %s', polname, relation)
    ELSE format('ALTER POLICY %I ON %s TO %s', polname, relation, others) END, '; ')
FROM (SELECT polname, polrelid::regclass AS relation,
        (SELECT string_agg(quote_ident(rolname), ', ') FROM pg_roles
            WHERE oid = ANY (polroles) AND oid <> $1) AS others
    FROM pg_policy WHERE $1 = ANY (polroles) LIMIT 200) AS portion`
)

// dropRole drops the role and its verifier's role, unless another call has done so meanwhile.
func dropRole(ctx context.Context, tx pgx.Tx, name string) error {
	if err := dropKept(ctx, tx, name); err != nil {
		return err
	}
	id, err := roleID(ctx, tx, name)
	if err != nil || id == 0 {
		return err
	}
	role := quoteName(name)
	_, err = tx.Exec(ctx, "REASSIGN OWNED BY "+role+" TO "+owner+"; DROP OWNED BY "+role+"; DROP ROLE "+role)
	return err
}

const terminateSessions = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE usesysid = $1"

// endSessions ends the sessions that a role has begun, and waits until they have ended.
func endSessions(ctx context.Context, conn *pgx.Conn, id uint32) error {
	for {
		var count int
		err := conn.QueryRow(ctx, terminateSessions, id).Scan(&count)
		if err != nil || count == 0 {
			return err
		}
	}
}

// credentials are what an app needs, with the keys of GOV.UK PaaS.
func credentials(n engine.Node, u engine.User) backstay.Credentials {
	host, password := n.Endpoint.Host, u.Password.Reveal()
	address := net.JoinHostPort(host, strconv.Itoa(n.Endpoint.Port))
	uri := url.URL{Scheme: "postgres", User: url.UserPassword(u.Name, password), Host: address, Path: "/" + database}
	query := url.Values{"user": {u.Name}, "password": {password}, "ssl": {"true"}}
	if n.TLS.Authority == "" { // else this driver verifies by a file that nobody has
		query.Set("sslfactory", "org.postgresql.ssl.DefaultJavaSSLFactory")
	}
	return n.WithAuthority(backstay.Credentials{
		"host": host, "port": n.Endpoint.Port, "name": database, "username": u.Name, "password": password,
		"uri": uri.String(), "jdbcuri": "jdbc:postgresql://" + address + "/" + database + "?" + query.Encode(),
	})
}

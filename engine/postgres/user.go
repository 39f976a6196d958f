package postgres

import (
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
	err = withPriority(ctx, n, func(conn *pgx.Conn) error {
		return changeRoles(ctx, conn, func(tx pgx.Tx) error { return createRole(ctx, tx, u, verifier) })
	})
	if err != nil {
		return nil, fmt.Errorf("create role %s: %w", u.Name, err)
	}
	return credentials(n, u), nil
}

// createRole makes the role, or an existing one what it would have made, whatever that has done to itself.
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

// roleID is 0 if there is no such role.
func roleID(ctx context.Context, tx pgx.Tx, name string) (id uint32, err error) {
	err = tx.QueryRow(ctx, "SELECT coalesce(max(oid::bigint), 0) FROM pg_roles WHERE rolname = $1", name).Scan(&id)
	return id, err
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

// DropUser ends a role and its sessions. First nobody can log in as it any more, so that it cannot be in the way of the
// rest. What the role owns in its own name, because a client left owner behind with SET ROLE NONE, goes
// to owner; what was granted to it is revoked.
func (Engine) DropUser(ctx context.Context, n engine.Node, name string) error {
	if err := checkUser(name); err != nil {
		return err
	}
	err := withPriority(ctx, n, func(conn *pgx.Conn) error {
		id, err := closeRole(ctx, conn, name)
		if err != nil || id == 0 {
			return err
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
		return endSessions(ctx, conn, id) // one that was about to begin could not be seen before
	})
	if err != nil {
		return fmt.Errorf("drop role %s: %w", name, err)
	}
	return nil
}

// closeRole lets nobody log in as the role any more. Its id is 0 if there is none.
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

// handOver does in portions what would take more locks than the server has room for in one transaction: it gives
// the role's relations to owner, and takes the role out of policies.
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
	// relationsOfRole leaves sequences of columns out, which go with their tables.
	relationsOfRole = `SELECT string_agg(format('ALTER TABLE %s OWNER TO ` + owner + `', relation), '; ')
FROM (SELECT oid::regclass AS relation FROM pg_class c WHERE relowner = $1 AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    AND NOT EXISTS (SELECT FROM pg_depend WHERE c.relkind = 'S' AND objid = c.oid AND deptype IN ('a', 'i')
        AND (classid, refclassid) = ('pg_class'::regclass, 'pg_class'::regclass)) LIMIT 200) AS portion`

	// policiesOfRole drops those that are for the role alone, as DROP OWNED does.
	policiesOfRole = `SELECT string_agg(CASE WHEN others IS NULL THEN format('DROP POLICY %I ON %s', polname, relation)
    ELSE format('ALTER POLICY %I ON %s TO %s', polname, relation, others) END, '; ')
FROM (SELECT polname, polrelid::regclass AS relation,
        (SELECT string_agg(quote_ident(rolname), ', ') FROM pg_roles WHERE oid = ANY (polroles) AND oid <> $1) AS others
    FROM pg_policy WHERE $1 = ANY (polroles) LIMIT 200) AS portion`
)

// dropRole drops it with what is kept of it, unless another call has done so meanwhile.
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

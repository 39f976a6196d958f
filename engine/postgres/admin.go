package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// AdminDSN addresses the database of a node for its administrator, over the Unix socket in runDir.
// Port 0 is that of a node without an endpoint.
func AdminDSN(runDir string, port int) string {
	query := url.Values{"host": {runDir}, "port": {strconv.Itoa(cmp.Or(port, defaultPort))}, "user": {admin}, "sslmode": {"disable"}}
	return "postgres:///" + database + "?" + query.Encode()
}

// withAdmin calls do with an administrator's connection to the running node.
func withAdmin(ctx context.Context, n engine.Node, do func(*pgx.Conn) error) error {
	cfg, err := pgx.ParseConfig(AdminDSN(n.RunDir, n.Endpoint.Port))
	if err != nil {
		return fmt.Errorf("parse address of node: %w", err)
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol // each statement is run once
	cfg.RuntimeParams["lock_timeout"] = "10s"                  // clients may hold what we want for as long as they like
	cfg.RuntimeParams["search_path"] = "pg_catalog"            // theirs is not ours
	conn, err := connect(ctx, cfg)
	if err != nil {
		return backstay.Wrapf(err, backstay.Unavailable, "The database does not answer.")
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return do(conn)
}

// connect tries again while clients at the door hold even what is kept free for the administrator: they are
// turned away as soon as they have said who they are.
func connect(ctx context.Context, cfg *pgx.ConnConfig) (*pgx.Conn, error) {
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := pgx.ConnectConfig(ctx, cfg)
		if !isTooManyConnections(err) || time.Now().After(deadline) {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func isTooManyConnections(err error) bool {
	var refusal *pgconn.PgError
	return errors.As(err, &refusal) && refusal.Code == "53300"
}

// rolesLock is an advisory lock that nobody would take by accident.
const rolesLock = 0x6261636b73746179

// withRoles is withAdmin for one at a time: PostgreSQL fails one of two that change the same role, or
// the same object's access list, at once.
func withRoles(ctx context.Context, n engine.Node, do func(*pgx.Conn) error) error {
	return withAdmin(ctx, n, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(rolesLock)); err != nil {
			return err
		}
		return do(conn) // the lock goes with the connection
	})
}

// Probe asks whether the node serves. What admits the administrator admits clients: there is no
// state of the server in which the one holds and not the other.
func (Engine) Probe(ctx context.Context, n engine.Node) error {
	return withAdmin(ctx, n, func(*pgx.Conn) error { return nil })
}

// Configure creates the extensions that the settings ask for.
func (Engine) Configure(ctx context.Context, n engine.Node) error {
	s, err := parseSettings(n)
	if err != nil || len(s.EnableExtensions) == 0 {
		return err
	}
	return withAdmin(ctx, n, func(conn *pgx.Conn) error {
		for _, name := range s.EnableExtensions {
			_, err := conn.Exec(ctx, "CREATE EXTENSION IF NOT EXISTS "+quoteName(name)+" SCHEMA public CASCADE")
			if err != nil {
				return backstay.Wrapf(err, backstay.Unavailable, "The extension %s cannot be created.", name)
			}
		}
		return nil
	})
}

// quoteName writes a name as SQL takes it, whatever is in it.
func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// quoteText writes a string literal that means the same under every setting of the server.
func quoteText(text string) string {
	quoted := "'" + strings.ReplaceAll(text, "'", "''") + "'"
	if strings.Contains(text, `\`) {
		return " E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}

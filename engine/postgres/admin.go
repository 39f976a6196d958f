package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/wait"
)

// AdminDSN addresses the database of a node for its administrator, over the Unix socket in runDir.
// Port 0 is that of a node that listens for nobody.
func AdminDSN(runDir string, port int) string {
	port = cmp.Or(port, defaultPort)
	query := url.Values{"host": {runDir}, "port": {strconv.Itoa(port)}, "user": {admin}, "sslmode": {"disable"}}
	return "postgres:///" + database + "?" + query.Encode()
}

// LocalAdmin comes in over the Unix socket in RunDir, by whose other end the server knows the operator.
func (Engine) LocalAdmin(n engine.Node) engine.Admin {
	port := cmp.Or(n.Port(engine.ClientPort).Number, defaultPort)
	a := engine.SocketAdmin(n, filepath.Join(n.RunDir, ".s.PGSQL."+strconv.Itoa(port)), admin)
	a.Mark = func() (string, error) { return logMark(n.DataDir) }
	return a
}

// adminConfig is of a connection that n.Admin makes: what the address in it says is never looked at.
func adminConfig(n engine.Node) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(AdminDSN("/", 0))
	if err != nil {
		return nil, err
	}
	cfg.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { return n.Admin.Dial(ctx) }
	cfg.User = n.Admin.User
	if n.Admin.Secret != nil {
		secret, err := n.Admin.Secret()
		if err != nil {
			return nil, err
		}
		cfg.Password = secret.Reveal()
	}
	return cfg, nil
}

// withAdmin calls do with an administrator's connection to the running node.
func withAdmin(ctx context.Context, n engine.Node, do func(*pgx.Conn) error) error {
	cfg, err := adminConfig(n)
	if err != nil {
		return fmt.Errorf("find the way in to the node: %w", err)
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
func connect(ctx context.Context, cfg *pgx.ConnConfig) (conn *pgx.Conn, err error) {
	patience := time.Now().Add(10 * time.Second)
	err = wait.Until(ctx, wait.Every(5*time.Millisecond), func() (again bool, err error) {
		conn, err = pgx.ConnectConfig(ctx, cfg)
		return isTooManyConnections(err) && time.Now().Before(patience), err
	})
	return conn, err
}

func isTooManyConnections(err error) bool {
	var refusal *pgconn.PgError
	return errors.As(err, &refusal) && refusal.Code == "53300"
}

// Probe asks whether the node serves. What admits the administrator admits clients: there is no
// state of the server in which the one holds and not the other.
func (Engine) Probe(ctx context.Context, n engine.Node) error {
	return withAdmin(ctx, n, func(*pgx.Conn) error { return nil })
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

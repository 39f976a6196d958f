package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/wait"
)

// LocalAdmin is the Unix socket in RunDir. The server learns from the operating system that the operator has
// connected.
func (Engine) LocalAdmin(n engine.Node) engine.Admin {
	return engine.SocketAdmin(n, filepath.Join(n.RunDir, socketName), n.Operator)
}

// adminConfig configures the driver to connect by n.Admin. It ignores the address; the network "unix" tells it that
// the connection needs no TLS.
func adminConfig(n engine.Node) (*mysql.Config, error) {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User = "unix", "admin", n.Admin.User
	cfg.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { return n.Admin.Dial(ctx) }
	if n.Admin.Secret != nil {
		secret, err := n.Admin.Secret()
		if err != nil {
			return nil, err
		}
		cfg.Passwd = secret.Reveal()
	}
	cfg.Logger = &mysql.NopLogger{} // who asked is told
	cfg.Params = map[string]string{
		"lock_wait_timeout": "10", // clients may hold what we want for as long as they like
		"sql_mode":          "'STRICT_ALL_TABLES'",
	}
	return cfg, nil
}

// withAdmin calls do with an administrator's connection to the running node.
func withAdmin(ctx context.Context, n engine.Node, do func(*sql.Conn) error) (err error) {
	cfg, err := adminConfig(n)
	if err != nil {
		return fmt.Errorf("find the way in to the node: %w", err)
	}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return fmt.Errorf("address of node: %w", err)
	}
	db := sql.OpenDB(connector)
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := connect(ctx, db)
	if err != nil {
		return inWords(err)
	}
	defer conn.Close()
	if err := run(ctx, conn, mayWrite); err != nil {
		return inWords(err)
	}
	return inWords(do(conn))
}

// connect tries again for ten seconds while the server has too many connections. Clients that have not logged in yet
// can take even the places that are kept free for the administrator; they lose them as soon as they log in.
func connect(ctx context.Context, db *sql.DB) (conn *sql.Conn, err error) {
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err = wait.Until(limited, wait.Every(5*time.Millisecond), func() (again bool, err error) {
		conn, err = db.Conn(ctx)
		return isNumber(err, tooManyConnections), err
	})
	return conn, err
}

// withAccounts is withAdmin for changes of accounts, one at a time. The server's own locks would not do: clients can
// hold them.
func withAccounts(ctx context.Context, n engine.Node, do func(*sql.Conn) error) (err error) {
	unlock, err := n.Admin.Lock(ctx)
	if err != nil {
		return inWords(err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	return withAdmin(ctx, n, do)
}

// Probe connects as the administrator and asks for an answer. The server lets nobody in before it has run its start
// file.
func (Engine) Probe(ctx context.Context, n engine.Node) error {
	return withAdmin(ctx, n, func(conn *sql.Conn) error { return conn.PingContext(ctx) })
}

// run executes statements one after the other, and stops at the first error.
func run(ctx context.Context, conn *sql.Conn, statements ...string) error {
	for _, s := range statements {
		if _, err := conn.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// column returns the values of a query that has one column.
func column(ctx context.Context, conn *sql.Conn, query string) (values []string, err error) {
	rows, err := conn.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, rows.Err()
}

// quoteText writes a text as a string literal of SQL. It relies on backslashes being escapes, as they are in all
// sessions of the administrator.
func quoteText(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(text) + "'"
}

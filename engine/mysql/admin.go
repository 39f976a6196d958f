package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// Numbers of the server's errors.
const (
	tooManyConnections = 1040
	noSuchThread       = 1094
)

// AdminDSN addresses a node for its administrator, over the Unix socket in its RunDir.
func AdminDSN(n engine.Node) string { return adminConfig(n).FormatDSN() }

func adminConfig(n engine.Node) *mysql.Config {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User = "unix", filepath.Join(n.RunDir, socketName), n.Operator
	cfg.Params = map[string]string{
		"lock_wait_timeout": "10", // clients may hold what we want for as long as they like
		"sql_mode":          "'STRICT_ALL_TABLES'",
	}
	return cfg
}

// withAdmin calls do with an administrator's connection to the running node.
func withAdmin(ctx context.Context, n engine.Node, do func(*sql.Conn) error) (err error) {
	cfg := adminConfig(n)
	cfg.Logger = &mysql.NopLogger{} // who asked is told
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return fmt.Errorf("address of node: %w", err)
	}
	db := sql.OpenDB(connector)
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := connect(ctx, db)
	if err != nil {
		return backstay.Wrapf(err, backstay.Unavailable, "The database does not answer.")
	}
	defer conn.Close()
	return do(conn)
}

// connect tries again while clients at the door hold even what is kept free for the administrator:
// they are turned away as soon as they have said who they are.
func connect(ctx context.Context, db *sql.DB) (*sql.Conn, error) {
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := db.Conn(ctx)
		if !isNumber(err, tooManyConnections) || time.Now().After(deadline) {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// withAccounts is withAdmin for one at a time. The lock is the operating system's, which no client can
// hold: those of the server are for all.
func withAccounts(ctx context.Context, n engine.Node, do func(*sql.Conn) error) error {
	dir, err := os.Open(n.DataDir)
	if err != nil {
		return err
	}
	defer dir.Close() // and the lock goes with it
	if err := lock(ctx, dir); err != nil {
		return err
	}
	return withAdmin(ctx, n, do)
}

func lock(ctx context.Context, f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// Probe asks whether the node serves. The server admits nobody before it has run its start file.
func (Engine) Probe(ctx context.Context, n engine.Node) error {
	return withAdmin(ctx, n, func(conn *sql.Conn) error { return conn.PingContext(ctx) })
}

// run executes statements, one after the other.
func run(ctx context.Context, conn *sql.Conn, statements ...string) error {
	for _, s := range statements {
		if _, err := conn.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// column reads a query's only column.
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

// quoteText writes a string literal that means the same while backslashes escape, as they do in all
// sessions of ours.
func quoteText(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(text) + "'"
}

func isNumber(err error, number uint16) bool {
	var refusal *mysql.MySQLError
	return errors.As(err, &refusal) && refusal.Number == number
}

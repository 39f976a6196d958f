package pgserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/wait"
)

// adminConfig configures the driver to connect by n.Admin. The driver then ignores the address.
func adminConfig(n engine.Node) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig("postgres:///?host=/&sslmode=disable")
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

// administrators are the settings of the administrator's sessions, in the place of those that users choose for all.
// What the administrator commits waits for this node's disk alone: a session that waits for a standby holds its locks,
// and does so for ever if the standby hangs. Where it matters, the engine has what has committed waited for afterwards.
var administrators = map[string]string{
	"search_path": "pg_catalog", "statement_timeout": "0", "idle_in_transaction_session_timeout": "0",
	"default_transaction_read_only": "off", "temp_file_limit": "-1",
	"default_transaction_isolation": "read committed", "synchronous_commit": "local",
	"timezone": "UTC", "datestyle": "ISO, MDY", "intervalstyle": "postgres", "bytea_output": "hex",
}

// WithAdmin calls do with an administrator's connection to a database of the running node.
func WithAdmin(ctx context.Context, n engine.Node, name string, do func(*pgx.Conn) error) error {
	cfg, err := adminConfig(n)
	if err != nil {
		return fmt.Errorf("find the way in to the node: %w", err)
	}
	cfg.Database = name
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol // each statement is run once
	cfg.RuntimeParams["lock_timeout"] = "10s"                  // clients may hold what we want for as long as they like
	for name, value := range administrators {
		cfg.RuntimeParams[name] = value
	}
	conn, err := connect(ctx, cfg)
	switch {
	case IsOutOfLocks(err):
		return backstay.Wrapf(err, backstay.Unavailable,
			"Clients hold all the locks that the server has room for: nobody can log in.")
	case isDamage(err):
		return backstay.Wrapf(errors.Join(engine.ErrDamaged, err), backstay.Unavailable,
			"The database lets nobody in, as its data is damaged or cannot be read: %s.", refusalOf(err).Message)
	case err != nil:
		return backstay.Wrapf(err, backstay.Unavailable, "The database does not answer.")
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return do(conn)
}

// connect tries again for ten seconds while the server has too many connections, or no room for another lock. Clients
// that have not logged in yet can take even the places that are kept free for the administrator; they lose them as soon
// as they log in. Locks are held as long as their sessions like.
func connect(ctx context.Context, cfg *pgx.ConnConfig) (conn *pgx.Conn, err error) {
	var full error
	patience := time.Now().Add(10 * time.Second)
	err = wait.Until(ctx, wait.Every(5*time.Millisecond), func() (again bool, err error) {
		conn, err = pgx.ConnectConfig(ctx, cfg)
		if again = isTooManyConnections(err) || IsOutOfLocks(err); again {
			full = err
		}
		return again && time.Now().Before(patience), err
	})
	if err != nil && ctx.Err() != nil && full != nil {
		return nil, full // an answer says more than that the time was over before the next one
	}
	return conn, err
}

func isTooManyConnections(err error) bool {
	var refusal *pgconn.PgError
	return errors.As(err, &refusal) && refusal.Code == pgerrcode.TooManyConnections
}

// IsOutOfLocks tells whether the server's table of locks, which all sessions share, had no room for another lock.
func IsOutOfLocks(err error) bool {
	var refusal *pgconn.PgError
	return errors.As(err, &refusal) && refusal.Code == pgerrcode.OutOfMemory && refusal.Message == "out of shared memory"
}

// isDamage tells whether the server refuses a login because it cannot read its data: for an internal error, as of data
// that is corrupt, or an error of the system, as of a file that is missing. What there is too little of, such as room,
// has codes of its own.
func isDamage(err error) bool {
	refusal := refusalOf(err)
	if refusal == nil || refusal.SeverityUnlocalized != "FATAL" && refusal.SeverityUnlocalized != "PANIC" {
		return false
	}
	return pgerrcode.IsInternalError(refusal.Code) || pgerrcode.IsSystemError(refusal.Code) ||
		refusal.Code == pgerrcode.InvalidCatalogName && strings.HasPrefix(refusal.Detail, "The database subdirectory ")
}

// refusalOf is what the server has answered; nil: it has not.
func refusalOf(err error) (refusal *pgconn.PgError) {
	errors.As(err, &refusal)
	return refusal
}

// IsFollowing tells whether the server follows another one, or replays what it has logged itself.
func IsFollowing(ctx context.Context, conn *pgx.Conn) (follows bool, err error) {
	err = conn.QueryRow(ctx, "SELECT pg_is_in_recovery()").Scan(&follows)
	return follows, err
}

// Checkpoint has the server write what it has changed, a number of times.
func Checkpoint(ctx context.Context, conn *pgx.Conn, times int) error {
	for range times {
		if _, err := conn.Exec(ctx, "CHECKPOINT"); err != nil {
			return err
		}
	}
	return nil
}

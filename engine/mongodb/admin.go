package mongodb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// LocalAdmin is PostgreSQL's Unix socket in RunDir. The server learns from the operating system that the operator has
// connected.
func (Engine) LocalAdmin(n engine.Node) engine.Admin {
	return engine.SocketAdmin(n, filepath.Join(n.RunDir, ".s.PGSQL.5432"), admin)
}

// withAdmin calls do with an administrator's connection to the running node.
func withAdmin(ctx context.Context, n engine.Node, do func(*pgx.Conn) error) error {
	cfg, err := pgx.ParseConfig("postgres:///" + database +
		"?host=/&sslmode=disable&search_path=pg_catalog&lock_timeout=10s")
	if err != nil {
		return err
	}
	cfg.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { return n.Admin.Dial(ctx) }
	cfg.User = n.Admin.User
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol // each statement is run once
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return inWords(err, "The database does not answer.")
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return inWords(do(conn), "")
}

// inWords makes an error Unavailable, with a sentence, whose reason is known. Otherwise is what is said of others;
// where it is empty, they stay as they are.
func inWords(err error, otherwise string) error {
	var refusal *pgconn.PgError
	var classified *backstay.Error
	switch {
	case err == nil, errors.As(err, &classified):
		return err
	case errors.As(err, &refusal) && refusal.Code == pgerrcode.DiskFull:
		return backstay.Wrapf(err, backstay.Unavailable, "The disk of the service instance is full.")
	case errors.As(err, &refusal) && pgerrcode.IsInsufficientResources(refusal.Code):
		return backstay.Wrapf(err, backstay.Unavailable,
			"The database has too little room for that: %s.", refusal.Message)
	case errors.As(err, &refusal) && refusal.SeverityUnlocalized == "FATAL" && pgerrcode.IsInternalError(refusal.Code):
		return backstay.Wrapf(errors.Join(engine.ErrDamaged, err), backstay.Unavailable,
			"The database lets nobody in, as its data is damaged or cannot be read: %s.", refusal.Message)
	case errors.As(err, &refusal) && otherwise == "":
		return err
	case otherwise == "":
		otherwise = "The database does not answer."
	}
	return backstay.Wrapf(err, backstay.Unavailable, "%s", otherwise)
}

// Probe wants PostgreSQL to answer and, of a node that clients reach, the front to have reported: it does so once it
// listens, and both FerretDB do.
func (Engine) Probe(ctx context.Context, n engine.Node) error {
	return withAdmin(ctx, n, func(conn *pgx.Conn) error {
		var leads bool
		err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE usename = 'front')").Scan(&leads)
		if err == nil && !leads && len(n.Ports) > 0 {
			return backstay.Errorf(backstay.Unavailable, "FerretDB does not serve yet.")
		}
		return err
	})
}

// Settle makes two checkpoints. The second one writes what clients have changed during the first one, which takes
// longer.
func (Engine) Settle(ctx context.Context, n engine.Node) error {
	return withAdmin(ctx, n, func(conn *pgx.Conn) error {
		for range 2 {
			if _, err := conn.Exec(ctx, "CHECKPOINT"); err != nil {
				return backstay.Wrapf(err, backstay.Unavailable,
					"The database cannot write what it has changed to its disk.")
			}
		}
		return nil
	})
}

// quoteName writes a name as an identifier of SQL. It is one that checkUser has let pass.
func quoteName(name string) string { return fmt.Sprintf("%q", name) }

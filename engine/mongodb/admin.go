package mongodb

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/mongodb/front"
	"github.com/backstay/backstay/engine/pgserver"
)

// LocalAdmin is PostgreSQL's Unix socket in RunDir. The server learns from the operating system that the operator has
// connected.
func (Engine) LocalAdmin(n engine.Node) engine.Admin {
	return engine.SocketAdmin(n, socket(n), admin)
}

func socket(n engine.Node) string { return pgserver.Socket(n.RunDir, 0) }

// withAdmin calls do with an administrator's connection to the running node.
func withAdmin(ctx context.Context, n engine.Node, do func(*pgx.Conn) error) error {
	return inWords(pgserver.WithAdmin(ctx, n, database, do))
}

// inWords makes an error Unavailable, with a sentence, whose reason is known.
func inWords(err error) error {
	var refusal *pgconn.PgError
	var classified *backstay.Error
	switch {
	case err == nil, errors.As(err, &classified):
		return err
	case !errors.As(err, &refusal):
		return backstay.Wrapf(err, backstay.Unavailable, "The database does not answer.")
	case refusal.Code == pgerrcode.DiskFull:
		return backstay.Wrapf(err, backstay.Unavailable, "The disk of the service instance is full.")
	case pgerrcode.IsInsufficientResources(refusal.Code):
		return backstay.Wrapf(err, backstay.Unavailable,
			"The database has too little room for that: %s.", refusal.Message)
	}
	return err
}

// Probe wants PostgreSQL to answer and, of a primary that clients reach, the front to have reported: it does so once it
// listens, and both FerretDB do. A node that follows serves without one: that nobody reads from it yet, CatchUp tells.
func (Engine) Probe(ctx context.Context, n engine.Node) error {
	return withAdmin(ctx, n, func(conn *pgx.Conn) error {
		switch leads, beats, err := isLed(ctx, conn); {
		case err != nil || !isReached(n) || pgserver.Follows(n):
			return err
		case !leads:
			return backstay.Errorf(backstay.Unavailable, "FerretDB does not serve yet.")
		case !beats:
			return backstay.Errorf(backstay.Busy, "FerretDB does not answer. It is started again if that lasts.")
		}
		return nil
	})
}

// isLed tells whether the front leads clients to where they may write, and whether it has told of late that it and the
// FerretDBs behind it answer.
func isLed(ctx context.Context, conn *pgx.Conn) (leads, beats bool, err error) {
	const asked = "SELECT count(*) > 0, " +
		"coalesce(max(state_change) > clock_timestamp() - make_interval(secs => $1), false) FROM pg_stat_activity " +
		"WHERE usename = '" + front.Role + "' AND application_name = '" + front.Leads + "'"
	err = conn.QueryRow(ctx, asked, front.Silence.Seconds()).Scan(&leads, &beats)
	return leads, beats, err
}

// Configure forgets the nodes that followed one which is the only one of its instance again, brings data that an
// earlier DocumentDB has served up to date, and drops what a drill has left in what the data is a copy of. A node that
// follows has of this what its primary has.
func (Engine) Configure(ctx context.Context, n engine.Node) error {
	if pgserver.Follows(n) {
		return nil
	}
	return withAdmin(ctx, n, func(conn *pgx.Conn) error {
		if err := pgserver.DropSlots(ctx, conn, n); err != nil {
			return fmt.Errorf("forget the nodes that followed: %w", err)
		}
		if err := renew(ctx, conn); err != nil {
			return backstay.Wrapf(err, backstay.Unavailable,
				"The database, which an earlier version made, cannot be brought up to date.")
		}
		if err := forgetDrill(ctx, conn); err != nil {
			return inWords(fmt.Errorf("forget a drill: %w", err))
		}
		return nil
	})
}

// renew updates DocumentDB's extensions to what is installed, which serves the data of earlier ones, but lacks there
// what is new. The walls come with it: it is all done, or nothing. FerretDB's sessions end, which know how it was
// before.
func renew(ctx context.Context, conn *pgx.Conn) error {
	const old = `SELECT EXISTS (SELECT FROM pg_extension JOIN pg_available_extensions ON name = extname
WHERE extname IN ('documentdb', 'documentdb_core') AND extversion <> default_version)`
	var isOld bool
	if err := conn.QueryRow(ctx, old).Scan(&isOld); err != nil || !isOld {
		return err
	}
	const update = "ALTER EXTENSION documentdb_core UPDATE; ALTER EXTENSION documentdb UPDATE;\n"
	if _, err := conn.Exec(ctx, update+wallsSQL); err != nil {
		return err
	}
	_, err := conn.Exec(ctx, pgserver.EndClients+" AND usename IN ('"+front.Writer+"', '"+front.Reader+"')")
	return err
}

// quoteName writes a name as an identifier of SQL. It is one that checkUser has let pass.
func quoteName(name string) string { return fmt.Sprintf("%q", name) }

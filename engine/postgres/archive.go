package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/pgserver"
)

var (
	_ engine.Archiver = Engine{}
	_ engine.Cloner   = Engine{}
)

// server is what every PostgreSQL server has, with what is ours.
func server(i engine.Installation) pgserver.Server {
	return pgserver.Server{
		Product: product(i), Version: i.Version, Programs: i.Dir, Database: database, Own: pgserver.LinkFiles,
		Socket: socket, Plan: plan, Fits: sameMajor, DropUsers: dropUsers,
	}
}

// RestorePoints are there where pgBackRest is, and knows the version.
func (Engine) RestorePoints(i engine.Installation) backstay.RestorePoints {
	return server(i).RestorePoints()
}

// LacksForBackups says why there are no restore points.
func (Engine) LacksForBackups(i engine.Installation) string { return server(i).LacksForBackups() }

// Backup copies the files of a serving node into the repository.
func (Engine) Backup(
	ctx context.Context, n engine.Node, r backstay.Repository, gently bool,
) (backstay.Backup, error) {
	return server(n.Installation).Backup(ctx, n, r, gently)
}

// Archive pushes what the node has logged, also that of a node that is fenced.
func (Engine) Archive(
	ctx context.Context, n engine.Node, r backstay.Repository, age time.Duration, over time.Time,
) (engine.Archived, error) {
	return server(n.Installation).Archive(ctx, n, r, age, over)
}

// Backups lists the backups without such that have damaged pages.
func (Engine) Backups(ctx context.Context, n engine.Node, r backstay.Repository) ([]backstay.Backup, error) {
	return server(n.Installation).Backups(ctx, n, r)
}

// Reached returns what the repository says of the archive.
func (Engine) Reached(ctx context.Context, n engine.Node, r backstay.Repository) (engine.Archived, error) {
	return server(n.Installation).Reached(ctx, r)
}

// Verify reads the whole repository.
func (Engine) Verify(ctx context.Context, n engine.Node, r backstay.Repository) (engine.Findings, error) {
	return server(n.Installation).Verify(ctx, n, r)
}

// Expire removes backups, each with what of the archive is older than all others.
func (Engine) Expire(ctx context.Context, n engine.Node, r backstay.Repository, keep []string) error {
	return server(n.Installation).Expire(ctx, n, r, keep)
}

// Restore lays out a backup, and has a server without clients replay the archive.
func (Engine) Restore(ctx context.Context, n engine.Node, r backstay.Repository, to engine.Point) error {
	return server(n.Installation).Restore(ctx, n, r, to)
}

// Clone copies the files of a serving node.
func (Engine) Clone(ctx context.Context, from, to engine.Node, progress func(string)) error {
	return server(to.Installation).Clone(ctx, from, to, progress)
}

// sameMajor refuses data of another major version than the node's, by the full version that has made it.
func sameMajor(made string, n engine.Node) error {
	if made = major(made); made == n.Installation.Version {
		return nil
	}
	return backstay.Errorf(backstay.Unsupported, "The data was made by PostgreSQL %s and cannot be served by %s.",
		made, product(n.Installation))
}

// dropUsers drops all roles that CreateUser has made, and that of a drill.
func dropUsers(ctx context.Context, n engine.Node) error {
	if err := (Engine{}).DismissDriller(ctx, n); err != nil {
		return err
	}
	var names []string
	err := withAdmin(ctx, n, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, "SELECT rolname::text FROM pg_roles WHERE rolcanlogin AND oid <> 10")
		if err == nil {
			names, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		return err
	})
	for _, name := range names {
		err = errors.Join(err, Engine{}.DropUser(ctx, n, name))
	}
	return err
}

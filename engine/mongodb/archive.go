package mongodb

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/mongodb/front"
	"github.com/backstay/backstay/engine/pgserver"
)

var (
	_ engine.Archiver   = Engine{}
	_ engine.Cloner     = Engine{}
	_ engine.Unarchived = Engine{}
)

// server is what every PostgreSQL server has, with what is ours: all of MongoDB's databases lie in one of it.
func (e Engine) server(i engine.Installation) pgserver.Server {
	return pgserver.Server{
		Product: called(i), Version: serverVersion(i), Programs: i.Dir, Database: database,
		Own:     slices.Concat([]string{frontFile, certificateFile, keyFile, versionFile}, pgserver.LinkFiles),
		Fronted: true, Socket: socket,
		Plan: e.plan, Fits: sameVersions, DropUsers: dropUsers,
	}
}

// serverVersion returns PostgreSQL's major version.
func serverVersion(i engine.Installation) string { return filepath.Base(filepath.Dir(i.Dir)) }

// RestorePoints are there where pgBackRest is, and knows the version of PostgreSQL.
func (e Engine) RestorePoints(i engine.Installation) backstay.RestorePoints {
	return e.server(i).RestorePoints()
}

// LacksForBackups says why there are no restore points.
func (e Engine) LacksForBackups(i engine.Installation) string { return e.server(i).LacksForBackups() }

// Backup copies the files of a serving node into the repository.
func (e Engine) Backup(
	ctx context.Context, n engine.Node, r backstay.Repository, gently bool,
) (backstay.Backup, error) {
	return e.server(n.Installation).Backup(ctx, n, r, gently)
}

// Archive pushes what the node has logged.
func (e Engine) Archive(
	ctx context.Context, n engine.Node, r backstay.Repository, age time.Duration, over time.Time,
) (engine.Archived, error) {
	return e.server(n.Installation).Archive(ctx, n, r, age, over)
}

// Backups lists the backups without such that have damaged pages.
func (e Engine) Backups(ctx context.Context, n engine.Node, r backstay.Repository) ([]backstay.Backup, error) {
	return e.server(n.Installation).Backups(ctx, n, r)
}

// Reached returns what the repository says of the archive.
func (e Engine) Reached(ctx context.Context, n engine.Node, r backstay.Repository) (engine.Archived, error) {
	return e.server(n.Installation).Reached(ctx, r)
}

// Verify reads the whole repository.
func (e Engine) Verify(ctx context.Context, n engine.Node, r backstay.Repository) (engine.Findings, error) {
	return e.server(n.Installation).Verify(ctx, n, r)
}

// Expire removes backups, each with what of the archive is older than all others.
func (e Engine) Expire(ctx context.Context, n engine.Node, r backstay.Repository, keep []string) error {
	return e.server(n.Installation).Expire(ctx, n, r, keep)
}

// Restore lays out a backup, and has a server without clients replay the archive. It runs without DocumentDB's
// libraries: nothing that they do by themselves is wanted while the data is not the node's own yet.
func (e Engine) Restore(ctx context.Context, n engine.Node, r backstay.Repository, to engine.Point) error {
	return e.server(n.Installation).Restore(ctx, n, r, to)
}

// Clone copies the files of a serving node.
func (e Engine) Clone(ctx context.Context, from, to engine.Node, progress func(string)) error {
	return e.server(to.Installation).Clone(ctx, from, to, progress)
}

// sameVersions refuses data of another major version of FerretDB or of PostgreSQL than the node's.
func sameVersions(made string, n engine.Node) error {
	has := engine.Foundation(n.Installation.FullVersion)
	if major, _, _ := strings.Cut(made, "."); major == n.Installation.Version && engine.Foundation(made) == has {
		return nil
	}
	return backstay.Errorf(backstay.Unsupported, "The data was made by %s %s and cannot be served by %s on %s.",
		product, made, called(n.Installation), has)
}

// dropUsers drops all roles that CreateUser has made. There is no front yet that would have connections of theirs.
func dropUsers(ctx context.Context, n engine.Node) error {
	const users = "SELECT DISTINCT who.rolname::text FROM pg_auth_members JOIN pg_roles may ON may.oid = roleid " +
		"JOIN pg_roles who ON who.oid = member WHERE may.rolname IN ('" + front.Writes + "', '" + front.Reads + "')"
	return withAdmin(ctx, n, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, users)
		if err != nil {
			return err
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		for _, name := range names {
			_, failed := conn.Exec(ctx, "DROP ROLE "+quoteName(name))
			err = errors.Join(err, failed)
		}
		return err
	})
}

package state

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/backstay/backstay"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrationLock keeps two starters from migrating at once; any constant will do.
const migrationLock = 0x6261636b // "back"

const createMigrations = `CREATE TABLE IF NOT EXISTS public.migrations (name text PRIMARY KEY,
	applied_at timestamptz NOT NULL DEFAULT now())`

// migrate applies the migrations that the database has not seen, in the order of their names, each
// in a transaction of its own. They go forward only and are never edited once released. A database
// that has seen more than this program has is Unsupported, and not touched.
func migrate(ctx context.Context, pool *pgxpool.Pool) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock($1)`, migrationLock); err != nil {
		return err
	}
	defer conn.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, migrationLock)
	seen, err := compareSchema(ctx, pool)
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, createMigrations); err != nil {
		return err
	}
	for _, name := range seen.missing {
		if err := apply(ctx, conn.Conn(), name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return migrateJobs(ctx, pool)
}

// requireCurrent is nil if the database has seen all migrations of this program and no other.
func requireCurrent(ctx context.Context, pool *pgxpool.Pool) error {
	seen, err := compareSchema(ctx, pool)
	if err != nil {
		return err
	}
	if len(seen.missing) > 0 || seen.jobs < latestJobSchema(pool) {
		return backstay.Errorf(backstay.Unsupported,
			"The state database is that of an older Backstay than this program: restart \"backstay serve\" with it first.")
	}
	return nil
}

// schema is how a database stands to this program: which migrations it lacks, and the version of the job
// queue's own tables, 0 if there are none.
type schema struct {
	missing []string
	jobs    int
}

// compareSchema is Unsupported if the database has what this program does not know. It changes nothing.
func compareSchema(ctx context.Context, pool *pgxpool.Pool) (s schema, err error) {
	known, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return s, err
	}
	applied, err := appliedMigrations(ctx, pool)
	if err != nil {
		return s, err
	}
	if s.jobs, err = jobSchemaVersion(ctx, pool); err != nil {
		return s, err
	}
	newer := slices.DeleteFunc(slices.Clone(applied), func(name string) bool { return slices.Contains(known, name) })
	if s.jobs > latestJobSchema(pool) {
		newer = append(newer, fmt.Sprintf("version %d of the job queue", s.jobs))
	}
	if len(newer) > 0 {
		return s, backstay.Errorf(backstay.Unsupported,
			"The state database was changed by a newer Backstay, in ways that this one does not know (%s). Nothing was "+
				"touched. Install the newer version again, or restore the database from before it.", strings.Join(newer, ", "))
	}
	s.missing = slices.DeleteFunc(known, func(name string) bool { return slices.Contains(applied, name) })
	return s, nil
}

func appliedMigrations(ctx context.Context, pool *pgxpool.Pool) ([]string, error) {
	if found, err := hasTable(ctx, pool, "public.migrations"); err != nil || !found {
		return nil, err
	}
	return selectColumn[string](ctx, pool, `SELECT name FROM public.migrations ORDER BY name`)
}

func jobSchemaVersion(ctx context.Context, pool *pgxpool.Pool) (version int, err error) {
	const table = jobSchema + ".river_migration"
	if found, err := hasTable(ctx, pool, table); err != nil || !found {
		return 0, err
	}
	err = pool.QueryRow(ctx, `SELECT coalesce(max(version), 0) FROM `+table).Scan(&version)
	return version, err
}

// hasTable reports whether the database has the table of that schema and name.
func hasTable(ctx context.Context, pool *pgxpool.Pool, table string) (found bool, err error) {
	err = pool.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL`, table).Scan(&found)
	return found, err
}

func apply(ctx context.Context, conn *pgx.Conn, name string) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `INSERT INTO public.migrations (name) VALUES ($1) ON CONFLICT DO NOTHING`, name)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		sql, err := migrations.ReadFile(name)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `SET LOCAL statement_timeout = 0`); err != nil { // it has years to look through
			return err
		}
		_, err = tx.Exec(ctx, string(sql))
		return err
	})
}

func migrateJobs(ctx context.Context, pool *pgxpool.Pool) error {
	if _, err := pool.Exec(ctx, `CREATE SCHEMA IF NOT EXISTS `+jobSchema); err != nil {
		return err
	}
	_, err := jobMigrator(pool).Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

// latestJobSchema is the newest version of the job queue's own tables.
func latestJobSchema(pool *pgxpool.Pool) int {
	all := jobMigrator(pool).AllVersions()
	return all[len(all)-1].Version
}

func jobMigrator(pool *pgxpool.Pool) *rivermigrate.Migrator[pgx.Tx] {
	m, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: jobSchema})
	if err != nil {
		panic(err) // it is told nothing that could be wrong
	}
	return m
}

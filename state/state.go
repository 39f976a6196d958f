package state

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// Store is the state database. It is safe for concurrent use.
type Store struct {
	pool    *pgxpool.Pool
	inserts *river.Client[pgx.Tx] // inserts jobs; runs none
	changes *changes
	log     *slog.Logger
}

// maxConnections is enough for two hundred jobs that mostly wait without one, and the API beside them.
const maxConnections = 24

// Open connects to the PostgreSQL database that dsn names (URL or keyword form), brings its schema
// up to date and listens for changes until Close.
func Open(ctx context.Context, dsn string, log *slog.Logger) (*Store, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("parse database address: %w", err)
	}
	cfg.MaxConns = maxConnections
	cfg.ConnConfig.RuntimeParams["default_transaction_isolation"] = "read committed" // whoever has waited for a lock must see what it waited for
	// A list's statement names only what narrows it, so that one plan is good for all its values; to plan each
	// anew would take longer than to answer it.
	cfg.ConnConfig.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open state database: %w", err)
	}
	s := &Store{pool: pool, log: log}
	if err := s.start(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return s, nil
}

func (s *Store) start(ctx context.Context) error {
	if err := migrate(ctx, s.pool); err != nil {
		return fmt.Errorf("migrate state database: %w", err)
	}
	client, err := river.NewClient(riverpgxv5.New(s.pool), &river.Config{
		Schema: jobSchema, Logger: s.log,
		FetchCooldown: time.Millisecond, // between notifications of new jobs: more, and some wait for the runner's next poll
	})
	if err != nil {
		return fmt.Errorf("open job queue: %w", err)
	}
	s.inserts = client
	s.changes = listen(s.pool, s.log)
	return nil
}

// Close ends all connections. It waits for those in use.
func (s *Store) Close() {
	s.changes.close()
	s.pool.Close()
}

// tx runs f in one transaction, committed if f returns nil.
func (s *Store) tx(ctx context.Context, f func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, s.pool, f)
}

package state

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// Store is the state database. It is safe for concurrent use.
type Store struct {
	// Now is the clock of decisions: when a job that failed is tried again. time.Now if nil. When something was
	// written is said by the database's own clock.
	Now func() time.Time

	pool    *pgxpool.Pool
	claim   *claim                // nil until RunJobs, or OpenToServe, has claimed the database
	inserts *river.Client[pgx.Tx] // inserts jobs; runs none
	changes *changes
	log     *slog.Logger
}

// maxConnections is enough for two hundred jobs that mostly wait without one, and the API beside them.
const maxConnections = 24

// limits are how long the database lets us take: far longer than anything of ours does, and so short that a
// statement that waits for ever, or a process that stands still, holds nobody up for longer.
var limits = map[string]time.Duration{
	"statement_timeout":                   30 * time.Second,
	"idle_in_transaction_session_timeout": time.Minute,
}

// OpenToServe claims the PostgreSQL database that dsn names (URL or keyword form) for this process, brings
// its schema up to date and listens for changes until Close. It is InUse while another process has the claim,
// and Unsupported if a newer version of this program has changed the schema. admit is told whether anything in
// the database is sealed, and may refuse it. Whoever is refused has changed nothing.
func OpenToServe(ctx context.Context, dsn string, admit func(sealed bool) error, log *slog.Logger) (*Store, error) {
	cfg, err := configure(dsn)
	if err != nil {
		return nil, err
	}
	claim, err := newClaim(ctx, cfg.ConnConfig)
	if err != nil {
		return nil, fmt.Errorf("claim state database: %w", err)
	}
	s, err := open(ctx, cfg, log, func(ctx context.Context, pool *pgxpool.Pool) error {
		sealed, err := hasSecrets(ctx, pool)
		if err == nil {
			err = admit(sealed)
		}
		if err != nil {
			return err
		}
		return migrate(ctx, pool)
	})
	if err != nil {
		claim.close()
		return nil, err
	}
	s.claim = claim
	return s, nil
}

// Open is OpenToServe without a claim, for whoever runs no jobs on a database that nobody else migrates.
func Open(ctx context.Context, dsn string, log *slog.Logger) (*Store, error) {
	cfg, err := configure(dsn)
	if err != nil {
		return nil, err
	}
	return open(ctx, cfg, log, migrate)
}

// OpenBeside opens a database that another process serves. It changes no schema: it is Unsupported if that is
// not exactly this program's.
func OpenBeside(ctx context.Context, dsn string, log *slog.Logger) (*Store, error) {
	cfg, err := configure(dsn)
	if err != nil {
		return nil, err
	}
	return open(ctx, cfg, log, requireCurrent)
}

func configure(dsn string) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("parse database address: %w", err)
	}
	cfg.MaxConns = maxConnections
	// Whoever has waited for a lock must see what it waited for.
	cfg.ConnConfig.RuntimeParams["default_transaction_isolation"] = "read committed"
	// A list's statement names only what narrows it, so that one plan is good for all its values; to plan each
	// anew would take longer than to answer it.
	cfg.ConnConfig.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	for name, limit := range limits {
		cfg.ConnConfig.RuntimeParams[name] = strconv.FormatInt(limit.Milliseconds(), 10)
	}
	return cfg, nil
}

// open connects, sees to the schema by prepare, and starts what a Store needs.
func open(ctx context.Context, cfg *pgxpool.Config, log *slog.Logger,
	prepare func(context.Context, *pgxpool.Pool) error) (*Store, error) {
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open state database: %w", err)
	}
	s := &Store{pool: pool, log: log}
	if err := prepare(ctx, pool); err != nil {
		pool.Close()
		return nil, fmt.Errorf("prepare the schema of the state database: %w", err)
	}
	if err := s.start(); err != nil {
		pool.Close()
		return nil, err
	}
	return s, nil
}

func (s *Store) start() error {
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

func (s *Store) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

// Close ends all connections. It waits for those in use.
func (s *Store) Close() {
	s.changes.close()
	s.claim.close()
	s.pool.Close()
}

// tx runs f in one transaction, committed if f returns nil.
func (s *Store) tx(ctx context.Context, f func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, s.pool, f)
}

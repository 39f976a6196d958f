package state

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/backstay/backstay"
)

func (s *Store) Secret(ctx context.Context, name string) (sealed []byte, err error) {
	err = s.pool.QueryRow(ctx, `SELECT sealed FROM platform.secrets WHERE name = $1`, name).Scan(&sealed)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, backstay.Errorf(backstay.NotFound, "There is no secret %q.", name)
	}
	return sealed, err
}

func (s *Store) KeepSecret(ctx context.Context, name string, sealed []byte) (kept []byte, err error) {
	if _, err := s.pool.Exec(ctx, `INSERT INTO platform.secrets (name, sealed) VALUES ($1, $2) ON CONFLICT DO NOTHING`,
		name, sealed); err != nil {
		return nil, err
	}
	return s.Secret(ctx, name)
}

// SetSecret keeps a secret in the place of the one that the name has, if it has one.
func (s *Store) SetSecret(ctx context.Context, name string, sealed []byte) error {
	_, err := s.pool.Exec(ctx, `INSERT INTO platform.secrets (name, sealed) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed`, name, sealed)
	return err
}

// PeekSecret reads a secret of a database that need not be open, nor have a schema yet; nil: there is none of that
// name. It also tells whether there is any secret. It changes nothing.
func PeekSecret(ctx context.Context, dsn, name string) (sealed []byte, some bool, err error) {
	cfg, err := configure(dsn)
	if err != nil {
		return nil, false, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, false, fmt.Errorf("open state database: %w", err)
	}
	defer pool.Close()
	if some, err = hasSecrets(ctx, pool); err != nil || !some {
		return nil, some, unanswered(err)
	}
	sealed, err = (&Store{pool: pool}).Secret(ctx, name)
	if backstay.KindOf(err) == backstay.NotFound {
		err = nil
	}
	return sealed, some, err
}

// hasSecrets reports whether a secret was ever kept in a database, which may have no schema yet. The first that
// is sealed at all is one of these.
func hasSecrets(ctx context.Context, pool *pgxpool.Pool) (bool, error) {
	if found, err := hasTable(ctx, pool, "platform.secrets"); err != nil || !found {
		return false, err
	}
	var kept bool
	err := pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM platform.secrets)`).Scan(&kept)
	return kept, err
}

package state

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

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
	if _, err := s.pool.Exec(ctx, `INSERT INTO platform.secrets (name, sealed) VALUES ($1, $2) ON CONFLICT DO NOTHING`, name, sealed); err != nil {
		return nil, err
	}
	return s.Secret(ctx, name)
}

package state

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

const flagColumns = `name, enabled, error_message, updated_at`

func (s *Store) FeatureFlags(ctx context.Context) ([]backstay.FeatureFlag, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+flagColumns+` FROM market.feature_flags`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[backstay.FeatureFlag])
}

func (s *Store) SetFeatureFlag(ctx context.Context, f backstay.FeatureFlag,
	e backstay.Event) (backstay.FeatureFlag, error) {
	return recorded(ctx, s, e, func(tx pgx.Tx) (backstay.FeatureFlag, error) {
		return selectOne(ctx, tx, pgx.RowToStructByPos[backstay.FeatureFlag], `INSERT INTO market.feature_flags
			(name, enabled, error_message) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE
			SET enabled = $2, error_message = $3, updated_at = now() RETURNING `+flagColumns,
			f.Name, f.Enabled, f.ErrorMessage)
	})
}

func (s *Store) EnvironmentGroups(ctx context.Context) (map[string]market.SealedGroup, error) {
	rows, err := s.pool.Query(ctx, `SELECT name, environment, updated_at FROM market.environment_groups`)
	if err != nil {
		return nil, err
	}
	all, name, g := map[string]market.SealedGroup{}, "", market.SealedGroup{}
	_, err = pgx.ForEachRow(rows, []any{&name, &g.Sealed, &g.UpdatedAt}, func() error {
		all[name] = g
		g = market.SealedGroup{}
		return nil
	})
	return all, err
}

// UpdateEnvironmentGroup locks the whole table: a group that is not there yet has no row to lock.
func (s *Store) UpdateEnvironmentGroup(ctx context.Context, name string, change func(sealed []byte) ([]byte, error),
	e backstay.Event) (time.Time, error) {
	return recorded(ctx, s, e, func(tx pgx.Tx) (updated time.Time, err error) {
		if _, err := tx.Exec(ctx, `LOCK TABLE market.environment_groups IN SHARE ROW EXCLUSIVE MODE`); err != nil {
			return updated, err
		}
		var sealed []byte
		err = tx.QueryRow(ctx, `SELECT environment FROM market.environment_groups WHERE name = $1`, name).Scan(&sealed)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return updated, err
		}
		if sealed, err = change(sealed); err != nil {
			return updated, err
		}
		err = tx.QueryRow(ctx, `INSERT INTO market.environment_groups (name, environment) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET environment = $2, updated_at = now() RETURNING updated_at`,
			name, sealed).Scan(&updated)
		return updated, err
	})
}

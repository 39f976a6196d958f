package state

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/backstay/backstay"
)

// executor is the pool, or a transaction.
type executor interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

func (s *Store) RecordEvent(ctx context.Context, e backstay.Event) error {
	return recordEvent(ctx, s.pool, e)
}

// recordEvent belongs into the transaction of the change that it is about. Without a type there is
// nothing to record.
func recordEvent(ctx context.Context, x executor, e backstay.Event) error {
	if e.Type == "" {
		return nil
	}
	_, err := x.Exec(ctx, `INSERT INTO audit.events (id, type, actor_id, actor_name, actor_is_client, address, target_id, target_type, target_name, space_id, organization_id, data)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, coalesce(nullif($12::jsonb, 'null'), '{}'))`,
		e.ID, e.Type, e.Actor.UserID, e.Actor.Username, e.Actor.Client, e.Actor.Address, e.Target.ID, e.Target.Type, e.Target.Name, e.SpaceID, e.OrganizationID, e.Data)
	return err
}

// recorded makes change and records e in one transaction.
func recorded[T any](ctx context.Context, s *Store, e backstay.Event, change func(pgx.Tx) (T, error)) (changed T, err error) {
	err = s.tx(ctx, func(tx pgx.Tx) error {
		if changed, err = change(tx); err != nil {
			return err
		}
		return recordEvent(ctx, tx, e)
	})
	return changed, err
}

package state

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype/zeronull"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

func (s *Store) Troubles(ctx context.Context, of backstay.BrokerID) ([]market.Trouble, error) {
	rows, err := s.pool.Query(ctx, `SELECT t.instance_id, t.kind, t.sentence, t.began_at, t.gone_at
		FROM market.troubles t JOIN market.instances i ON i.id = t.instance_id
			JOIN market.plans p ON p.id = i.plan_id JOIN market.offerings o ON o.id = p.offering_id
		WHERE o.broker_id = $1 ORDER BY t.instance_id, t.kind`, of)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (t market.Trouble, err error) {
		return t, r.Scan(&t.InstanceID, &t.Kind, &t.Sentence, &t.Began, (*zeronull.Timestamptz)(&t.Gone))
	})
}

func (s *Store) KeepTrouble(ctx context.Context, t market.Trouble, e backstay.Event) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE market.troubles SET sentence = $3, gone_at = $4
			WHERE instance_id = $1 AND kind = $2`, t.InstanceID, t.Kind, t.Sentence, zeronull.Timestamptz(t.Gone))
		if err != nil || tag.RowsAffected() > 0 {
			return err
		}
		tag, err = tx.Exec(ctx, `INSERT INTO market.troubles (instance_id, kind, sentence, began_at, gone_at)
			SELECT id, $2, $3, $4, $5 FROM market.instances WHERE id = $1 FOR KEY SHARE ON CONFLICT DO NOTHING`,
			t.InstanceID, t.Kind, t.Sentence, t.Began, zeronull.Timestamptz(t.Gone))
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		return recordEvent(ctx, tx, e)
	})
}

func (s *Store) EndTrouble(ctx context.Context, t market.Trouble, e backstay.Event) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `DELETE FROM market.troubles
			WHERE instance_id = $1 AND kind = $2 AND gone_at IS NOT NULL`, t.InstanceID, t.Kind)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		return recordEvent(ctx, tx, e)
	})
}

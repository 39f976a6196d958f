package state

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
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
	_, err := x.Exec(ctx, `INSERT INTO audit.events (id, type, actor_id, actor_name, actor_is_client, address, target_id,
		target_type, target_name, space_id, organization_id, data, actor_is_broker)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, coalesce(nullif($12::jsonb, 'null'), '{}'), $13)`,
		e.ID, e.Type, e.Actor.UserID, e.Actor.Username, e.Actor.Client, e.Actor.Address, e.Target.ID, e.Target.Type,
		e.Target.Name, e.SpaceID, e.OrganizationID, e.Data, e.Actor.Broker)
	return err
}

// recorded makes change and records e in one transaction.
func recorded[T any](ctx context.Context, s *Store, e backstay.Event,
	change func(pgx.Tx) (T, error)) (changed T, err error) {
	err = s.tx(ctx, func(tx pgx.Tx) error {
		if changed, err = change(tx); err != nil {
			return err
		}
		return recordEvent(ctx, tx, e)
	})
	return changed, err
}

// remove runs a DELETE of one row, by its id, and records e if the row was there.
func remove(ctx context.Context, x executor, e backstay.Event, sql string, id any) error {
	tag, err := x.Exec(ctx, sql, id)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	return recordEvent(ctx, x, e)
}

// removed is remove in a transaction of its own.
func (s *Store) removed(ctx context.Context, e backstay.Event, sql string, id any) error {
	return s.tx(ctx, func(tx pgx.Tx) error { return remove(ctx, tx, e, sql, id) })
}

// RecordRefusal tells refusals apart by all that they say. Two at once may both be recorded.
func (s *Store) RecordRefusal(ctx context.Context, e backstay.Event, since time.Time, limit int) error {
	var many bool
	err := s.pool.QueryRow(ctx, `SELECT count(*) >= $5
		OR coalesce(bool_or(target_id = $4 AND data = coalesce($6::jsonb, '{}')), false)
		FROM (SELECT target_id, data FROM audit.events WHERE type = 'audit.request.refused' AND actor_id = $1
			AND organization_id = $2 AND created_at >= $3 LIMIT $5) r`,
		e.Actor.UserID, e.OrganizationID, since, e.Target.ID, limit, e.Data).Scan(&many)
	if err != nil || many {
		return err
	}
	return s.RecordEvent(ctx, e)
}

// RecordRead may record two readings at once.
func (s *Store) RecordRead(ctx context.Context, e backstay.Event, since time.Time) error {
	var known bool
	err := s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM audit.events WHERE target_id = $1 AND created_at >= $2
		AND type = $3 AND actor_id = $4 AND address = $5)`,
		e.Target.ID, since, e.Type, e.Actor.UserID, e.Actor.Address).Scan(&known)
	if err != nil || known {
		return err
	}
	return s.RecordEvent(ctx, e)
}

func (s *Store) Events(ctx context.Context, f market.EventFilter) (market.List[backstay.Event], error) {
	q := query{
		columns: `e.id, e.type, e.actor_id, e.actor_name, e.actor_is_client, e.address, e.target_id, e.target_type,
			e.target_name, e.space_id, e.organization_id, e.data, e.created_at, e.actor_is_broker`,
		from: "(SELECT *, created_at AS updated_at FROM audit.events) e", alias: "e",
	}
	whereIn(&q, "e.id", f.IDs)
	whereIn(&q, "e.type", f.Types)
	whereIn(&q, "e.target_id", f.TargetIDs)
	whereIn(&q, "e.space_id", f.SpaceIDs)
	whereIn(&q, "e.organization_id", f.OrganizationIDs)
	if f.NotTargetIDs != nil {
		q.where = append(q.where, "e.target_id <> ALL("+q.arg(f.NotTargetIDs)+")")
	}
	q.match(f.Match)
	// As arrays rather than subqueries, so that an index is used for either.
	seenBy(&q, `(e.space_id = ANY(ARRAY(SELECT v.space_id FROM market.roles v WHERE v.user_id = %[1]s
		AND v.type IN ('space_auditor', 'space_developer', 'space_supporter')))
		OR e.organization_id = ANY(ARRAY(SELECT v.organization_id FROM market.roles v WHERE v.user_id = %[1]s
			AND v.type = 'organization_auditor')))`, f.Viewer)
	return selectList(ctx, s, q, f.Order, f.Page, func(r pgx.CollectableRow) (e backstay.Event, err error) {
		err = r.Scan(&e.ID, &e.Type, &e.Actor.UserID, &e.Actor.Username, &e.Actor.Client, &e.Actor.Address, &e.Target.ID,
			&e.Target.Type, &e.Target.Name,
			&e.SpaceID, &e.OrganizationID, &e.Data, &e.CreatedAt, &e.Actor.Broker)
		return e, err
	})
}

// RemoveEvents passes over rows that somebody else is removing.
func (s *Store) RemoveEvents(ctx context.Context, before time.Time, limit int) (int, error) {
	tag, err := s.pool.Exec(ctx, `DELETE FROM audit.events WHERE id IN
		(SELECT id FROM audit.events WHERE created_at < $1 ORDER BY created_at, id LIMIT $2 FOR UPDATE SKIP LOCKED)`,
		before, limit)
	return int(tag.RowsAffected()), err
}

func (s *Store) Locate(ctx context.Context, id string) (l market.Location, err error) {
	err = s.pool.QueryRow(ctx, `SELECT id, type, name, organization_id, space_id FROM (
			SELECT id, 'organization' AS type, name, id AS organization_id, '' AS space_id FROM market.organizations
			UNION ALL SELECT id, 'space', name, organization_id, id FROM market.spaces
			UNION ALL SELECT a.id, 'app', a.name, s.organization_id, s.id FROM market.apps a
				JOIN market.spaces s ON s.id = a.space_id
			UNION ALL SELECT i.id, 'service_instance', i.name, s.organization_id, s.id FROM market.instances i
				JOIN market.spaces s ON s.id = i.space_id
			UNION ALL SELECT b.id, CASE b.type WHEN 'key' THEN 'service_key'
				ELSE 'service_binding' END, b.name, s.organization_id, s.id
				FROM market.bindings b JOIN market.instances i ON i.id = b.instance_id LEFT JOIN market.apps a ON a.id = b.app_id
				JOIN market.spaces s ON s.id = coalesce(a.space_id, i.space_id)
			UNION ALL SELECT r.id, 'role', r.type, coalesce(r.organization_id, s.organization_id), coalesce(s.id, '')
				FROM market.roles r LEFT JOIN market.spaces s ON s.id = r.space_id
			UNION ALL SELECT id, CASE WHEN organization_id IS NULL THEN 'organization_quota'
				ELSE 'space_quota' END, name, coalesce(organization_id, ''), '' FROM market.quotas
		) things WHERE id = $1`, id).Scan(&l.Target.ID, &l.Target.Type, &l.Target.Name, &l.OrganizationID, &l.SpaceID)
	return l, orNotFound(err, "Resource")
}

package state

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

const bindingColumns = `b.id, b.type, b.name, b.instance_id, i.type, coalesce(b.app_id, ''),
	coalesce(a.space_id, i.space_id), b.syslog_drain_url, b.labels, b.annotations, b.expires_at, b.op_type, b.op_state,
		b.op_description, b.op_created_at, b.op_updated_at, b.created_at, b.updated_at`

func scanBinding(r pgx.CollectableRow) (b backstay.Binding, err error) {
	op := &b.LastOperation
	var expires *time.Time
	err = r.Scan(&b.ID, &b.Type, &b.Name, &b.InstanceID, &b.InstanceType, &b.AppID, &b.SpaceID, &b.SyslogDrainURL,
		&b.Metadata.Labels, &b.Metadata.Annotations, &expires, &op.Type, &op.State, &op.Description, &op.CreatedAt,
		&op.UpdatedAt, &b.CreatedAt, &b.UpdatedAt)
	if expires != nil {
		b.ExpiresAt = *expires
	}
	return b, err
}

func (s *Store) Bindings(ctx context.Context, f market.BindingFilter) (market.List[backstay.Binding], error) {
	q := query{
		columns: bindingColumns, alias: "b", // counting them needs no join, unless a filter does
		from: "market.bindings b LEFT JOIN market.instances i ON i.id = b.instance_id LEFT JOIN market.apps a ON a.id " +
			"= b.app_id",
	}
	if f.PlanIDs != nil || f.PlanNames != nil || f.OfferingIDs != nil || f.OfferingNames != nil {
		q.from += " JOIN market.plans p ON p.id = i.plan_id JOIN market.offerings o ON o.id = p.offering_id"
	}
	whereIn(&q, "b.id", f.IDs)
	whereIn(&q, "b.name", f.Names)
	whereIn(&q, "b.type", f.Types)
	whereIn(&q, "b.instance_id", f.InstanceIDs)
	whereIn(&q, "b.app_id", f.AppIDs)
	whereIn(&q, "i.name", f.InstanceNames)
	whereIn(&q, "a.name", f.AppNames)
	whereIn(&q, "a.space_id", f.AppSpaceIDs)
	whereIn(&q, "p.id", f.PlanIDs)
	whereIn(&q, "p.name", f.PlanNames)
	whereIn(&q, "o.id", f.OfferingIDs)
	whereIn(&q, "o.name", f.OfferingNames)
	bindingSeenBy(&q, f.Viewer)
	q.match(f.Match)
	return selectList(ctx, s, q, f.Order, f.Page, scanBinding)
}

// bindingSeenBy narrows a list of bindings to those of apps in spaces that the viewer sees, and to the keys
// of instances there. Nil does not narrow.
func bindingSeenBy(q *query, viewer *backstay.UserID) {
	if viewer == nil {
		return
	}
	q.where = append(q.where, fmt.Sprintf(`b.id IN (SELECT o.id FROM market.bindings o
		JOIN market.apps oa ON oa.id = o.app_id WHERE oa.space_id IN (%[1]s)
		UNION ALL SELECT o.id FROM market.bindings o JOIN market.instances oi ON oi.id = o.instance_id
			WHERE o.app_id IS NULL AND oi.space_id IN (%[1]s))`, spacesSeenBy(q.arg(*viewer))))
}

func (s *Store) BindingSecrets(ctx context.Context,
	id backstay.BindingID) (parameters, credentials []byte, err error) {
	err = s.pool.QueryRow(ctx, `SELECT parameters, credentials FROM market.bindings WHERE id = $1`, id).Scan(&parameters,
		&credentials)
	return parameters, credentials, orNotFound(err, "Service credential binding")
}

func (s *Store) KeepBindingExtras(
	ctx context.Context, id backstay.BindingID, syslogDrainURL string, extras []byte,
) error {
	_, err := s.pool.Exec(ctx, `UPDATE market.bindings SET syslog_drain_url = $2, extras = $3 WHERE id = $1`, id,
		syslogDrainURL, extras)
	return err
}

func (s *Store) BindingExtras(ctx context.Context, id backstay.BindingID) (extras []byte, err error) {
	err = s.pool.QueryRow(ctx, `SELECT extras FROM market.bindings WHERE id = $1`, id).Scan(&extras)
	return extras, orNotFound(err, "Service credential binding")
}

func (s *Store) BoundServices(ctx context.Context, app backstay.AppID) ([]market.SealedService, error) {
	rows, err := s.pool.Query(ctx, `SELECT b.id, b.type, b.name, b.syslog_drain_url, b.credentials, b.extras, i.id, i.type,
			i.name, i.tags,
			coalesce(p.id, ''), coalesce(p.name, ''), coalesce(o.id, ''), coalesce(o.name, ''), coalesce(o.tags, '{}')
		FROM (SELECT DISTINCT ON (instance_id) * FROM market.bindings
				WHERE app_id = $1 AND type = 'app' AND credentials IS NOT NULL
				ORDER BY instance_id, op_type = 'delete', created_at DESC, id DESC) b
			JOIN market.instances i ON i.id = b.instance_id
			LEFT JOIN market.plans p ON p.id = i.plan_id LEFT JOIN market.offerings o ON o.id = p.offering_id
		ORDER BY b.bound_since, b.id`, app)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (s market.SealedService, err error) {
		b, i, p, o := &s.Binding, &s.Instance, &s.Plan, &s.Offering
		err = r.Scan(&b.ID, &b.Type, &b.Name, &b.SyslogDrainURL, &s.Sealed, &s.Extras, &i.ID, &i.Type, &i.Name,
			&i.Tags, &p.ID, &p.Name, &o.ID, &o.Name, &o.Tags)
		b.AppID, b.InstanceID, b.InstanceType = app, i.ID, i.Type
		return s, err
	})
}

func (s *Store) BindingAccess(
	ctx context.Context, id backstay.BindingID, user backstay.UserID, viewer *backstay.UserID,
) (access market.BindingAccess, err error) {
	q := query{alias: "b", from: `market.bindings b JOIN market.instances i ON i.id = b.instance_id
		LEFT JOIN market.plans p ON p.id = i.plan_id LEFT JOIN market.offerings o ON o.id = p.offering_id
		LEFT JOIN market.apps a ON a.id = b.app_id
		JOIN market.spaces s ON s.id = coalesce(a.space_id, i.space_id)`}
	q.columns = `b.id, b.type, b.instance_id, i.type, coalesce(b.app_id, ''), s.id, b.credentials,
		coalesce(o.broker_id, ''),
		ARRAY(SELECT r.type FROM market.roles r WHERE r.user_id = ` + q.arg(user) + `
			AND (r.space_id = s.id OR r.organization_id = s.organization_id))`
	whereIn(&q, "b.id", []backstay.BindingID{id})
	bindingSeenBy(&q, viewer)
	l, err := selectList(ctx, s, q, market.Order{}, market.Page{},
		func(r pgx.CollectableRow) (a market.BindingAccess, err error) {
			b := &a.Binding
			err = r.Scan(&b.ID, &b.Type, &b.InstanceID, &b.InstanceType, &b.AppID, &b.SpaceID, &a.Sealed, &a.BrokerID,
				&a.Roles)
			return a, err
		})
	if err == nil && len(l.Items) == 0 {
		err = backstay.Errorf(backstay.NotFound, "Service credential binding not found")
	}
	if err != nil {
		return access, err
	}
	return l.Items[0], nil
}

func (s *Store) AcceptBinding(
	ctx context.Context, b backstay.Binding, limit int, parameters []byte, e backstay.Event, j backstay.Job,
) error {
	err := s.tx(ctx, func(tx pgx.Tx) error {
		i, err := lockBindable(ctx, tx, b)
		if err != nil {
			return err
		}
		if err := makeWay(ctx, tx, i, b, limit); err != nil {
			return err
		}
		op := b.LastOperation
		if _, err := tx.Exec(ctx, `INSERT INTO market.bindings (id, type, name, instance_id, app_id, parameters, op_type,
			op_state, op_description, labels, annotations, expires_at, created_at, bound_since)
			SELECT $1, $2, $3, $4, nullif($5, ''), $6, $7, $8, $9, $10, $11, $12, `+takesOver,
			b.ID, b.Type, b.Name, b.InstanceID, b.AppID, parameters, op.Type, op.State, op.Description,
			object(b.Metadata.Labels), object(b.Metadata.Annotations), orNull(b.ExpiresAt)); err != nil {
			return err
		}
		if b.Type == backstay.KeyBinding {
			if err := lockQuotas(ctx, tx, i.SpaceID); err != nil {
				return err
			}
			if err := admitKey(ctx, tx, i.SpaceID); err != nil {
				return err
			}
		}
		return s.acceptJob(ctx, tx, e, j)
	})
	return keyTaken(err, b.Name)
}

// orNull is NULL for a time that never comes.
func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (s *Store) HoldBindings(ctx context.Context, ids []backstay.BindingID, until time.Time) error {
	_, err := s.pool.Exec(ctx, `UPDATE market.bindings SET expires_at = $2 WHERE id = ANY($1) AND expires_at < $2`, ids,
		until)
	return err
}

func (s *Store) ExpiredBindings(ctx context.Context, now time.Time) ([]backstay.Binding, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+bindingColumns+` FROM market.bindings b
		JOIN market.instances i ON i.id = b.instance_id LEFT JOIN market.apps a ON a.id = b.app_id
		WHERE b.expires_at <= $1 AND b.op_state <> 'in progress'
			AND (b.op_type <> 'delete' OR b.op_updated_at < $1 - interval '30 seconds')`, now)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanBinding)
}

func (s *Store) AcceptBindingDeletion(ctx context.Context, id backstay.BindingID, op backstay.Operation,
	e backstay.Event, j backstay.Job) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		var instance backstay.InstanceID
		err := tx.QueryRow(ctx, `SELECT instance_id FROM market.bindings WHERE id = $1`, id).Scan(&instance)
		if err != nil {
			return orNotFound(err, "Service credential binding")
		}
		i, err := lockIdleInstance(ctx, tx, instance)
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `UPDATE market.bindings
			SET op_type = $2, op_state = $3, op_description = $4, op_created_at = now(), op_updated_at = now()
			WHERE id = $1 AND op_state <> 'in progress'`, id, op.Type, op.State, op.Description)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return backstay.Errorf(backstay.Busy, "An operation for a service binding of service instance %s is in progress.",
				i.Name)
		}
		return s.acceptJob(ctx, tx, e, j)
	})
}

func (s *Store) FinishBinding(ctx context.Context, id backstay.BindingID, op backstay.Operation, credentials []byte,
	j backstay.Job) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE market.bindings
			SET op_type = $2, op_state = $3, op_description = $4, op_updated_at = now(), updated_at = now(),
			credentials = coalesce($5, credentials) WHERE id = $1`, id, op.Type, op.State, op.Description,
			credentials); err != nil {
			return err
		}
		return s.finishJob(ctx, tx, j)
	})
}

func (s *Store) RemoveBinding(ctx context.Context, id backstay.BindingID, e backstay.Event, j *backstay.JobID) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		if err := remove(ctx, tx, e, `DELETE FROM market.bindings WHERE id = $1`, id); err != nil {
			return err
		}
		return s.completeJob(ctx, tx, j)
	})
}

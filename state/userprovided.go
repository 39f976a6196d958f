package state

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

func (s *Store) AddUserProvided(ctx context.Context, i backstay.Instance, credentials []byte,
	e backstay.Event) (backstay.Instance, error) {
	added, err := recorded(ctx, s, e, func(tx pgx.Tx) (backstay.Instance, error) {
		added, err := selectOne(ctx, tx, scanInstance,
			`INSERT INTO market.instances AS i (id, type, space_id, name, tags, credentials, syslog_drain_url,
				route_service_url, op_type, op_state, op_description, labels, annotations)
			VALUES ($1, 'user-provided', $2, $3, coalesce($4, '{}'::text[]), $5, $6, $7, 'create', 'succeeded',
				'Operation succeeded', $8, $9) RETURNING `+instanceColumns,
			i.ID, i.SpaceID, i.Name, i.Tags, credentials, i.SyslogDrainURL, i.RouteServiceURL, object(i.Metadata.Labels),
			object(i.Metadata.Annotations))
		if err != nil {
			return added, err
		}
		return added, checkNotLent(ctx, tx, i.SpaceID, i.Name)
	})
	return added, instanceTaken(err, i.Name)
}

func (s *Store) UserProvidedCredentials(ctx context.Context, id backstay.InstanceID) ([]byte, error) {
	var sealed []byte
	err := s.pool.QueryRow(ctx, `SELECT credentials FROM market.instances WHERE id = $1 AND type = 'user-provided'`,
		id).Scan(&sealed)
	return sealed, orNotFound(err, "Service instance")
}

func (s *Store) UpdateUserProvided(ctx context.Context, id backstay.InstanceID, u market.InstanceUpdate,
	credentials []byte, e backstay.Event) (backstay.Instance, error) {
	i, err := recorded(ctx, s, e, func(tx pgx.Tx) (backstay.Instance, error) {
		was, err := lockInstance(ctx, tx, id)
		if err != nil {
			return was, err
		}
		if err := checkRename(ctx, tx, was, u.Name); err != nil {
			return was, err
		}
		if err := updateMetadata(ctx, tx, "market.instances", id, u.Metadata); err != nil {
			return was, err
		}
		return selectOne(ctx, tx, scanInstance, `UPDATE market.instances i
			SET name = coalesce($2, name), tags = coalesce($3, tags), credentials = coalesce($4, credentials),
			syslog_drain_url = coalesce($5, syslog_drain_url), route_service_url = coalesce($6, route_service_url),
				updated_at = now(),
			op_type = 'update', op_description = 'Operation succeeded', op_created_at = now(), op_updated_at = now()
			WHERE id = $1 RETURNING `+instanceColumns, id, u.Name, u.Tags, credentials, u.SyslogDrainURL, u.RouteServiceURL)
	})
	return i, instanceTaken(err, wanted(u.Name))
}

func (s *Store) RemoveUserProvided(ctx context.Context, id backstay.InstanceID, e backstay.Event) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		if _, err := lockInstance(ctx, tx, id); err != nil {
			return err
		}
		if err := checkUnbound(ctx, tx, id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM market.instances WHERE id = $1`, id); err != nil {
			return err
		}
		return recordEvent(ctx, tx, e)
	})
}

func (s *Store) AddBinding(
	ctx context.Context, b backstay.Binding, limit int, reseal func(credentials []byte) ([]byte, error), e backstay.Event,
) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		i, err := lockBindable(ctx, tx, b)
		if err != nil {
			return err
		}
		if err := makeWay(ctx, tx, i, b, limit); err != nil {
			return err
		}
		var credentials []byte
		if err := tx.QueryRow(ctx, `SELECT credentials FROM market.instances WHERE id = $1`,
			b.InstanceID).Scan(&credentials); err != nil {
			return err
		}
		if credentials, err = reseal(credentials); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO market.bindings (id, type, name, instance_id, app_id, credentials,
			syslog_drain_url, op_type, op_state, op_description, labels, annotations, created_at, bound_since)
			SELECT $1, $2, $3, id, $5, $6, syslog_drain_url, 'create', 'succeeded', 'create succeeded', $7, $8, `+takesOver+`
				FROM market.instances WHERE id = $4`,
			b.ID, b.Type, b.Name, b.InstanceID, b.AppID, credentials, object(b.Metadata.Labels),
			object(b.Metadata.Annotations)); err != nil {
			return err
		}
		return recordEvent(ctx, tx, e)
	})
}

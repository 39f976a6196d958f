package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/guess"
	"github.com/backstay/backstay/tenant"
)

// Tenants is the store of those whom the broker is served to, in the same database.
type Tenants struct{ s *Store }

var _ tenant.Store = Tenants{}

// Tenants returns the store of tenants.
func (s *Store) Tenants() Tenants { return Tenants{s} }

// selectTenants selects tenants t with the passwords that are good at the moment $1.
const selectTenants = `SELECT t.id, t.name, t.max_instances, t.created_at,
	(SELECT count(*) FROM tenant.instances i WHERE i.tenant = t.id),
	(SELECT json_agg(json_build_object('Hash', encode(p.hash, 'base64'), 'CreatedAt', p.created_at, 'EndsAt', p.ends_at)
		ORDER BY p.created_at DESC, p.hash)
		FROM tenant.passwords p WHERE p.tenant = t.id AND coalesce(p.ends_at > $1, true))
	FROM tenant.tenants t `

func scanTenant(r pgx.CollectableRow) (t tenant.Tenant, err error) {
	var passwords []byte
	if err = r.Scan(&t.ID, &t.Name, &t.MaxInstances, &t.CreatedAt, &t.Instances, &passwords); err != nil {
		return t, err
	}
	if passwords == nil {
		return t, nil
	}
	if err := json.Unmarshal(passwords, &t.Passwords); err != nil {
		return t, fmt.Errorf("decode passwords of %s: %w", t.Name, err)
	}
	return t, nil
}

func (b Tenants) AddTenant(ctx context.Context, t tenant.Tenant, e backstay.Event) error {
	err := b.s.tx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM tenant.tenants t WHERE name = $1
			AND NOT EXISTS (SELECT FROM tenant.instances WHERE tenant = t.id)
			AND NOT EXISTS (SELECT FROM tenant.passwords p WHERE p.tenant = t.id AND coalesce(p.ends_at > $2, true))`,
			t.Name, t.CreatedAt)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO tenant.tenants (id, name, max_instances, created_at) VALUES ($1, $2, $3, $4)`,
			t.ID, t.Name, t.MaxInstances, t.CreatedAt); err != nil {
			return err
		}
		for _, p := range t.Passwords {
			if err := insertPassword(ctx, tx, t.ID, p); err != nil {
				return err
			}
		}
		return recordEvent(ctx, tx, e)
	})
	if violates(err, "tenant_name") {
		return backstay.Errorf(backstay.Taken, "There is a client %s already.", t.Name)
	}
	return err
}

func insertPassword(ctx context.Context, tx pgx.Tx, id string, p tenant.Password) error {
	_, err := tx.Exec(ctx, `INSERT INTO tenant.passwords (tenant, hash, created_at) VALUES ($1, $2, $3)`,
		id, p.Hash, p.CreatedAt)
	return err
}

func (b Tenants) Tenant(ctx context.Context, name string, now time.Time) (tenant.Tenant, error) {
	t, err := selectOne(ctx, b.s.pool, scanTenant, selectTenants+`WHERE t.name = $2`, now, name)
	return t, orNotFound(err, "Client")
}

func (b Tenants) Tenants(ctx context.Context, now time.Time) ([]tenant.Tenant, error) {
	rows, err := b.s.pool.Query(ctx, selectTenants+`ORDER BY t.name`, now)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanTenant)
}

// lockTenant returns how many instances a tenant may have, of whom nothing else changes until tx ends.
func lockTenant(ctx context.Context, tx pgx.Tx, id string) (maxInstances int, err error) {
	err = tx.QueryRow(ctx, `SELECT max_instances FROM tenant.tenants WHERE id = $1 FOR UPDATE`, id).Scan(&maxInstances)
	return maxInstances, orNotFound(err, "Client")
}

func (b Tenants) AddPassword(
	ctx context.Context, id string, p tenant.Password, others time.Time, e backstay.Event,
) error {
	return b.s.tx(ctx, func(tx pgx.Tx) error {
		if _, err := lockTenant(ctx, tx, id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM tenant.passwords WHERE tenant = $1 AND ends_at <= $2`,
			id, p.CreatedAt); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE tenant.passwords SET ends_at = least(ends_at, $2) WHERE tenant = $1`,
			id, others); err != nil {
			return err
		}
		return errors.Join(insertPassword(ctx, tx, id, p), recordEvent(ctx, tx, e))
	})
}

func (b Tenants) RemovePasswords(ctx context.Context, id string, e backstay.Event) error {
	return b.s.tx(ctx, func(tx pgx.Tx) error {
		if _, err := lockTenant(ctx, tx, id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM tenant.passwords WHERE tenant = $1`, id); err != nil {
			return err
		}
		return recordEvent(ctx, tx, e)
	})
}

func (b Tenants) LimitTenant(ctx context.Context, id string, instances int, e backstay.Event) error {
	return b.s.tx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE tenant.tenants SET max_instances = $2 WHERE id = $1`, id, instances)
		if err == nil && tag.RowsAffected() == 0 {
			err = orNotFound(pgx.ErrNoRows, "Client")
		}
		if err != nil {
			return err
		}
		return recordEvent(ctx, tx, e)
	})
}

func (b Tenants) Claim(ctx context.Context, c tenant.Claim, e backstay.Event) error {
	return b.s.tx(ctx, func(tx pgx.Tx) error {
		most, err := lockTenant(ctx, tx, c.Tenant)
		if err != nil {
			return err
		}
		var has int
		var known bool
		err = tx.QueryRow(ctx, `SELECT count(*), coalesce(bool_or(instance_id = $2), false)
			FROM tenant.instances WHERE tenant = $1`, c.Tenant, c.InstanceID).Scan(&has, &known)
		if err != nil {
			return err
		}
		if !known && has >= most {
			return tenant.TooMany(has)
		}
		if _, err := tx.Exec(ctx, `INSERT INTO tenant.instances (instance_id, tenant, external_id, created_at)
			VALUES ($1, $2, $3, $4) ON CONFLICT (instance_id) DO NOTHING`,
			c.InstanceID, c.Tenant, c.ExternalID, c.CreatedAt); err != nil {
			return err
		}
		return recordEvent(ctx, tx, e)
	})
}

func (b Tenants) Claims(ctx context.Context, id string, before time.Time) ([]tenant.Claim, error) {
	rows, err := b.s.pool.Query(ctx, `SELECT tenant, instance_id, external_id, created_at FROM tenant.instances
		WHERE tenant = $1 AND created_at < $2 ORDER BY created_at, instance_id`, id, before)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (c tenant.Claim, err error) {
		return c, r.Scan(&c.Tenant, &c.InstanceID, &c.ExternalID, &c.CreatedAt)
	})
}

func (b Tenants) Release(ctx context.Context, id backstay.InstanceID) error {
	_, err := b.s.pool.Exec(ctx, `DELETE FROM tenant.instances WHERE instance_id = $1`, id)
	return err
}

func (b Tenants) RecordEvent(ctx context.Context, e backstay.Event) error {
	return b.s.RecordEvent(ctx, e)
}

func (b Tenants) Failures(ctx context.Context, keys []string) ([]guess.Failures, error) {
	return b.s.Failures(ctx, keys)
}

func (b Tenants) AddFailure(
	ctx context.Context, keys []string, at, forgotten time.Time, e backstay.Event,
) error {
	return b.s.AddFailure(ctx, keys, at, forgotten, e)
}

func (b Tenants) ForgetFailures(ctx context.Context, before time.Time) error {
	_, err := b.s.pool.Exec(ctx, `DELETE FROM uaa.failures WHERE last_at < $1`, before)
	return err
}

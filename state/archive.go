package state

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker"
)

const archiveColumns = `instance_id, service_id, plan_id, organization_id, space_id, name, backend, engine, version,
	storage, encrypted, key, deleted_at`

func scanArchive(r pgx.CollectableRow) (a broker.Archive, err error) {
	return a, r.Scan(&a.ID, &a.ServiceID, &a.PlanID, &a.OrganizationID, &a.SpaceID, &a.Name, &a.Backend, &a.Engine,
		&a.Version, &a.Storage, &a.Encrypted, &a.Key, &a.DeletedAt)
}

func (b Broker) KeepArchive(ctx context.Context, a broker.Archive) error {
	_, err := b.s.pool.Exec(ctx, `INSERT INTO broker.archives
		(instance_id, service_id, plan_id, organization_id, space_id, name, backend, engine, version, storage, encrypted, key)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		ON CONFLICT (instance_id) DO UPDATE SET service_id = $2, plan_id = $3, organization_id = $4, space_id = $5, name = $6,
			backend = $7, engine = $8, version = $9, storage = $10, encrypted = $11, key = $12, deleted_at = now()`,
		a.ID, a.ServiceID, a.PlanID, a.OrganizationID, a.SpaceID, a.Name, a.Backend, a.Engine, a.Version, a.Storage,
		a.Encrypted, a.Key)
	return err
}

func (b Broker) Archive(ctx context.Context, id backstay.InstanceID) (broker.Archive, error) {
	a, err := selectOne(ctx, b.s.pool, scanArchive,
		`SELECT `+archiveColumns+` FROM broker.archives WHERE instance_id = $1`, id)
	return a, orNotFound(err, "Service instance")
}

func (b Broker) Archives(ctx context.Context) ([]broker.Archive, error) {
	rows, err := b.s.pool.Query(ctx, `SELECT `+archiveColumns+` FROM broker.archives ORDER BY deleted_at, instance_id`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanArchive)
}

func (b Broker) ForgetArchive(ctx context.Context, id backstay.InstanceID) error {
	_, err := b.s.pool.Exec(ctx, `DELETE FROM broker.archives WHERE instance_id = $1`, id)
	return err
}

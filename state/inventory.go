package state

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/backend"
)

func (b Broker) KeepInventory(ctx context.Context, name string, i backend.Inventory) error {
	_, err := b.s.pool.Exec(ctx, `INSERT INTO broker.inventories AS kept (backend, inventory) VALUES ($1, $2)
		ON CONFLICT (backend) DO UPDATE SET inventory = $2 WHERE kept.inventory::text <> EXCLUDED.inventory::text`, name, i)
	return err
}

func (b Broker) Inventory(ctx context.Context, name string) (backend.Inventory, error) {
	scan := func(r pgx.CollectableRow) (i backend.Inventory, err error) { return i, r.Scan(&i) }
	i, err := selectOne(ctx, b.s.pool, scan, `SELECT inventory FROM broker.inventories WHERE backend = $1`, name)
	return i, orNotFound(err, "Backend")
}

package state

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker"
)

// KeepPrices also records what the instances of other platforms cost from now on, where that is news.
func (b Broker) KeepPrices(ctx context.Context, prices []broker.Price) error {
	return b.s.tx(ctx, func(tx pgx.Tx) error {
		for _, p := range prices {
			if _, err := tx.Exec(ctx, `INSERT INTO broker.prices (plan_id, plan_name, offering_id, offering_name, costs)
				VALUES ($1, $2, $3, $4, $5) ON CONFLICT (plan_id) DO UPDATE
				SET plan_name = $2, offering_id = $3, offering_name = $4, costs = $5`,
				p.PlanID, p.Plan, p.ServiceID, p.Offering, p.Costs); err != nil {
				return err
			}
		}
		return recordTenantUsage(ctx, tx, nil)
	})
}

// tenantUsageNews are the instances i of clients that serve, of which the last event says something else, or that it
// has ended: a client may give an id again.
const tenantUsageNews = ` FROM broker.instances i
		JOIN tenant.instances c ON c.instance_id = i.id
		JOIN tenant.tenants t ON t.id = c.tenant
		JOIN broker.prices p ON p.plan_id = i.plan_id
		JOIN market.brokers k ON k.url = ''
		LEFT JOIN LATERAL (SELECT * FROM market.usage_events u WHERE u.instance_id = i.id ORDER BY u.number DESC
			LIMIT 1) l ON true
	WHERE ($1::text IS NULL OR i.id = $1) AND i.spec IS NOT NULL AND (l.id IS NULL OR l.state = 'DELETED' OR
		(l.plan_id, l.plan_name, l.offering_name, l.costs) <> (p.plan_id, p.plan_name, p.offering_name, p.costs))`

// recordTenantUsage records what has become of an instance of a client of the broker, or of each one if there is no id,
// where that is news. The client is the organization, and its space. As recordUsage it comes last in its transaction;
// whose transaction it is has the instance, so nobody else records the same of it.
func recordTenantUsage(ctx context.Context, tx pgx.Tx, id *backstay.InstanceID) error {
	var news bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT`+tenantUsageNews+`)`, id).Scan(&news); err != nil || !news {
		return err
	}
	if err := lockUsage(ctx, tx); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `INSERT INTO market.usage_events (id, state, instance_id, instance_name, organization_id,
			organization_name, space_id, space_name, plan_id, plan_name, offering_id, offering_name, broker_id, broker_name,
			costs)
		SELECT CASE WHEN l.id IS NULL THEN i.id ELSE gen_random_uuid()::text END,
			CASE WHEN l.id IS NULL OR l.state = 'DELETED' THEN 'CREATED' ELSE 'UPDATED' END,
			i.id, coalesce(nullif(i.name, ''), c.external_id), t.id, 'osb-client ' || t.name, t.id, t.name, p.plan_id,
			p.plan_name, p.offering_id, p.offering_name, k.id, k.name, p.costs`+tenantUsageNews+` ORDER BY i.id`, id)
	return err
}

// recordTenantEnd records the end of an instance of a client, by the last that was recorded of it. The caller has the
// instance.
func recordTenantEnd(ctx context.Context, tx pgx.Tx, id backstay.InstanceID) error {
	if err := lockUsage(ctx, tx); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `INSERT INTO market.usage_events (id, state, instance_id, instance_name, organization_id,
			organization_name, space_id, space_name, plan_id, plan_name, offering_id, offering_name, broker_id, broker_name,
			costs)
		SELECT gen_random_uuid()::text, 'DELETED', instance_id, instance_name, organization_id, organization_name, space_id,
			space_name, plan_id, plan_name, offering_id, offering_name, broker_id, broker_name, costs
		FROM (SELECT * FROM market.usage_events WHERE instance_id = $1 ORDER BY number DESC LIMIT 1) l
		WHERE l.state <> 'DELETED' AND EXISTS (SELECT FROM tenant.tenants t WHERE t.id = l.organization_id)`, id)
	return err
}

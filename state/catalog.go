package state

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

func (s *Store) KeepCatalog(ctx context.Context, offerings []backstay.CatalogOffering) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		// Two at once would lock the same rows in different orders, and one of them fail. Readers go on.
		if _, err := tx.Exec(ctx, `LOCK TABLE market.offerings IN SHARE ROW EXCLUSIVE MODE`); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE market.plans SET available = false WHERE available`); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE market.offerings SET available = false WHERE available`); err != nil {
			return err
		}
		for _, o := range offerings {
			if err := keepOffering(ctx, tx, o); err != nil {
				return fmt.Errorf("keep offering %s: %w", o.Name, err)
			}
		}
		return recordUsage(ctx, tx, backstay.UsageUpdated, nil)
	})
}

func keepOffering(ctx context.Context, tx pgx.Tx, o backstay.CatalogOffering) error {
	_, err := tx.Exec(ctx, `INSERT INTO market.offerings (id, name, description, documentation_url, tags, shareable, available)
		VALUES ($1, $2, $3, $4, coalesce($5, '{}'::text[]), $6, true)
		ON CONFLICT (id) DO UPDATE SET (name, description, documentation_url, tags, shareable, available, updated_at) =
			ROW (excluded.name, excluded.description, excluded.documentation_url, excluded.tags, excluded.shareable, true, now())`,
		o.ID, o.Name, o.Description, o.DocumentationURL, o.Tags, o.Shareable)
	if err != nil {
		return err
	}
	for i, p := range o.Plans {
		_, err := tx.Exec(ctx, `INSERT INTO market.plans (id, offering_id, position, name, description, free, costs, schemas, available, public)
			VALUES ($1, $2, $3, $4, $5, $6, coalesce($7::jsonb, '[]'), $8, true, $9)
			ON CONFLICT (id) DO UPDATE SET (position, name, description, free, costs, schemas, available, updated_at) =
				ROW (excluded.position, excluded.name, excluded.description, excluded.free, excluded.costs, excluded.schemas, true, now())`,
			p.ID, o.ID, i, p.Name, p.Description, p.Free, p.Costs, p.Schemas, !o.Private)
		if err != nil {
			return fmt.Errorf("plan %s: %w", p.Name, err)
		}
	}
	return nil
}

func (s *Store) ServiceBrokers(ctx context.Context, f market.BrokerFilter) (market.List[backstay.ServiceBroker], error) {
	q := query{columns: `k.id, k.name, k.labels, k.annotations, k.created_at, k.updated_at`, from: "market.brokers k", alias: "k"}
	in(&q, "k.id", f.IDs)
	in(&q, "k.name", f.Names)
	q.match(f.Match)
	return list(ctx, s, q, f.Order, f.Page, func(r pgx.CollectableRow) (b backstay.ServiceBroker, err error) {
		err = r.Scan(&b.ID, &b.Name, &b.Metadata.Labels, &b.Metadata.Annotations, &b.CreatedAt, &b.UpdatedAt)
		return b, err
	})
}

func (s *Store) Offerings(ctx context.Context, f market.OfferingFilter) (market.List[backstay.Offering], error) {
	q := query{columns: `o.id, o.name, o.description, o.documentation_url, o.tags, o.shareable, o.available, o.labels, o.annotations, o.created_at, o.updated_at`, from: "market.offerings o", alias: "o"}
	in(&q, "o.id", f.IDs)
	in(&q, "o.name", f.Names)
	is(&q, "o.available", f.Available)
	if condition := accessible(&q, f.Access); condition != "" {
		q.where = append(q.where, `EXISTS (SELECT FROM market.plans p WHERE p.offering_id = o.id AND `+condition+`)`)
	}
	q.match(f.Match)
	return list(ctx, s, q, f.Order, f.Page, func(r pgx.CollectableRow) (o backstay.Offering, err error) {
		err = r.Scan(&o.ID, &o.Name, &o.Description, &o.DocumentationURL, &o.Tags, &o.Shareable, &o.Available, &o.Metadata.Labels, &o.Metadata.Annotations, &o.CreatedAt, &o.UpdatedAt)
		o.ServiceID, o.Bindable, o.InstancesRetrievable = backstay.ServiceID(o.ID), true, true
		return o, err
	})
}

// Plans come, unless an order is asked for, as the catalog lists them.
func (s *Store) Plans(ctx context.Context, f market.PlanFilter) (market.List[backstay.Plan], error) {
	q := query{
		columns: `p.id, p.offering_id, p.name, p.description, p.free, p.costs, p.schemas, p.available, p.labels, p.annotations, p.created_at, p.updated_at,
			CASE WHEN p.public THEN 'public' WHEN EXISTS (SELECT FROM market.plan_organizations po WHERE po.plan_id = p.id) THEN 'organization' ELSE 'admin' END`,
		from: "market.plans p JOIN market.offerings o ON o.id = p.offering_id", alias: "p", tie: "p.position",
	}
	in(&q, "p.id", f.IDs)
	in(&q, "p.name", f.Names)
	in(&q, "p.offering_id", f.OfferingIDs)
	in(&q, "o.name", f.OfferingNames)
	is(&q, "p.available", f.Available)
	if condition := accessible(&q, f.Access); condition != "" {
		q.where = append(q.where, condition)
	}
	q.match(f.Match)
	return list(ctx, s, q, f.Order, f.Page, func(r pgx.CollectableRow) (p backstay.Plan, err error) {
		err = r.Scan(&p.ID, &p.OfferingID, &p.Name, &p.Description, &p.Free, &p.Costs, &p.Schemas, &p.Available, &p.Metadata.Labels, &p.Metadata.Annotations, &p.CreatedAt, &p.UpdatedAt, &p.Visibility)
		p.ServicePlanID, p.Bindable = backstay.ServicePlanID(p.ID), true
		return p, err
	})
}

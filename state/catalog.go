package state

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

func (s *Store) KeepCatalog(
	ctx context.Context, from backstay.ServiceBroker, offerings []backstay.CatalogOffering,
	record func(market.CatalogChange) backstay.Event,
) error {
	err := s.tx(ctx, func(tx pgx.Tx) error {
		if err := lockCatalogs(ctx, tx); err != nil {
			return err
		}
		if err := keepBroker(ctx, tx, from); err != nil {
			return err
		}
		return keepCatalog(ctx, tx, from, offerings, record)
	})
	if violates(err, "plan_name") {
		return backstay.Errorf(backstay.Invalid, "The catalog of %s has two plans of one name in an offering.", from.Name)
	}
	return err
}

// lockCatalogs keeps others from changing catalogs: two at once would lock the same rows in different orders, and one
// of them fail. Readers go on.
func lockCatalogs(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `LOCK TABLE market.offerings IN SHARE ROW EXCLUSIVE MODE`)
	return err
}

// keepBroker leaves a broker that somebody has registered as they did it. It is NotFound if they have deleted it.
func keepBroker(ctx context.Context, tx pgx.Tx, b backstay.ServiceBroker) error {
	if b.URL != "" {
		var known bool
		err := tx.QueryRow(ctx, `SELECT true FROM market.brokers WHERE id = $1 FOR SHARE`, b.ID).Scan(&known)
		return orNotFound(err, "Service broker")
	}
	_, err := tx.Exec(ctx, `INSERT INTO market.brokers (id, name) VALUES ($1, $2)
		ON CONFLICT (id) DO UPDATE SET (name, updated_at) = ROW (excluded.name, now())
		WHERE brokers.name <> excluded.name AND brokers.url = ''`, b.ID, b.Name)
	return err
}

// keepCatalog puts on sale what a broker offers, while catalogs are locked.
func keepCatalog(
	ctx context.Context, tx pgx.Tx, from backstay.ServiceBroker, offerings []backstay.CatalogOffering,
	record func(market.CatalogChange) backstay.Event,
) error {
	k, err := newCatalogKeeper(ctx, tx, from)
	if err != nil {
		return err
	}
	for _, o := range offerings {
		if err := k.keepOffering(ctx, tx, o); err != nil {
			return fmt.Errorf("keep offering %s: %w", o.Name, err)
		}
	}
	if err := k.withdraw(ctx, tx); err != nil {
		return err
	}
	if from.URL != "" {
		if err := k.forget(ctx, tx); err != nil {
			return err
		}
	}
	if len(k.changes) == 0 {
		return nil
	}
	if err := k.record(ctx, tx, record); err != nil {
		return err
	}
	return recordUsage(ctx, tx, backstay.UsageUpdated, nil)
}

func (k *catalogKeeper) record(
	ctx context.Context, tx pgx.Tx, record func(market.CatalogChange) backstay.Event,
) error {
	for _, c := range k.changes {
		if err := recordEvent(ctx, tx, record(c)); err != nil {
			return err
		}
	}
	return nil
}

// forget removes what the catalog does not list any more, and no instance has: of a broker that somebody has
// registered nothing else stays, as in Cloud Foundry.
func (k *catalogKeeper) forget(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `DELETE FROM market.plans p USING market.offerings o
		WHERE o.id = p.offering_id AND o.broker_id = $1 AND p.id <> ALL ($2)
			AND NOT EXISTS (SELECT FROM market.instances i WHERE i.plan_id = p.id)
			AND NOT EXISTS (SELECT FROM market.instance_changes c WHERE c.plan_id = p.id)
		RETURNING `+planColumns, k.broker.ID, texts(k.listed.plans))
	if err != nil {
		return err
	}
	plans, err := pgx.CollectRows(rows, scanPlan)
	if err != nil {
		return err
	}
	for _, p := range plans {
		k.changes = append(k.changes, market.CatalogChange{OldPlan: &p})
	}
	rows, err = tx.Query(ctx, `DELETE FROM market.offerings o WHERE o.broker_id = $1 AND o.id <> ALL ($2)
			AND NOT EXISTS (SELECT FROM market.plans p WHERE p.offering_id = o.id)
		RETURNING `+offeringColumns, k.broker.ID, texts(k.listed.offerings))
	if err != nil {
		return err
	}
	offerings, err := pgx.CollectRows(rows, scanOffering)
	for _, o := range offerings {
		k.changes = append(k.changes, market.CatalogChange{OldOffering: &o})
	}
	return err
}

// catalogKeeper keeps a broker's catalog in the place of what was known of it before, and notes what is new about it.
type catalogKeeper struct {
	broker    backstay.ServiceBroker
	offerings map[backstay.ServiceID]backstay.Offering
	plans     map[backstay.OfferingID]map[backstay.ServicePlanID]backstay.Plan
	listed    struct {
		offerings []backstay.OfferingID
		plans     []backstay.PlanID
	}
	changes []market.CatalogChange
}

func newCatalogKeeper(ctx context.Context, tx pgx.Tx, of backstay.ServiceBroker) (*catalogKeeper, error) {
	k := &catalogKeeper{
		broker: of, offerings: map[backstay.ServiceID]backstay.Offering{},
		plans: map[backstay.OfferingID]map[backstay.ServicePlanID]backstay.Plan{},
	}
	rows, err := tx.Query(ctx, `SELECT `+offeringColumns+` FROM market.offerings o WHERE o.broker_id = $1`, of.ID)
	if err != nil {
		return k, err
	}
	offerings, err := pgx.CollectRows(rows, scanOffering)
	if err != nil {
		return k, err
	}
	for _, o := range offerings {
		k.offerings[o.ServiceID], k.plans[o.ID] = o, map[backstay.ServicePlanID]backstay.Plan{}
	}
	rows, err = tx.Query(ctx, `SELECT `+planColumns+` FROM market.plans p
		WHERE p.offering_id IN (SELECT o.id FROM market.offerings o WHERE o.broker_id = $1)`, of.ID)
	if err != nil {
		return k, err
	}
	plans, err := pgx.CollectRows(rows, scanPlan)
	for _, p := range plans {
		k.plans[p.OfferingID][p.ServicePlanID] = p
	}
	return k, err
}

// withdraw takes off sale what the catalog does not list any more.
func (k *catalogKeeper) withdraw(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `UPDATE market.offerings o SET available = false, updated_at = now()
		WHERE o.available AND o.broker_id = $1 AND o.id <> ALL ($2) RETURNING `+offeringColumns, k.broker.ID,
		texts(k.listed.offerings))
	if err != nil {
		return err
	}
	offerings, err := pgx.CollectRows(rows, scanOffering)
	if err != nil {
		return err
	}
	for _, o := range offerings {
		old := k.offerings[o.ServiceID]
		k.changes = append(k.changes, market.CatalogChange{OldOffering: &old, Offering: &o})
	}
	rows, err = tx.Query(ctx, `UPDATE market.plans p SET available = false, updated_at = now() WHERE p.available
		AND p.offering_id IN (SELECT id FROM market.offerings WHERE broker_id = $1) AND p.id <> ALL ($2)
		RETURNING `+planColumns, k.broker.ID, texts(k.listed.plans))
	if err != nil {
		return err
	}
	plans, err := pgx.CollectRows(rows, scanPlan)
	for _, p := range plans {
		old := k.plans[p.OfferingID][p.ServicePlanID]
		k.changes = append(k.changes, market.CatalogChange{OldPlan: &old, Plan: &p})
	}
	return err
}

// guid is how an INSERT into the table names a thing of a catalog: by the id that its broker has for it, $1,
// if that is a guid that nothing in the table has, or else by a new one.
func guid(table string) string {
	return `CASE WHEN $1 ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' AND NOT EXISTS (SELECT FROM ` + table + `
		WHERE id = $1)
		THEN $1 ELSE gen_random_uuid()::text END`
}

// keepOffering leaves the row of an offering that is as it was alone, and so keepPlan that of a plan.
func (k *catalogKeeper) keepOffering(ctx context.Context, tx pgx.Tx, o backstay.CatalogOffering) error {
	old, known := k.offerings[o.ID]
	id := old.ID
	rows, err := tx.Query(ctx, `INSERT INTO market.offerings AS o (service_id, id, broker_id, name, description,
			documentation_url, tags, requires, shareable, bindable, instances_retrievable, bindings_retrievable,
			plan_updateable, allow_context_updates, available, broker_metadata)
		VALUES ($1, `+guid("market.offerings")+`, $2, $3, $4, $5, coalesce($6, '{}'::text[]), coalesce($7, '{}'::text[]),
			$8, $9, $10, $11, $12, $13, true, $14)
		ON CONFLICT ON CONSTRAINT offering_in_catalog DO UPDATE SET (name, description, documentation_url, tags, requires,
			shareable, bindable, instances_retrievable, bindings_retrievable, plan_updateable, allow_context_updates,
			available, broker_metadata, updated_at) =
			ROW (excluded.name, excluded.description, excluded.documentation_url, excluded.tags, excluded.requires,
			excluded.shareable, excluded.bindable, excluded.instances_retrievable, excluded.bindings_retrievable,
			excluded.plan_updateable, excluded.allow_context_updates, true, excluded.broker_metadata, now())
			WHERE (o.name, o.description, o.documentation_url, o.tags, o.requires, o.shareable, o.bindable,
				o.instances_retrievable, o.bindings_retrievable, o.plan_updateable, o.allow_context_updates, o.available,
				o.broker_metadata::text)
				IS DISTINCT FROM (excluded.name, excluded.description, excluded.documentation_url, excluded.tags,
				excluded.requires, excluded.shareable, excluded.bindable, excluded.instances_retrievable,
				excluded.bindings_retrievable, excluded.plan_updateable, excluded.allow_context_updates, true,
				excluded.broker_metadata::text)
		RETURNING `+offeringColumns,
		o.ID, k.broker.ID, o.Name, o.Description, o.DocumentationURL, o.Tags, o.Requires, o.Shareable, o.Bindable,
		o.InstancesRetrievable, o.BindingsRetrievable, o.PlanUpdateable, o.AllowContextUpdates, o.BrokerMetadata)
	if err != nil {
		return err
	}
	changed, err := pgx.CollectRows(rows, scanOffering)
	if err != nil {
		return err
	}
	for _, now := range changed {
		id = now.ID
		c := market.CatalogChange{Offering: &now}
		if known {
			c.OldOffering = &old
		}
		k.changes = append(k.changes, c)
	}
	k.listed.offerings = append(k.listed.offerings, id)
	for position, p := range o.Plans {
		if err := k.keepPlan(ctx, tx, id, o, position, p); err != nil {
			return fmt.Errorf("plan %s: %w", p.Name, err)
		}
	}
	return nil
}

func (k *catalogKeeper) keepPlan(
	ctx context.Context, tx pgx.Tx, of backstay.OfferingID, o backstay.CatalogOffering, position int,
	p backstay.CatalogPlan,
) error {
	bindable, updateable := o.Bindable, o.PlanUpdateable
	if p.Bindable != nil {
		bindable = *p.Bindable
	}
	if p.PlanUpdateable != nil {
		updateable = *p.PlanUpdateable
	}
	rows, err := tx.Query(ctx, `INSERT INTO market.plans AS p (service_plan_id, id, offering_id, position, name,
			description, free, costs, schemas, bindable, plan_updateable, maintenance_info, maximum_polling, available, public,
			space_id, broker_metadata)
		VALUES ($1, `+guid("market.plans")+`, $2, $3, $4, $5, $6, coalesce($7::jsonb, '[]'), $8, $9, $10, $11, $12, true,
			$13, nullif($14, ''), $15)
		ON CONFLICT ON CONSTRAINT plan_in_catalog DO UPDATE SET (position, name, description, free, costs, schemas, bindable,
			plan_updateable, maintenance_info, maximum_polling, available, broker_metadata, updated_at) =
			ROW (excluded.position, excluded.name, excluded.description, excluded.free, excluded.costs, excluded.schemas,
			excluded.bindable, excluded.plan_updateable, excluded.maintenance_info, excluded.maximum_polling, true,
			excluded.broker_metadata, now())
			WHERE (p.position, p.name, p.description, p.free, p.costs, p.schemas, p.bindable, p.plan_updateable,
				p.maintenance_info, p.maximum_polling, p.available, p.broker_metadata::text)
				IS DISTINCT FROM (excluded.position, excluded.name,
				excluded.description, excluded.free, excluded.costs, excluded.schemas, excluded.bindable,
				excluded.plan_updateable, excluded.maintenance_info, excluded.maximum_polling, true,
				excluded.broker_metadata::text)
		RETURNING `+planColumns,
		p.ID, of, position, p.Name, p.Description, p.Free, p.Costs, p.Schemas, bindable, updateable, p.MaintenanceInfo,
		p.MaximumPollingDuration, !o.Private, k.broker.SpaceID, p.BrokerMetadata)
	if err != nil {
		return err
	}
	changed, err := pgx.CollectRows(rows, scanPlan)
	if err != nil {
		return err
	}
	old, known := k.plans[of][p.ID]
	id := old.ID
	for _, now := range changed {
		id = now.ID
		c := market.CatalogChange{Plan: &now}
		if known {
			c.OldPlan = &old
		}
		k.changes = append(k.changes, c)
	}
	k.listed.plans = append(k.listed.plans, id)
	return nil
}

const offeringColumns = `o.id, o.broker_id, o.service_id, o.name, o.description, o.documentation_url, o.tags,
	o.requires,
	o.bindable, o.instances_retrievable, o.bindings_retrievable, o.plan_updateable, o.allow_context_updates, o.shareable,
	o.available, o.broker_metadata, o.labels, o.annotations, o.created_at, o.updated_at`

func scanOffering(r pgx.CollectableRow) (o backstay.Offering, err error) {
	err = r.Scan(&o.ID, &o.BrokerID, &o.ServiceID, &o.Name, &o.Description, &o.DocumentationURL, &o.Tags, &o.Requires,
		&o.Bindable, &o.InstancesRetrievable, &o.BindingsRetrievable, &o.PlanUpdateable, &o.AllowContextUpdates,
		&o.Shareable,
		&o.Available, &o.BrokerMetadata, &o.Metadata.Labels, &o.Metadata.Annotations, &o.CreatedAt, &o.UpdatedAt)
	return o, err
}

func (s *Store) Offerings(
	ctx context.Context, f market.OfferingFilter,
) (market.List[backstay.Offering], error) {
	q := query{
		columns: offeringColumns, from: "market.offerings o JOIN market.brokers k ON k.id = o.broker_id", alias: "o",
	}
	whereIn(&q, "o.id", f.IDs)
	whereIn(&q, "o.name", f.Names)
	whereIn(&q, "o.broker_id", f.BrokerIDs)
	whereIn(&q, "k.name", f.BrokerNames)
	whereIs(&q, "o.available", f.Available)
	if condition := accessible(&q, f.Access); condition != "" {
		q.where = append(q.where, `EXISTS (SELECT FROM market.plans p WHERE p.offering_id = o.id AND `+condition+`)`)
	}
	q.match(f.Match)
	return selectList(ctx, s, q, f.Order, f.Page, scanOffering)
}

const planColumns = `p.id, p.offering_id, p.service_plan_id, p.name, p.description, p.free, p.bindable,
	p.plan_updateable, p.costs, p.schemas, p.maintenance_info, p.maximum_polling, p.available, p.broker_metadata,
	p.labels, p.annotations, p.created_at, p.updated_at,
	coalesce(p.space_id, ''), CASE WHEN p.public THEN 'public' WHEN p.space_id IS NOT NULL THEN 'space'
		WHEN EXISTS (SELECT FROM market.plan_organizations po WHERE po.plan_id = p.id) THEN 'organization' ELSE 'admin' END`

func scanPlan(r pgx.CollectableRow) (p backstay.Plan, err error) {
	err = r.Scan(&p.ID, &p.OfferingID, &p.ServicePlanID, &p.Name, &p.Description, &p.Free, &p.Bindable, &p.PlanUpdateable,
		&p.Costs, &p.Schemas, &p.MaintenanceInfo, &p.MaximumPollingDuration, &p.Available, &p.BrokerMetadata,
		&p.Metadata.Labels, &p.Metadata.Annotations, &p.CreatedAt, &p.UpdatedAt, &p.SpaceID, &p.Visibility)
	return p, err
}

// Plans come, unless an order is asked for, as the catalog lists them.
func (s *Store) Plans(ctx context.Context, f market.PlanFilter) (market.List[backstay.Plan], error) {
	q := query{
		columns: planColumns, alias: "p", tie: "p.position",
		from: "market.plans p JOIN market.offerings o ON o.id = p.offering_id JOIN market.brokers k ON k.id = o.broker_id",
	}
	whereIn(&q, "p.id", f.IDs)
	whereIn(&q, "p.name", f.Names)
	whereIn(&q, "p.service_plan_id", f.ServicePlanIDs)
	whereIn(&q, "p.offering_id", f.OfferingIDs)
	whereIn(&q, "o.name", f.OfferingNames)
	whereIn(&q, "o.broker_id", f.BrokerIDs)
	whereIn(&q, "k.name", f.BrokerNames)
	whereIs(&q, "p.available", f.Available)
	if condition := accessible(&q, f.Access); condition != "" {
		q.where = append(q.where, condition)
	}
	q.match(f.Match)
	return selectList(ctx, s, q, f.Order, f.Page, scanPlan)
}

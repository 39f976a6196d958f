package state

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

const organizationColumns = `o.id, o.name, o.suspended, o.quota_id, o.labels, o.annotations, o.created_at, o.updated_at`

func scanOrganization(r pgx.CollectableRow) (o backstay.Organization, err error) {
	err = r.Scan(&o.ID, &o.Name, &o.Suspended, &o.QuotaID, &o.Metadata.Labels, &o.Metadata.Annotations, &o.CreatedAt,
		&o.UpdatedAt)
	return o, err
}

func (s *Store) Organizations(ctx context.Context,
	f market.OrganizationFilter) (market.List[backstay.Organization], error) {
	q := query{columns: organizationColumns, from: "market.organizations o", alias: "o"}
	whereIn(&q, "o.id", f.IDs)
	whereIn(&q, "o.name", f.Names)
	whereAmong(&q, `EXISTS (SELECT FROM market.plan_organizations po WHERE po.organization_id = o.id
		AND po.plan_id = ANY(%s))`, f.PlanIDs)
	// An array, so that the few are looked up by key and the many not gone through.
	seenBy(&q, `o.id = ANY (ARRAY(SELECT v.organization_id FROM market.roles v WHERE v.user_id = %[1]s))`, f.Viewer)
	q.match(f.Match)
	return selectList(ctx, s, q, f.Order, f.Page, scanOrganization)
}

func (s *Store) AddOrganization(ctx context.Context, o backstay.Organization,
	e backstay.Event) (backstay.Organization, error) {
	added, err := recorded(ctx, s, e, func(tx pgx.Tx) (backstay.Organization, error) {
		return selectOne(ctx, tx, scanOrganization, `INSERT INTO market.organizations AS o
			(id, name, suspended, labels, annotations) VALUES ($1, $2, $3, $4, $5) RETURNING `+organizationColumns,
			o.ID, o.Name, o.Suspended, object(o.Metadata.Labels), object(o.Metadata.Annotations))
	})
	return added, organizationTaken(err, o.Name)
}

func (s *Store) UpdateOrganization(ctx context.Context, id backstay.OrganizationID, u market.OrganizationUpdate,
	e backstay.Event) (backstay.Organization, error) {
	o, err := recorded(ctx, s, e, func(tx pgx.Tx) (backstay.Organization, error) {
		if err := updateMetadata(ctx, tx, "market.organizations", id, u.Metadata); err != nil {
			return backstay.Organization{}, err
		}
		return selectOne(ctx, tx, scanOrganization, `UPDATE market.organizations o
			SET name = coalesce($2, name), suspended = coalesce($3, suspended), updated_at = now() WHERE id = $1
			RETURNING `+organizationColumns, id, u.Name, u.Suspended)
	})
	return o, organizationTaken(orNotFound(err, "Organization"), wanted(u.Name))
}

func organizationTaken(err error, name string) error {
	if violates(err, "organization_name") {
		return backstay.Errorf(backstay.Taken, "Organization '%s' already exists.", name)
	}
	return err
}

func (s *Store) FinishDeleteOrganization(ctx context.Context, id backstay.OrganizationID, j backstay.JobID) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM market.organizations WHERE id = $1`, id)
		if violates(err, "space_organization") {
			return backstay.Errorf(backstay.InUse, "The organization still has spaces.")
		}
		if err != nil {
			return err
		}
		return s.completeJob(ctx, tx, &j)
	})
}

const spaceColumns = `s.id, s.organization_id, s.name, coalesce(s.quota_id, ''), s.allows_ssh, s.labels, s.annotations,
	s.created_at, s.updated_at`

func scanSpace(r pgx.CollectableRow) (s backstay.Space, err error) {
	err = r.Scan(&s.ID, &s.OrganizationID, &s.Name, &s.QuotaID, &s.AllowsSSH, &s.Metadata.Labels, &s.Metadata.Annotations,
		&s.CreatedAt, &s.UpdatedAt)
	return s, err
}

func (s *Store) Spaces(ctx context.Context, f market.SpaceFilter) (market.List[backstay.Space], error) {
	q := query{columns: spaceColumns, from: "market.spaces s", alias: "s"}
	whereIn(&q, "s.id", f.IDs)
	whereIn(&q, "s.name", f.Names)
	whereIn(&q, "s.organization_id", f.OrganizationIDs)
	seenIn(&q, "s.id", f.Viewer)
	q.match(f.Match)
	return selectList(ctx, s, q, f.Order, f.Page, scanSpace)
}

func (s *Store) AddSpace(ctx context.Context, sp backstay.Space, e backstay.Event) (backstay.Space, error) {
	added, err := recorded(ctx, s, e, func(tx pgx.Tx) (backstay.Space, error) {
		return selectOne(ctx, tx, scanSpace, `INSERT INTO market.spaces AS s (id, organization_id, name, labels, annotations)
			VALUES ($1, $2, $3, $4, $5) RETURNING `+spaceColumns,
			sp.ID, sp.OrganizationID, sp.Name, object(sp.Metadata.Labels), object(sp.Metadata.Annotations))
	})
	if violates(err, "space_organization") {
		return added, backstay.Errorf(backstay.Invalid,
			"Invalid organization. Ensure the organization exists and you have access to it.")
	}
	return added, spaceTaken(err)
}

func (s *Store) UpdateSpace(ctx context.Context, id backstay.SpaceID, u market.SpaceUpdate,
	e backstay.Event) (backstay.Space, error) {
	sp, err := recorded(ctx, s, e, func(tx pgx.Tx) (backstay.Space, error) {
		if err := updateMetadata(ctx, tx, "market.spaces", id, u.Metadata); err != nil {
			return backstay.Space{}, err
		}
		return selectOne(ctx, tx, scanSpace, `UPDATE market.spaces s SET name = coalesce($2, name),
			allows_ssh = coalesce($3, allows_ssh), updated_at = now() WHERE id = $1 RETURNING `+spaceColumns,
			id, u.Name, u.AllowsSSH)
	})
	return sp, spaceTaken(orNotFound(err, "Space"))
}

func spaceTaken(err error) error {
	if violates(err, "space_name") {
		return backstay.Errorf(backstay.Taken, "Name must be unique per organization")
	}
	return err
}

func (s *Store) RemoveSpace(ctx context.Context, id backstay.SpaceID, e backstay.Event) error {
	err := s.removed(ctx, e, `DELETE FROM market.spaces WHERE id = $1`, id)
	if violates(err, "app_space") || violates(err, "instance_space") {
		return backstay.Errorf(backstay.InUse, "The space still has apps or service instances.")
	}
	if violates(err, "broker_space") {
		return backstay.Errorf(backstay.InUse, "The space still has service brokers of its own.")
	}
	return err
}

package state

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

func (s *Store) Quotas(ctx context.Context, f market.QuotaFilter) (market.List[backstay.Quota], error) {
	q := query{from: "market.quotas q", alias: "q"}
	organization, space := seenQuotas(&q, f.ForSpaces, f.Viewer)
	whereIn(&q, "q.id", f.IDs)
	whereIn(&q, "q.name", f.Names)
	if f.ForSpaces {
		whereIn(&q, "q.organization_id", f.OrganizationIDs)
		whereAmong(&q, `EXISTS (SELECT FROM market.spaces s WHERE s.quota_id = q.id AND `+space+` AND s.id = ANY(%s))`,
			f.SpaceIDs)
	} else {
		whereAmong(&q, `EXISTS (SELECT FROM market.organizations o WHERE o.quota_id = q.id AND `+organization+`
			AND o.id = ANY(%s))`, f.OrganizationIDs)
	}
	q.match(f.Match)
	return selectList(ctx, s, q, f.Order, f.Page, scanQuota)
}

// seenQuotas makes q one of quotas of one kind, with those that have them, as far as the viewer sees them: all
// that an organization or a space of theirs has, and those that they manage. Nil sees everything. It returns the
// conditions under which the viewer sees an organization o and a space s.
func seenQuotas(q *query, forSpaces bool, viewer *backstay.UserID) (organization, space string) {
	organization, space = "true", "true"
	if viewer != nil {
		v := q.arg(*viewer)
		organization = `o.id IN (SELECT v.organization_id FROM market.roles v WHERE v.user_id = ` + v + `)`
		space = `s.id IN (` + spacesSeenBy(v) + `)`
		if forSpaces {
			q.where = append(q.where, `(q.organization_id IN (SELECT v.organization_id FROM market.roles v
				WHERE v.user_id = `+v+` AND v.type = 'organization_manager')
				OR EXISTS (SELECT FROM market.spaces s WHERE s.quota_id = q.id AND `+space+`))`)
		} else {
			q.where = append(q.where, `EXISTS (SELECT FROM market.organizations o WHERE o.quota_id = q.id
				AND `+organization+`)`)
		}
	}
	q.where = append(q.where, fmt.Sprintf("(q.organization_id IS NOT NULL) = %t", forSpaces))
	q.columns = `q.id, coalesce(q.organization_id, ''), q.name, q.paid_plans, q.limits, q.created_at, q.updated_at,
		ARRAY(SELECT o.id FROM market.organizations o WHERE o.quota_id = q.id AND ` + organization + ` ORDER BY 1),
		ARRAY(SELECT s.id FROM market.spaces s WHERE s.quota_id = q.id AND ` + space + ` ORDER BY 1)`
	return organization, space
}

func scanQuota(r pgx.CollectableRow) (q backstay.Quota, err error) {
	err = r.Scan(&q.ID, &q.OrganizationID, &q.Name, &q.PaidPlans, &q.Limits, &q.CreatedAt, &q.UpdatedAt,
		&q.OrganizationIDs, &q.SpaceIDs)
	return q, err
}

func (s *Store) AddQuota(ctx context.Context, n backstay.Quota, e backstay.Event) (backstay.Quota, error) {
	added, err := recorded(ctx, s, e, func(tx pgx.Tx) (q backstay.Quota, err error) {
		if _, err := tx.Exec(ctx, `INSERT INTO market.quotas (id, organization_id, name, paid_plans, limits)
			VALUES ($1, nullif($2, ''), $3, $4, $5)`,
			n.ID, n.OrganizationID, n.Name, n.PaidPlans, n.Limits); err != nil {
			return n, err
		}
		if err := applyQuota(ctx, tx, n.ID, n.OrganizationIDs); err != nil {
			return n, err
		}
		if err := applySpaceQuota(ctx, tx, n, n.SpaceIDs); err != nil {
			return n, err
		}
		q = n
		return q, tx.QueryRow(ctx, `SELECT created_at, updated_at FROM market.quotas WHERE id = $1`,
			n.ID).Scan(&q.CreatedAt, &q.UpdatedAt)
	})
	return added, quotaTaken(err, n.OrganizationID != "", n.Name)
}

func quotaTaken(err error, forSpaces bool, name string) error {
	if !violates(err, "quota_name") {
		return err
	}
	if forSpaces {
		return backstay.Errorf(backstay.Taken, "Space Quota '%s' already exists.", name)
	}
	return backstay.Errorf(backstay.Taken, "Organization Quota '%s' already exists.", name)
}

func (s *Store) UpdateQuota(ctx context.Context, id backstay.QuotaID, u market.QuotaUpdate, e backstay.Event) error {
	set, unset := backstay.Limits{}, []backstay.Limit{}
	for name, limit := range u.Limits {
		if limit == nil {
			unset = append(unset, name)
		} else {
			set[name] = *limit
		}
	}
	var forSpaces bool
	_, err := recorded(ctx, s, e, func(tx pgx.Tx) (none struct{}, err error) {
		err = tx.QueryRow(ctx, `SELECT organization_id IS NOT NULL FROM market.quotas WHERE id = $1 FOR UPDATE`,
			id).Scan(&forSpaces)
		if err != nil {
			return none, orNotFound(err, "Quota")
		}
		_, err = tx.Exec(ctx, `UPDATE market.quotas SET name = coalesce($2, name), paid_plans = coalesce($3, paid_plans),
			limits = (limits || $4) - $5::text[], updated_at = now() WHERE id = $1`, id, u.Name, u.PaidPlans, set, unset)
		return none, err
	})
	if u.Name != nil {
		err = quotaTaken(err, forSpaces, *u.Name)
	}
	return err
}

func (s *Store) ApplyQuota(ctx context.Context, id backstay.QuotaID, to []backstay.OrganizationID,
	events []backstay.Event) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		if err := applyQuota(ctx, tx, id, to); err != nil {
			return err
		}
		return recordEvents(ctx, tx, events)
	})
}

func (s *Store) ApplySpaceQuota(ctx context.Context, q backstay.Quota, to []backstay.SpaceID,
	events []backstay.Event) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		if err := applySpaceQuota(ctx, tx, q, to); err != nil {
			return err
		}
		return recordEvents(ctx, tx, events)
	})
}

func recordEvents(ctx context.Context, tx pgx.Tx, events []backstay.Event) error {
	for _, e := range events {
		if err := recordEvent(ctx, tx, e); err != nil {
			return err
		}
	}
	return nil
}

// Who is locked is locked in the order of ids, lest two of these wait for each other.

func applyQuota(ctx context.Context, tx pgx.Tx, id backstay.QuotaID, to []backstay.OrganizationID) error {
	found, err := selectColumn[backstay.OrganizationID](ctx, tx,
		`WITH locked AS (SELECT id FROM market.organizations WHERE id = ANY($2) ORDER BY id FOR NO KEY UPDATE)
		UPDATE market.organizations o SET quota_id = $1, updated_at = now() FROM locked WHERE o.id = locked.id
			RETURNING o.id`, id, to)
	return allFound(quotaGone(err, "organization_quota"),
		"Organizations with guids %s do not exist, or you do not have access to them.", to, found)
}

func applySpaceQuota(ctx context.Context, tx pgx.Tx, q backstay.Quota, to []backstay.SpaceID) error {
	found, err := selectColumn[backstay.SpaceID](ctx, tx,
		`WITH locked AS (SELECT id FROM market.spaces WHERE id = ANY($2) AND organization_id = $3
			ORDER BY id FOR NO KEY UPDATE)
		UPDATE market.spaces s SET quota_id = $1, updated_at = now() FROM locked WHERE s.id = locked.id RETURNING s.id`,
		q.ID, to, q.OrganizationID)
	return allFound(quotaGone(err, "space_quota"),
		"Spaces with guids %s do not exist within the organization specified, or you do not have access to them.", to, found)
}

// quotaGone is for a quota that was deleted since it was looked up.
func quotaGone(err error, constraint string) error {
	if violates(err, constraint) {
		return backstay.Errorf(backstay.NotFound, "Quota not found")
	}
	return err
}

// allFound refuses, with a sentence that names them, what was asked for and not found.
func allFound[ID ~string](err error, sentence string, asked, found []ID) error {
	if err != nil {
		return err
	}
	var missing []string
	for _, id := range asked {
		if !slices.Contains(found, id) {
			missing = append(missing, fmt.Sprintf("%q", id))
		}
	}
	if missing != nil {
		return backstay.Errorf(backstay.Invalid, sentence, "["+strings.Join(missing, ", ")+"]")
	}
	return nil
}

func (s *Store) RemoveSpaceQuota(ctx context.Context, id backstay.QuotaID, from backstay.SpaceID,
	e backstay.Event) error {
	_, err := recorded(ctx, s, e, func(tx pgx.Tx) (none struct{}, err error) {
		tag, err := tx.Exec(ctx, `UPDATE market.spaces SET quota_id = NULL, updated_at = now() WHERE id = $1
			AND quota_id = $2`, from, id)
		if err == nil && tag.RowsAffected() == 0 {
			err = backstay.Errorf(backstay.Invalid,
				"Unable to remove quota from space with guid '%s'. Ensure the space quota is applied to this space.", from)
		}
		return none, err
	})
	return err
}

func (s *Store) RemoveQuota(ctx context.Context, id backstay.QuotaID) error {
	_, err := s.pool.Exec(ctx, `DELETE FROM market.quotas WHERE id = $1`, id)
	if violates(err, "organization_quota") || violates(err, "space_quota") {
		return market.QuotaInUse(violates(err, "space_quota"))
	}
	return err
}

// AdmitInstance asks without a lock, so what it finds may be over when the answer arrives.
func (s *Store) AdmitInstance(ctx context.Context, space backstay.SpaceID, plan backstay.PlanID) error {
	return admitInstance(ctx, s.pool, space, plan, 1)
}

// lockQuotas lets one transaction at a time take what the quotas of a space and its organization leave:
// it puts its row there, locks, and counts. Who comes later counts that row.
func lockQuotas(ctx context.Context, tx pgx.Tx, space backstay.SpaceID) error {
	_, err := tx.Exec(ctx, `SELECT FROM market.organizations
		WHERE id = (SELECT organization_id FROM market.spaces WHERE id = $1) FOR NO KEY UPDATE`, space)
	return err
}

// allowance is what a quota says of one thing, and how much of that there is.
type allowance struct {
	ofSpace   bool // or of its organization
	paidPlans bool
	limit     *int64
	used      int64
}

// leaves tells whether there may be so many more.
func (a allowance) leaves(more int64) bool { return a.limit == nil || a.used+more <= *a.limit }

// What is counted against limits, each row with its space as x.
const (
	countedInstances = `count(i.plan_id) FROM market.instances i JOIN market.spaces x ON x.id = i.space_id WHERE true`
	countedKeys      = `count(*) FROM market.bindings b JOIN market.instances i ON i.id = b.instance_id
		JOIN market.spaces x ON x.id = i.space_id WHERE b.type = 'key'`
)

func (s *Store) OrganizationUsage(
	ctx context.Context, id backstay.OrganizationID,
) (u market.OrganizationUsage, err error) {
	err = s.pool.QueryRow(ctx, `SELECT (SELECT `+countedInstances+` AND x.organization_id = $1),
		(SELECT `+countedKeys+` AND x.organization_id = $1)`, id).Scan(&u.Instances, &u.Keys)
	return u, err
}

// allowances are those of the space's organization and, if it has a quota, of the space.
func allowances(ctx context.Context, q querier, space backstay.SpaceID, l backstay.Limit,
	counted string) ([]allowance, error) {
	rows, err := q.Query(ctx, `SELECT q.organization_id IS NOT NULL, q.paid_plans, (q.limits ->> $2)::bigint,
		(SELECT `+counted+`
			AND x.organization_id = s.organization_id AND (q.organization_id IS NULL OR x.id = s.id))
		FROM market.spaces s JOIN market.organizations o ON o.id = s.organization_id
			JOIN market.quotas q ON q.id IN (o.quota_id, s.quota_id)
		WHERE s.id = $1 ORDER BY 1`, space, l)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (a allowance, err error) {
		return a, r.Scan(&a.ofSpace, &a.paidPlans, &a.limit, &a.used)
	})
}

// Whom to ask for a larger quota.
const (
	fromManager       = "Ask a manager of the organization for another quota of the space."
	fromAdministrator = "Ask an administrator for another quota of the organization."
)

// admitPlan refuses a plan that the quotas of a space and its organization do not allow: for an instance that
// is to be "created", or one that is to be "updated" to it. It returns what the quotas say of instances.
func admitPlan(
	ctx context.Context, q querier, space backstay.SpaceID, plan backstay.PlanID, done string,
) ([]allowance, error) {
	free, err := selectOne(ctx, q, pgx.RowTo[bool], `SELECT free FROM market.plans WHERE id = $1`, plan)
	if err != nil {
		return nil, orNotFound(err, "Service plan")
	}
	all, err := allowances(ctx, q, space, backstay.ServiceInstances, countedInstances)
	if err != nil || free {
		return all, err
	}
	for _, a := range all {
		switch {
		case !a.paidPlans && a.ofSpace:
			return nil, backstay.Errorf(backstay.Invalid,
				"The service instance cannot be %s because paid service plans are not allowed for your space. "+fromManager, done)
		case !a.paidPlans:
			return nil, backstay.Errorf(backstay.Invalid,
				"The service instance cannot be %s because paid service plans are not allowed. "+fromAdministrator, done)
		}
	}
	return all, nil
}

// admitInstance is admitPlan for so many more instances of the plan; none if they are among those that are
// there already.
func admitInstance(ctx context.Context, q querier, space backstay.SpaceID, plan backstay.PlanID, more int64) error {
	all, err := admitPlan(ctx, q, space, plan, "created")
	if err != nil {
		return err
	}
	for _, a := range all {
		switch {
		case !a.leaves(more) && a.ofSpace:
			return backstay.Errorf(backstay.Invalid, "You have exceeded your space's services limit. "+fromManager)
		case !a.leaves(more):
			return backstay.Errorf(backstay.Invalid,
				"You have exceeded your organization's services limit. "+fromAdministrator)
		}
	}
	return nil
}

// admitKey refuses a service key, which is there already, if that is one too many for the quotas of its space
// and its organization.
func admitKey(ctx context.Context, q querier, space backstay.SpaceID) error {
	all, err := allowances(ctx, q, space, backstay.ServiceKeys, countedKeys)
	if err != nil {
		return err
	}
	for _, a := range all {
		switch {
		case !a.leaves(0) && a.ofSpace:
			return backstay.Errorf(backstay.Invalid,
				"You have exceeded your space's limit for service binding of type key. "+fromManager)
		case !a.leaves(0):
			return backstay.Errorf(backstay.Invalid,
				"You have exceeded your organization's limit for service binding of type key. "+fromAdministrator)
		}
	}
	return nil
}

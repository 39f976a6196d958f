package state

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

// accessible is the condition on a plan p that a gives access to it; empty if that does not narrow.
func accessible(q *query, a market.Access) string {
	enabled, own := []string{"po.plan_id = p.id"}, []string{"p.space_id IS NOT NULL"}
	held, seenSpace := "", ""
	if a.Viewer != nil {
		viewer := q.arg(*a.Viewer)
		enabled = append(enabled, `EXISTS (SELECT FROM market.roles r WHERE r.user_id = `+viewer+`
			AND r.organization_id = po.organization_id)`)
		own = append(own, `EXISTS (SELECT FROM market.roles r WHERE r.user_id = `+viewer+` AND r.space_id = p.space_id)`)
		seenSpace = ` AND s.id IN (` + spacesSeenBy(viewer) + `)`
		if a.Held {
			held = ` OR EXISTS (SELECT FROM market.instances i WHERE i.plan_id = p.id
				AND ` + knownSQL("IN ("+spacesSeenBy(viewer)+")") + `)`
		}
	}
	if a.OrganizationIDs != nil {
		organizations := q.arg(a.OrganizationIDs)
		enabled = append(enabled, `po.organization_id = ANY(`+organizations+`)`)
		own = append(own, `EXISTS (SELECT FROM market.spaces s WHERE s.id = p.space_id
			AND s.organization_id = ANY(`+organizations+`))`)
	}
	if a.SpaceIDs != nil {
		spaces := q.arg(a.SpaceIDs)
		enabled = append(enabled, `EXISTS (SELECT FROM market.spaces s WHERE s.id = ANY(`+spaces+`)
			AND s.organization_id = po.organization_id`+seenSpace+`)`)
		own = append(own, `p.space_id = ANY(`+spaces+`)`)
	}
	if len(enabled) == 1 {
		return ""
	}
	return `(p.public OR EXISTS (SELECT FROM market.plan_organizations po WHERE ` + strings.Join(enabled,
		" AND ") + `) OR (` + strings.Join(own, " AND ") + `)` + held + `)`
}

func (s *Store) SetPlanVisibility(ctx context.Context, id backstay.PlanID, v backstay.Visibility,
	organizations []backstay.OrganizationID, more bool, e backstay.Event) error {
	_, err := recorded(ctx, s, e, func(tx pgx.Tx) (none struct{}, err error) {
		tag, err := tx.Exec(ctx, `UPDATE market.plans SET public = $2, updated_at = now() WHERE id = $1`, id,
			v == backstay.PublicPlan)
		if err == nil && tag.RowsAffected() == 0 {
			err = backstay.Errorf(backstay.NotFound, "Service plan not found")
		}
		if err != nil {
			return none, err
		}
		if v != backstay.OrganizationPlan || !more {
			if _, err := tx.Exec(ctx, `DELETE FROM market.plan_organizations WHERE plan_id = $1`, id); err != nil {
				return none, err
			}
		}
		return none, enablePlan(ctx, tx, id, organizations)
	})
	return err
}

func enablePlan(ctx context.Context, tx pgx.Tx, id backstay.PlanID, organizations []backstay.OrganizationID) error {
	found, err := selectColumn[backstay.OrganizationID](ctx, tx, `SELECT id FROM market.organizations WHERE id = ANY($1)
		ORDER BY id FOR KEY SHARE`, organizations)
	if err := allFound(err, "Could not find Organizations with guids: %s", organizations, found); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO market.plan_organizations (plan_id, organization_id) SELECT $1, unnest($2::text[])
		ON CONFLICT DO NOTHING`, id, found)
	return err
}

func (s *Store) RemovePlanOrganization(ctx context.Context, id backstay.PlanID, organization backstay.OrganizationID,
	e backstay.Event) error {
	_, err := recorded(ctx, s, e, func(tx pgx.Tx) (none struct{}, err error) {
		tag, err := tx.Exec(ctx, `DELETE FROM market.plan_organizations WHERE plan_id = $1 AND organization_id = $2`, id,
			organization)
		if err == nil && tag.RowsAffected() == 0 {
			err = backstay.Errorf(backstay.NotFound, "Service plan visibility not found")
		}
		return none, err
	})
	return err
}

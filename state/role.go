package state

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/uaa"
)

// Users reads uaa's table: here, and where roles end with their user, two schemas meet.
func (s *Store) Users(ctx context.Context, f market.UserFilter) (market.List[backstay.User], error) {
	q := query{columns: `u.id, coalesce(u.username, ''), coalesce(u.origin, ''), u.labels, u.annotations, u.created_at,
		u.updated_at`, from: "uaa.users u", alias: "u"}
	whereIn(&q, "u.id", f.IDs)
	whereIn(&q, "u.folded_name", folded(f.Usernames))
	whereAmong(&q, "EXISTS (SELECT FROM unnest(%s::text[]) part WHERE position(part IN u.folded_name) > 0)",
		folded(f.PartialUsernames))
	whereIn(&q, "u.origin", f.Origins)
	if f.OrganizationIDs != nil {
		q.where = append(q.where,
			"EXISTS (SELECT FROM market.roles x WHERE x.user_id = u.id "+
				"AND x.organization_id = ANY("+q.arg(f.OrganizationIDs)+"))")
	}
	if f.SpaceIDs != nil {
		q.where = append(q.where, "EXISTS (SELECT FROM market.roles x WHERE x.user_id = u.id "+
			"AND x.space_id = ANY("+q.arg(f.SpaceIDs)+"))")
	}
	seenBy(&q, `(u.id = %[1]s OR EXISTS (SELECT FROM market.roles v
		JOIN market.roles r ON r.organization_id = v.organization_id
		WHERE v.user_id = %[1]s AND r.user_id = u.id))`, f.Viewer)
	q.match(f.Match)
	return selectList(ctx, s, q, f.Order, f.Page, func(r pgx.CollectableRow) (u backstay.User, err error) {
		err = r.Scan(&u.ID, &u.Username, &u.Origin, &u.Metadata.Labels, &u.Metadata.Annotations, &u.CreatedAt, &u.UpdatedAt)
		return u, err
	})
}

// folded are names as they are compared; nil stays nil.
func folded(names []string) []string {
	if names == nil {
		return nil
	}
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = uaa.FoldName(name)
	}
	return all
}

const roleColumns = `r.id, r.type, r.user_id, coalesce(r.organization_id, ''), coalesce(r.space_id, ''), r.created_at,
	r.updated_at`

func scanRole(row pgx.CollectableRow) (r backstay.Role, err error) {
	err = row.Scan(&r.ID, &r.Type, &r.UserID, &r.OrganizationID, &r.SpaceID, &r.CreatedAt, &r.UpdatedAt)
	return r, err
}

func (s *Store) Roles(ctx context.Context, f market.RoleFilter) (market.List[backstay.Role], error) {
	q := query{columns: roleColumns, from: "market.roles r", alias: "r"}
	whereIn(&q, "r.id", f.IDs)
	whereIn(&q, "r.type", f.Types)
	whereIn(&q, "r.user_id", f.UserIDs)
	whereIn(&q, "r.organization_id", f.OrganizationIDs)
	whereIn(&q, "r.space_id", f.SpaceIDs)
	seenBy(&q, `(EXISTS (SELECT FROM market.roles v WHERE v.user_id = %[1]s AND v.organization_id = r.organization_id)
		OR EXISTS (SELECT FROM market.spaces s JOIN market.roles v ON v.space_id = s.id
			OR v.organization_id = s.organization_id AND v.type = 'organization_manager'
			WHERE v.user_id = %[1]s AND s.id = r.space_id))`, f.Viewer)
	q.match(f.Match)
	return selectList(ctx, s, q, f.Order, f.Page, scanRole)
}

func (s *Store) RolesAt(ctx context.Context, user backstay.UserID, organization backstay.OrganizationID,
	space backstay.SpaceID) ([]string, error) {
	rows, err := s.pool.Query(ctx, `SELECT type FROM market.roles WHERE user_id = $1
		AND (organization_id = $2 OR space_id = $3)`, user, organization, space)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func (s *Store) AddRole(ctx context.Context, r backstay.Role, e backstay.Event) (backstay.Role, error) {
	added, err := recorded(ctx, s, e, func(tx pgx.Tx) (backstay.Role, error) {
		if err := lockUser(ctx, tx, r.UserID); err != nil {
			return r, err
		}
		if err := lockMembership(ctx, tx, r); err != nil {
			return r, err
		}
		return selectOne(ctx, tx, scanRole, `INSERT INTO market.roles AS r (id, type, user_id, organization_id, space_id)
			VALUES ($1, $2, $3, nullif($4, ''), nullif($5, '')) RETURNING `+roleColumns, r.ID, r.Type, r.UserID,
			r.OrganizationID, r.SpaceID)
	})
	if violates(err, "role_once") {
		return added, backstay.Errorf(backstay.Taken, "The user already has the role '%s'.", r.Type)
	}
	return added, err
}

// lockUser keeps a user from being deleted until the transaction ends, or refuses one who is. It comes
// before all locks of roles, as a deletion takes them in this order.
func lockUser(ctx context.Context, tx pgx.Tx, id backstay.UserID) error {
	tag, err := tx.Exec(ctx, `SELECT FROM uaa.users WHERE id = $1 FOR KEY SHARE`, id)
	if err == nil && tag.RowsAffected() == 0 {
		err = backstay.Errorf(backstay.Invalid, "Invalid user. Ensure that the user exists and you have access to it.")
	}
	return err
}

// lockMembership refuses a role in a space whose organization the user has no role in, and keeps the
// ones that they have there until the transaction ends.
func lockMembership(ctx context.Context, tx pgx.Tx, r backstay.Role) error {
	if r.SpaceID == "" {
		return nil
	}
	tag, err := tx.Exec(ctx, `SELECT FROM market.roles m JOIN market.spaces s ON s.organization_id = m.organization_id
		WHERE m.user_id = $1 AND s.id = $2 FOR SHARE OF m`, r.UserID, r.SpaceID)
	if err == nil && tag.RowsAffected() == 0 {
		err = backstay.Errorf(backstay.Invalid,
			"Users cannot be assigned roles in a space if they do not have a role in that space's organization.")
	}
	return err
}

func (s *Store) RemoveRole(ctx context.Context, id backstay.RoleID) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		r, err := selectOne(ctx, tx, scanRole, `SELECT `+roleColumns+` FROM market.roles r WHERE id = $1`, id)
		if err != nil {
			return orNotFound(err, "Role")
		}
		// Two roles that go at once must not each take the other for the one that stays.
		if _, err := tx.Exec(ctx, `SELECT FROM market.roles WHERE user_id = $1 AND organization_id = $2
			ORDER BY id FOR UPDATE`, r.UserID, r.OrganizationID); err != nil {
			return err
		}
		var needed bool
		err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM market.roles r JOIN market.spaces s ON s.id = r.space_id
			WHERE r.user_id = $1 AND s.organization_id = $2)
			AND NOT EXISTS (SELECT FROM market.roles WHERE user_id = $1 AND organization_id = $2 AND id <> $3)`, r.UserID,
			r.OrganizationID, id).Scan(&needed)
		if err != nil {
			return err
		}
		if needed {
			return backstay.Errorf(backstay.Invalid,
				"Cannot delete %s role while user has roles in spaces in that organization.", r.Type)
		}
		_, err = tx.Exec(ctx, `DELETE FROM market.roles WHERE id = $1`, id)
		return err
	})
}

func (s *Store) RemoveRolesOf(ctx context.Context, id backstay.UserID, e backstay.Event, j backstay.Job) error {
	_, err := recorded(ctx, s, e, func(tx pgx.Tx) (struct{}, error) {
		if err := keepAdministrator(ctx, tx, id); err != nil {
			return struct{}{}, err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM market.roles WHERE user_id = $1`, id); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, insertJob(ctx, tx, j)
	})
	return err
}

package state

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

// Users reads uaa's table: the one place where two schemas meet.
func (s *Store) Users(ctx context.Context, f market.UserFilter) (market.List[backstay.User], error) {
	q := query{columns: `u.id, coalesce(u.username, ''), coalesce(u.origin, ''), u.created_at, u.updated_at`, from: "uaa.users u", alias: "u"}
	in(&q, "u.id", f.IDs)
	inAnyCase(&q, "u.username", f.Usernames)
	in(&q, "u.origin", f.Origins)
	return list(ctx, s, q, f.Order, f.Page, func(r pgx.CollectableRow) (u backstay.User, err error) {
		err = r.Scan(&u.ID, &u.Username, &u.Origin, &u.CreatedAt, &u.UpdatedAt)
		return u, err
	})
}

const roleColumns = `r.id, r.type, r.user_id, coalesce(r.organization_id, ''), coalesce(r.space_id, ''), r.created_at, r.updated_at`

func scanRole(row pgx.CollectableRow) (r backstay.Role, err error) {
	err = row.Scan(&r.ID, &r.Type, &r.UserID, &r.OrganizationID, &r.SpaceID, &r.CreatedAt, &r.UpdatedAt)
	return r, err
}

func (s *Store) Roles(ctx context.Context, f market.RoleFilter) (market.List[backstay.Role], error) {
	q := query{columns: roleColumns, from: "market.roles r", alias: "r"}
	in(&q, "r.id", f.IDs)
	in(&q, "r.type", f.Types)
	in(&q, "r.user_id", f.UserIDs)
	in(&q, "r.organization_id", f.OrganizationIDs)
	in(&q, "r.space_id", f.SpaceIDs)
	return list(ctx, s, q, f.Order, f.Page, scanRole)
}

func (s *Store) AddRole(ctx context.Context, r backstay.Role) (backstay.Role, error) {
	added, err := one(ctx, s.pool, scanRole, `INSERT INTO market.roles AS r (id, type, user_id, organization_id, space_id)
		VALUES ($1, $2, $3, nullif($4, ''), nullif($5, '')) RETURNING `+roleColumns, r.ID, r.Type, r.UserID, r.OrganizationID, r.SpaceID)
	if violates(err, "role_user") { // deleted since it was looked up
		return added, backstay.Errorf(backstay.Invalid, "Invalid user. Ensure that the user exists and you have access to it.")
	}
	if violates(err, "role_once") {
		return added, backstay.Errorf(backstay.Taken, "The user already has the role '%s'.", r.Type)
	}
	return added, err
}

func (s *Store) RemoveRole(ctx context.Context, id backstay.RoleID) error {
	tag, err := s.pool.Exec(ctx, `DELETE FROM market.roles WHERE id = $1`, id)
	if err == nil && tag.RowsAffected() == 0 {
		return backstay.Errorf(backstay.NotFound, "Role not found")
	}
	return err
}

func (s *Store) RemoveRolesOf(ctx context.Context, id backstay.UserID, j backstay.Job) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		if err := keepAdministrator(ctx, tx, id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM market.roles WHERE user_id = $1`, id); err != nil {
			return err
		}
		return insertJob(ctx, tx, j)
	})
}

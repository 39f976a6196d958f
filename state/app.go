package state

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

const appColumns = `a.id, a.space_id, a.name, a.labels, a.annotations, a.created_at, a.updated_at`

func scanApp(r pgx.CollectableRow) (a backstay.App, err error) {
	err = r.Scan(&a.ID, &a.SpaceID, &a.Name, &a.Metadata.Labels, &a.Metadata.Annotations, &a.CreatedAt, &a.UpdatedAt)
	return a, err
}

func (s *Store) Apps(ctx context.Context, f market.AppFilter) (market.List[backstay.App], error) {
	q := query{columns: appColumns, from: "market.apps a JOIN market.spaces s ON s.id = a.space_id", alias: "a"}
	whereIn(&q, "a.id", f.IDs)
	whereIn(&q, "a.name", f.Names)
	whereIn(&q, "a.space_id", f.SpaceIDs)
	whereIn(&q, "s.organization_id", f.OrganizationIDs)
	seenIn(&q, "a.space_id", f.Viewer)
	q.match(f.Match)
	return selectList(ctx, s, q, f.Order, f.Page, scanApp)
}

func (s *Store) AddApp(ctx context.Context, a backstay.App, e backstay.Event) (backstay.App, error) {
	added, err := recorded(ctx, s, e, func(tx pgx.Tx) (backstay.App, error) {
		return selectOne(ctx, tx, scanApp, `INSERT INTO market.apps AS a (id, space_id, name, labels, annotations)
			VALUES ($1, $2, $3, $4, $5) RETURNING `+appColumns,
			a.ID, a.SpaceID, a.Name, object(a.Metadata.Labels), object(a.Metadata.Annotations))
	})
	if violates(err, "app_space") {
		return added, backstay.Errorf(backstay.Invalid,
			"Invalid space. Ensure that the space exists and you have access to it.")
	}
	return added, appTaken(err, a.Name)
}

func (s *Store) UpdateApp(ctx context.Context, id backstay.AppID, u market.Update,
	e backstay.Event) (backstay.App, error) {
	a, err := recorded(ctx, s, e, func(tx pgx.Tx) (backstay.App, error) {
		if err := updateMetadata(ctx, tx, "market.apps", id, u.Metadata); err != nil {
			return backstay.App{}, err
		}
		return selectOne(ctx, tx, scanApp, `UPDATE market.apps a SET name = coalesce($2, name), updated_at = now()
			WHERE id = $1
			RETURNING `+appColumns, id, u.Name)
	})
	return a, appTaken(orNotFound(err, "App"), wanted(u.Name))
}

func appTaken(err error, name string) error {
	if violates(err, "app_name") {
		return backstay.Errorf(backstay.Taken, "App with the name '%s' already exists.", name)
	}
	return err
}

func (s *Store) SealedEnvironment(ctx context.Context, id backstay.AppID) ([]byte, error) {
	var sealed []byte
	err := s.pool.QueryRow(ctx, `SELECT environment FROM market.apps WHERE id = $1`, id).Scan(&sealed)
	return sealed, orNotFound(err, "App")
}

func (s *Store) UpdateEnvironment(ctx context.Context, id backstay.AppID,
	change func(sealed []byte) ([]byte, error), e backstay.Event) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		var sealed []byte
		err := tx.QueryRow(ctx, `SELECT environment FROM market.apps WHERE id = $1 FOR UPDATE`, id).Scan(&sealed)
		if err != nil {
			return orNotFound(err, "App")
		}
		changed, err := change(sealed)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE market.apps SET environment = $2, updated_at = now() WHERE id = $1`, id,
			changed); err != nil {
			return err
		}
		return recordEvent(ctx, tx, e)
	})
}

func (s *Store) RemoveApp(ctx context.Context, id backstay.AppID, e backstay.Event) error {
	err := s.removed(ctx, e, `DELETE FROM market.apps WHERE id = $1`, id)
	if violates(err, "binding_app") {
		return backstay.Errorf(backstay.InUse, "The app still has service bindings.")
	}
	return err
}

package state

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

func (s *Store) PurgeInstance(ctx context.Context, id backstay.InstanceID, end market.EndOfPurged) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		i, err := lockInstance(ctx, tx, id)
		if err != nil {
			return err
		}
		return s.purge(ctx, tx, []backstay.Instance{i}, end)
	})
}

func (s *Store) PurgeOffering(
	ctx context.Context, id backstay.OfferingID, end market.EndOfPurged, e backstay.Event,
) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		// Locked, the plans get no new instances. Whoever keeps a catalog goes first, or waits.
		if _, err := tx.Exec(ctx, `LOCK TABLE market.offerings IN SHARE ROW EXCLUSIVE MODE`); err != nil {
			return err
		}
		const lockPlans = `SELECT FROM market.plans WHERE offering_id = $1 ORDER BY id FOR UPDATE`
		if _, err := tx.Exec(ctx, lockPlans, id); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT `+instanceColumns+` FROM market.instances i
			WHERE i.plan_id IN (SELECT p.id FROM market.plans p WHERE p.offering_id = $1)
			ORDER BY i.id FOR UPDATE`, id)
		if err != nil {
			return err
		}
		instances, err := pgx.CollectRows(rows, scanInstance)
		if err != nil {
			return err
		}
		if err := s.purge(ctx, tx, instances, end); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM market.plans WHERE offering_id = $1`, id); err != nil {
			return err
		}
		return remove(ctx, tx, e, `DELETE FROM market.offerings WHERE id = $1`, id)
	})
}

// purge removes instances that are locked. Usage comes last (see usageLock): who works on bindings has been waited
// for by then.
func (s *Store) purge(ctx context.Context, tx pgx.Tx, instances []backstay.Instance, end market.EndOfPurged) error {
	for _, i := range instances {
		p, err := purged(ctx, tx, i)
		if err != nil {
			return err
		}
		if err := s.recordPurge(ctx, tx, p, end); err != nil {
			return err
		}
	}
	for _, i := range instances {
		if err := recordUsage(ctx, tx, backstay.UsageDeleted, &i.ID); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM market.instances WHERE id = $1`, i.ID); err != nil {
			return err
		}
	}
	return nil
}

// purged removes the bindings of an instance, and tells what goes with it.
func purged(ctx context.Context, tx pgx.Tx, i backstay.Instance) (p market.Purged, err error) {
	p.Instance = i
	rows, err := tx.Query(ctx, `SELECT `+bindingColumns+` FROM market.bindings b
			JOIN market.instances i ON i.id = b.instance_id LEFT JOIN market.apps a ON a.id = b.app_id
		WHERE b.instance_id = $1 ORDER BY b.id FOR UPDATE OF b`, i.ID)
	if err != nil {
		return p, err
	}
	if p.Bindings, err = pgx.CollectRows(rows, scanBinding); err != nil {
		return p, err
	}
	rows, err = tx.Query(ctx, `SELECT `+shareColumns+` FROM market.shares h WHERE h.instance_id = $1 ORDER BY h.id`, i.ID)
	if err != nil {
		return p, err
	}
	if p.Shares, err = pgx.CollectRows(rows, scanShare); err != nil {
		return p, err
	}
	if p.Organizations, err = organizationsOf(ctx, tx, p); err != nil {
		return p, err
	}
	_, err = tx.Exec(ctx, `DELETE FROM market.bindings WHERE instance_id = $1`, i.ID)
	return p, err
}

// organizationsOf are the organizations of the spaces that the instance and its bindings are in.
func organizationsOf(
	ctx context.Context, tx pgx.Tx, p market.Purged,
) (map[backstay.SpaceID]backstay.OrganizationID, error) {
	spaces := []backstay.SpaceID{p.Instance.SpaceID}
	for _, b := range p.Bindings {
		spaces = append(spaces, b.SpaceID)
	}
	rows, err := tx.Query(ctx, `SELECT id, organization_id FROM market.spaces WHERE id = ANY($1)`, texts(spaces))
	if err != nil {
		return nil, err
	}
	organizations := map[backstay.SpaceID]backstay.OrganizationID{}
	var space backstay.SpaceID
	var organization backstay.OrganizationID
	_, err = pgx.ForEachRow(rows, []any{&space, &organization}, func() error {
		organizations[space] = organization
		return nil
	})
	return organizations, err
}

func (s *Store) recordPurge(ctx context.Context, tx pgx.Tx, p market.Purged, end market.EndOfPurged) error {
	events, j := end(p)
	for _, e := range events {
		if err := recordEvent(ctx, tx, e); err != nil {
			return err
		}
	}
	if j == nil {
		return nil
	}
	return s.acceptJob(ctx, tx, backstay.Event{}, *j)
}

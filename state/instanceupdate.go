package state

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

func (s *Store) AcceptInstanceUpdate(
	ctx context.Context, id backstay.InstanceID, c market.InstanceChange, op backstay.Operation, e backstay.Event,
	j backstay.Job,
) error {
	err := s.tx(ctx, func(tx pgx.Tx) error {
		was, err := lockIdleInstance(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := checkChange(ctx, tx, was, c); err != nil {
			return err
		}
		if err := updateMetadata(ctx, tx, "market.instances", id, c.Metadata); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE market.instances SET name = coalesce($2, name), tags = coalesce($3, tags),
			updated_at = now(), op_type = $4, op_state = $5, op_description = $6, op_created_at = now(), op_updated_at = now()
			WHERE id = $1`, id, c.Name, c.Tags, op.Type, op.State, op.Description); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO market.instance_changes (instance_id, plan_id, maintenance_info, parameters)
			VALUES ($1, $2, $3, $4)`, id, c.PlanID, c.MaintenanceInfo, c.Parameters); err != nil {
			return err
		}
		if err := s.acceptJob(ctx, tx, e, j); err != nil {
			return err
		}
		return recordUsage(ctx, tx, backstay.UsageUpdated, &id) // of another name
	})
	return instanceTaken(err, wanted(c.Name))
}

// checkChange refuses what an instance cannot become.
func checkChange(ctx context.Context, tx pgx.Tx, was backstay.Instance, c market.InstanceChange) error {
	if op := was.LastOperation; op.Type == backstay.Create && op.State == backstay.Failed {
		return backstay.Errorf(backstay.Invalid,
			"The service instance %s cannot be updated: its creation failed. Delete it and create it again.", was.Name)
	}
	if err := checkRename(ctx, tx, was, c.Name); err != nil {
		return err
	}
	if c.PlanID == was.PlanID {
		return nil
	}
	_, err := admitPlan(ctx, tx, was.SpaceID, c.PlanID, "updated")
	return err
}

func (s *Store) InstanceChange(ctx context.Context, id backstay.InstanceID) (c market.InstanceChange, err error) {
	err = s.pool.QueryRow(ctx, `SELECT plan_id, maintenance_info, parameters FROM market.instance_changes
		WHERE instance_id = $1`, id).Scan(&c.PlanID, &c.MaintenanceInfo, &c.Parameters)
	return c, orNotFound(err, "Service instance change")
}

// endUpdate makes the instance what the update was to make of it, if that has succeeded, and forgets the
// update.
func endUpdate(ctx context.Context, tx pgx.Tx, id backstay.InstanceID, succeeded bool) error {
	if succeeded {
		if _, err := tx.Exec(ctx, `UPDATE market.instances i SET plan_id = c.plan_id, maintenance_info = c.maintenance_info,
			updated_at = now() FROM market.instance_changes c WHERE i.id = $1 AND c.instance_id = i.id`, id); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, `DELETE FROM market.instance_changes WHERE instance_id = $1`, id); err != nil {
		return err
	}
	return recordUsage(ctx, tx, backstay.UsageUpdated, &id)
}

func (s *Store) KeepDashboard(ctx context.Context, id backstay.InstanceID, url string) error {
	_, err := s.pool.Exec(ctx, `UPDATE market.instances SET dashboard_url = $2 WHERE id = $1`, id, url)
	return err
}

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
		if err := useConsentToReturn(ctx, tx, was, c.ConsentOf); err != nil {
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

// useConsentToReturn takes back what an organization's label says of an instance. Of returns that are accepted at once,
// it is there for one.
func useConsentToReturn(ctx context.Context, tx pgx.Tx, in backstay.Instance, of backstay.OrganizationID) error {
	if of == "" {
		return nil
	}
	tag, err := tx.Exec(ctx, `UPDATE market.organizations SET updated_at = now(),
			labels = labels || jsonb_build_object($2::text, $4::text)
		WHERE id = $1 AND labels ->> $2 = $3`, of, market.ConsentLabel, string(in.ID), market.ConsentWanted)
	if err == nil && tag.RowsAffected() == 0 {
		err = backstay.Errorf(backstay.Forbidden, "The consent that earlier data takes the place of what %s holds has been "+
			"used up by another return, or taken back. A manager of the organization consents to one more by: cf set-label "+
			"org NAME %s=%s", in.Name, market.ConsentLabel, in.ID)
	}
	return err
}

// checkChange refuses what an instance cannot become.
func checkChange(ctx context.Context, tx pgx.Tx, was backstay.Instance, c market.InstanceChange) error {
	if err := market.NotCreated(was, "updated"); err != nil {
		return err
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

// endCreate puts in force what the broker says that it has made, and records that it is used.
func endCreate(ctx context.Context, tx pgx.Tx, id backstay.InstanceID, found market.InForce) error {
	if err := putInForce(ctx, tx, id, found); err != nil {
		return err
	}
	return recordUsage(ctx, tx, backstay.UsageCreated, &id)
}

// endUpdate makes the instance what its broker says that it is, and else what the update was to make of it, if that
// has succeeded, and forgets the update.
func endUpdate(
	ctx context.Context, tx pgx.Tx, id backstay.InstanceID, succeeded bool, found market.InForce,
) error {
	if !succeeded { // where it was given up here, the broker may come to the end of it all the same
		found.Pending = true
	} else {
		if _, err := tx.Exec(ctx, `UPDATE market.instances i SET plan_id = c.plan_id, maintenance_info = c.maintenance_info,
			updated_at = now() FROM market.instance_changes c WHERE i.id = $1 AND c.instance_id = i.id`, id); err != nil {
			return err
		}
	}
	if err := putInForce(ctx, tx, id, found); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM market.instance_changes WHERE instance_id = $1`, id); err != nil {
		return err
	}
	return recordUsage(ctx, tx, backstay.UsageUpdated, &id)
}

// putInForce makes an instance what its broker says that it is. What the broker does not tell stays.
func putInForce(ctx context.Context, tx pgx.Tx, id backstay.InstanceID, found market.InForce) error {
	_, err := tx.Exec(ctx, `UPDATE market.instances SET plan_id = coalesce(nullif($2, ''), plan_id),
		maintenance_info = coalesce($3::jsonb, maintenance_info), dashboard_url = coalesce(nullif($4, ''), dashboard_url),
		pending = $5 WHERE id = $1`, id, found.PlanID, found.MaintenanceInfo, found.DashboardURL, found.Pending)
	return err
}

func (s *Store) RefreshInstance(
	ctx context.Context, id backstay.InstanceID,
	change func(backstay.Instance) (found market.InForce, last backstay.Operation, e backstay.Event, err error),
) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		in, err := lockInstance(ctx, tx, id)
		if err != nil {
			return err
		}
		found, last, e, err := change(in)
		if err != nil {
			return err
		}
		if err := putInForce(ctx, tx, id, found); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE market.instances SET op_type = $2, op_state = $3, op_description = $4,
				op_created_at = CASE op_state WHEN $3 THEN op_created_at ELSE now() END, op_updated_at = now()
			WHERE id = $1 AND (op_type, op_state, op_description) IS DISTINCT FROM ($2, $3, $4)`,
			id, last.Type, last.State, last.Description); err != nil {
			return err
		}
		if e.Type == "" {
			return nil
		}
		if _, err := tx.Exec(ctx, `UPDATE market.instances SET updated_at = now() WHERE id = $1`, id); err != nil {
			return err
		}
		if err := recordEvent(ctx, tx, e); err != nil {
			return err
		}
		return recordUsage(ctx, tx, backstay.UsageUpdated, &id)
	})
}

func (s *Store) AwaitRefresh(ctx context.Context, id backstay.InstanceID) error {
	_, err := s.pool.Exec(ctx, `UPDATE market.instances SET pending = true WHERE id = $1`, id)
	return err
}

// UnsettledInstances leaves those alone that an operation works on, at whose end the broker is asked anyway.
func (s *Store) UnsettledInstances(ctx context.Context, from backstay.BrokerID) ([]backstay.InstanceID, error) {
	return selectColumn[backstay.InstanceID](ctx, s.pool, `SELECT i.id FROM market.instances i
			JOIN market.plans p ON p.id = i.plan_id JOIN market.offerings o ON o.id = p.offering_id
		WHERE o.broker_id = $1 AND i.op_state <> 'in progress' AND (i.op_type, i.op_state) <> ('create', 'failed')
			AND (i.pending OR i.maintenance_info IS NULL AND p.maintenance_info IS NOT NULL AND o.instances_retrievable)
		ORDER BY i.id`, from)
}

func (s *Store) UntoldDrills(ctx context.Context, of backstay.BrokerID) ([]market.DrillWish, error) {
	rows, err := s.pool.Query(ctx, `SELECT i.id, NOT i.drills_told FROM market.instances i
			JOIN market.plans p ON p.id = i.plan_id JOIN market.offerings o ON o.id = p.offering_id
		WHERE o.broker_id = $1 AND (i.op_type <> 'create' OR i.op_state = 'succeeded')
			AND coalesce(i.labels ->> $2 = $3, false) <> i.drills_told
		ORDER BY i.id`, of, backstay.DrillLabel, backstay.DrillWanted)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[market.DrillWish])
}

func (s *Store) KeepDrillsTold(ctx context.Context, id backstay.InstanceID, allowed bool) error {
	_, err := s.pool.Exec(ctx, `UPDATE market.instances SET drills_told = $2 WHERE id = $1`, id, allowed)
	return err
}

func (s *Store) SeenChanges(ctx context.Context, of backstay.BrokerID) (seen int64, err error) {
	err = s.pool.QueryRow(ctx, `SELECT seen_changes FROM market.brokers WHERE id = $1`, of).Scan(&seen)
	return seen, orNotFound(err, "Service broker")
}

func (s *Store) KeepSeenChanges(ctx context.Context, of backstay.BrokerID, seen int64) error {
	_, err := s.pool.Exec(ctx, `UPDATE market.brokers SET seen_changes = $2 WHERE id = $1`, of, seen)
	return err
}

func (s *Store) KeepDashboard(ctx context.Context, id backstay.InstanceID, url string) error {
	_, err := s.pool.Exec(ctx, `UPDATE market.instances SET dashboard_url = $2 WHERE id = $1`, id, url)
	return err
}

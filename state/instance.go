package state

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

const instanceColumns = `i.id, i.type, i.space_id, coalesce(i.plan_id, ''), i.name, i.tags, i.maintenance_info,
	i.dashboard_url, i.syslog_drain_url, i.route_service_url, i.labels, i.annotations, i.op_type, i.op_state,
	i.op_description, i.op_created_at, i.op_updated_at, i.created_at, i.updated_at, i.pending,
	coalesce((SELECT v.maintenance_info ->> 'Version' <> coalesce(i.maintenance_info ->> 'Version', '')
		FROM market.plans v WHERE v.id = i.plan_id), false),
	coalesce((SELECT string_agg(t.sentence, ' ' ORDER BY t.began_at, t.kind) FROM market.troubles t
		WHERE t.instance_id = i.id AND t.gone_at IS NULL), '')`

func scanInstance(r pgx.CollectableRow) (i backstay.Instance, err error) {
	op := &i.LastOperation
	err = r.Scan(&i.ID, &i.Type, &i.SpaceID, &i.PlanID, &i.Name, &i.Tags, &i.MaintenanceInfo, &i.DashboardURL,
		&i.SyslogDrainURL, &i.RouteServiceURL, &i.Metadata.Labels, &i.Metadata.Annotations, &op.Type, &op.State,
		&op.Description, &op.CreatedAt, &op.UpdatedAt, &i.CreatedAt, &i.UpdatedAt, &i.Pending, &i.Upgradable,
		&i.Trouble)
	return i, err
}

func (s *Store) Instances(ctx context.Context, f market.InstanceFilter) (market.List[backstay.Instance], error) {
	q := query{columns: instanceColumns, from: "market.instances i", alias: "i"}
	if f.OrganizationIDs != nil {
		q.from += " JOIN market.spaces s ON s.id = i.space_id"
	}
	if f.PlanNames != nil {
		q.from += " JOIN market.plans p ON p.id = i.plan_id"
	}
	whereIn(&q, "i.id", f.IDs)
	whereIn(&q, "i.name", f.Names)
	whereIn(&q, "i.type", f.Types)
	whereIn(&q, "i.space_id", f.SpaceIDs)
	whereIn(&q, "i.plan_id", f.PlanIDs)
	whereIn(&q, "s.organization_id", f.OrganizationIDs)
	whereIn(&q, "p.name", f.PlanNames)
	whereAmong(&q, `i.plan_id IN (SELECT b.id FROM market.plans b JOIN market.offerings o ON o.id = b.offering_id
		WHERE o.broker_id = ANY(%s))`, f.BrokerIDs)
	knownIn(&q, f.KnownIn)
	instanceSeenBy(&q, f.Viewer)
	q.match(f.Match)
	return selectList(ctx, s, q, f.Order, f.Page, scanInstance)
}

func (s *Store) AcceptInstance(ctx context.Context, i backstay.Instance, parameters []byte, e backstay.Event,
	j backstay.Job) error {
	return s.acceptInstance(ctx, i, parameters, e, j, func(pgx.Tx) error { return nil })
}

func (s *Store) AcceptCopy(ctx context.Context, i backstay.Instance, parameters []byte, c market.Copy, e backstay.Event,
	j backstay.Job) error {
	return s.acceptInstance(ctx, i, parameters, e, j, func(tx pgx.Tx) error {
		if err := useConsentToCopy(ctx, tx, c); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE market.instances SET copy_of = $2 WHERE id = $1`, i.ID, c.Of); err != nil {
			return err
		}
		return recordEvent(ctx, tx, c.Event)
	})
}

// useConsentToCopy takes the label away that consents to a copy. Of copies that are accepted at once, it is there for
// one.
func useConsentToCopy(ctx context.Context, tx pgx.Tx, c market.Copy) error {
	tag, err := tx.Exec(ctx, `UPDATE market.instances SET labels = labels - $2 WHERE id = $1 AND labels ->> $2 = $3`,
		c.Of, backstay.CopyLabel, string(c.To))
	if err == nil && c.NeedsConsent && tag.RowsAffected() == 0 {
		err = backstay.Errorf(backstay.Unsupported, "The consent to copy the service instance %s into this space has been "+
			"used up by another copy, or taken back. A developer of its space consents to one more copy by \"backstay "+
			"copy\", or by: cf set-label service-instance NAME %s=%s", c.Of, backstay.CopyLabel, c.To)
	}
	return err
}

// acceptInstance records with an instance what else is to be recorded.
func (s *Store) acceptInstance(ctx context.Context, i backstay.Instance, parameters []byte, e backstay.Event,
	j backstay.Job, also func(pgx.Tx) error) error {
	err := s.tx(ctx, func(tx pgx.Tx) error {
		op := i.LastOperation
		_, err := tx.Exec(ctx, `INSERT INTO market.instances (id, space_id, plan_id, name, tags, maintenance_info,
			parameters,
				op_type, op_state, op_description, labels, annotations)
			VALUES ($1, $2, $3, $4, coalesce($5, '{}'::text[]), $6, $7, $8, $9, $10, $11, $12)`,
			i.ID, i.SpaceID, i.PlanID, i.Name, i.Tags, i.MaintenanceInfo, parameters, op.Type, op.State, op.Description,
			object(i.Metadata.Labels), object(i.Metadata.Annotations))
		if err != nil {
			return err
		}
		if err := checkNotLent(ctx, tx, i.SpaceID, i.Name); err != nil {
			return err
		}
		if err := lockQuotas(ctx, tx, i.SpaceID); err != nil {
			return err
		}
		if err := admitInstance(ctx, tx, i.SpaceID, i.PlanID, 0); err != nil {
			return err
		}
		if err := also(tx); err != nil {
			return err
		}
		return s.acceptJob(ctx, tx, e, j)
	})
	return instanceTaken(err, i.Name)
}

// instanceTaken explains why an instance cannot be in its space, or not by that name.
func instanceTaken(err error, name string) error {
	switch {
	case violates(err, "instance_space"):
		return backstay.Errorf(backstay.Invalid, "Invalid space. Ensure that the space exists and you have access to it.")
	case violates(err, "instance_name"):
		return nameTaken(name)
	}
	return err
}

func nameTaken(name string) error {
	return backstay.Errorf(backstay.Taken, "The service instance name is taken: %s.", name)
}

func (s *Store) InstanceParameters(
	ctx context.Context, id backstay.InstanceID,
) (sealed []byte, copyOf backstay.InstanceID, err error) {
	err = s.pool.QueryRow(ctx, `SELECT parameters, copy_of FROM market.instances WHERE id = $1`, id).Scan(&sealed, &copyOf)
	return sealed, copyOf, orNotFound(err, "Service instance")
}

// lockInstance reads an instance so that until the transaction ends nobody else can change it.
func lockInstance(ctx context.Context, tx pgx.Tx, id backstay.InstanceID) (backstay.Instance, error) {
	i, err := selectOne(ctx, tx, scanInstance, `SELECT `+instanceColumns+` FROM market.instances i
		WHERE id = $1 FOR UPDATE`,
		id)
	return i, orNotFound(err, "Service instance")
}

// lockIdleInstance is lockInstance for one that no operation is working on.
func lockIdleInstance(ctx context.Context, tx pgx.Tx, id backstay.InstanceID) (backstay.Instance, error) {
	i, err := lockInstance(ctx, tx, id)
	if err == nil && i.LastOperation.State == backstay.InProgress {
		return i, market.ErrBusy(i)
	}
	return i, err
}

func (s *Store) AcceptInstanceDeletion(ctx context.Context, id backstay.InstanceID, op backstay.Operation,
	e backstay.Event, j backstay.Job) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		i, err := lockInstance(ctx, tx, id)
		if op := i.LastOperation; err == nil && op.State == backstay.InProgress && op.Type != backstay.Create {
			err = market.ErrBusy(i)
		}
		if err != nil {
			return err
		}
		if err := checkUnshared(ctx, tx, i); err != nil {
			return err
		}
		if err := checkUnbound(ctx, tx, id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE market.instances
			SET op_type = $2, op_state = $3, op_description = $4, op_created_at = now(), op_updated_at = now() WHERE id = $1`,
			id, op.Type, op.State, op.Description); err != nil {
			return err
		}
		return s.acceptJob(ctx, tx, e, j)
	})
}

// checkUnbound refuses an instance that has bindings. The caller has locked it, so that it gets none.
func checkUnbound(ctx context.Context, tx pgx.Tx, id backstay.InstanceID) error {
	var bound bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM market.bindings WHERE instance_id = $1)`, id).Scan(&bound)
	if err == nil && bound {
		err = backstay.Errorf(backstay.InUse,
			"Please delete the service_bindings, service_keys, and routes associations for your service_instances.")
	}
	return err
}

// UpdateInstance leaves alone what the broker has said: it is as true of the instance by another name. An
// operation that failed has failed all the same.
func (s *Store) UpdateInstance(ctx context.Context, id backstay.InstanceID, u market.Update, tags []string,
	e backstay.Event) (i backstay.Instance, err error) {
	err = s.tx(ctx, func(tx pgx.Tx) error {
		was, err := lockIdleInstance(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := checkRename(ctx, tx, was, u.Name); err != nil {
			return err
		}
		if err := updateMetadata(ctx, tx, "market.instances", id, u.Metadata); err != nil {
			return err
		}
		i, err = selectOne(ctx, tx, scanInstance, `UPDATE market.instances i
			SET name = coalesce($2, name), tags = coalesce($3, tags), updated_at = now(),
			op_type = CASE op_state WHEN 'succeeded' THEN 'update' ELSE op_type END,
			op_created_at = CASE op_state WHEN 'succeeded' THEN now() ELSE op_created_at END,
			op_updated_at = CASE op_state WHEN 'succeeded' THEN now() ELSE op_updated_at END
			WHERE id = $1 RETURNING `+instanceColumns, id, u.Name, tags)
		if err != nil {
			return err
		}
		if err := recordEvent(ctx, tx, e); err != nil {
			return err
		}
		return recordUsage(ctx, tx, backstay.UsageUpdated, &id)
	})
	return i, instanceTaken(err, wanted(u.Name))
}

func (s *Store) ReportInstance(ctx context.Context, id backstay.InstanceID, op backstay.Operation) error {
	return reportInstance(ctx, s.pool, id, op)
}

func reportInstance(ctx context.Context, x executor, id backstay.InstanceID, op backstay.Operation) error {
	tag, err := x.Exec(ctx, `UPDATE market.instances
		SET op_type = $2, op_state = $3, op_description = $4, op_updated_at = now()
		WHERE id = $1 AND (op_type <> $5 OR $2 <> $6)`,
		id, op.Type, op.State, op.Description, backstay.Delete, backstay.Create)
	if err == nil && tag.RowsAffected() == 0 {
		err = backstay.Errorf(backstay.NotFound, "Service instance not found")
	}
	return err
}

func (s *Store) FinishInstance(
	ctx context.Context, id backstay.InstanceID, op backstay.Operation, found market.InForce, j backstay.Job,
	events ...backstay.Event,
) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		if err := reportInstance(ctx, tx, id, op); err != nil {
			return err
		}
		if err := s.finishJob(ctx, tx, j); err != nil {
			return err
		}
		if err := recordEvents(ctx, tx, events); err != nil {
			return err
		}
		switch {
		case op.Type == backstay.Update:
			return endUpdate(ctx, tx, id, op.State == backstay.Succeeded, found)
		case op.Type == backstay.Create && op.State == backstay.Succeeded:
			return endCreate(ctx, tx, id, found)
		}
		return nil
	})
}

func (s *Store) RemoveInstance(ctx context.Context, id backstay.InstanceID, e backstay.Event,
	j *backstay.JobID) error {
	err := s.tx(ctx, func(tx pgx.Tx) error {
		if err := s.completeJob(ctx, tx, j); err != nil {
			return err
		}
		if err := recordInstanceEnd(ctx, tx, id); err != nil {
			return err
		}
		return remove(ctx, tx, e, `DELETE FROM market.instances WHERE id = $1`, id)
	})
	if violates(err, "binding_instance") {
		return backstay.Errorf(backstay.InUse, "The service instance still has bindings.")
	}
	return err
}

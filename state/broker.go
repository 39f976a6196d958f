package state

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker"
)

// Broker is the store of the broker in the same database. It is a type of its own because market
// and broker call different things by the same names, and never read each other's.
type Broker struct{ s *Store }

var _ broker.Store = Broker{}

// Broker returns the broker's store.
func (s *Store) Broker() Broker { return Broker{s} }

const owedColumns = `i.id, i.service_id, i.plan_id, i.organization_id, i.space_id, i.name, i.parameters, i.spec,
	i.generation, i.backend, i.maintenance_window, i.backup_window, i.endpoint_host, i.endpoint_port,
	i.read_host, i.read_port, i.build, ` + pendingColumns + `,
	EXISTS (SELECT FROM broker.operations WHERE instance_id = i.id AND state = 'in progress'), ` + owedOperationColumns

// owedSource joins each instance with the last operation that its users see, and with the one that waits. The former
// there always is: the first creates the instance.
const owedSource = `broker.instances i JOIN LATERAL (
	SELECT * FROM broker.operations WHERE instance_id = i.id AND ` + seenByUsers + ` ORDER BY seq DESC LIMIT 1) o ON true
	` + pendingJoin

// seenByUsers is true of the operations that users have asked for, of what came of it when they asked for it to be done
// later, and of upgrades that have succeeded, which are those that are not tried twice in a window.
const seenByUsers = `(cause IN ('user', 'restore') OR cause = 'maintenance' AND (
	state = 'succeeded' AND not_before IS NOT NULL OR
	state IN ('succeeded', 'failed') AND (asked_plan_id <> '' OR asked_parameters IS NOT NULL)))`

func scanOwed(r pgx.CollectableRow) (i broker.Instance, err error) {
	fields := []any{&i.ID, &i.ServiceID, &i.PlanID, &i.OrganizationID, &i.SpaceID, &i.Name, &i.Parameters,
		&i.Spec, &i.Generation, &i.Backend, weekly{&i.Windows.Maintenance}, daily{&i.Windows.Backup},
		&i.Endpoint.Host, &i.Endpoint.Port, &i.Reads.Host, &i.Reads.Port, &i.Build}
	fields = append(fields, pendingFields(&i.Pending)...)
	fields = append(fields, &i.Busy)
	err = r.Scan(append(fields, owedOperationFields(&i.Operation)...)...)
	return i, err
}

func owedInstance(ctx context.Context, q querier, id backstay.InstanceID) (broker.Instance, error) {
	i, err := selectOne(ctx, q, scanOwed, `SELECT `+owedColumns+` FROM `+owedSource+` WHERE i.id = $1`, id)
	return i, orNotFound(err, "Service instance")
}

func (b Broker) AddInstance(
	ctx context.Context, i broker.Instance, create broker.Operation,
) (kept broker.Instance, err error) {
	create.InstanceID = i.ID
	err = b.s.tx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `INSERT INTO broker.instances
			(id, service_id, plan_id, organization_id, space_id, name, parameters, backend, maintenance_window, backup_window,
			newest_generation) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0) ON CONFLICT (id) DO NOTHING`,
			i.ID, i.ServiceID, i.PlanID, i.OrganizationID, i.SpaceID, i.Name, i.Parameters, i.Backend,
			weekly{&i.Windows.Maintenance}, daily{&i.Windows.Backup})
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 1 {
			if err := b.insertOperation(ctx, tx, create); err != nil {
				return err
			}
		}
		kept, err = owedInstance(ctx, tx, i.ID)
		return err
	})
	return kept, err
}

func (b Broker) Instance(ctx context.Context, id backstay.InstanceID) (broker.Instance, error) {
	return owedInstance(ctx, b.s.pool, id)
}

func (b Broker) Entries(ctx context.Context) ([]broker.Entry, error) {
	rows, err := b.s.pool.Query(ctx, `SELECT id, backend, generation, endpoint_host, endpoint_port, read_host,
		read_port, build
		FROM broker.instances i
		WHERE NOT EXISTS (SELECT FROM broker.operations WHERE instance_id = i.id AND state = 'in progress')`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (e broker.Entry, err error) {
		return e, r.Scan(&e.ID, &e.Backend, &e.Generation, &e.Endpoint.Host, &e.Endpoint.Port, &e.Reads.Host, &e.Reads.Port,
			&e.Build)
	})
}

func (b Broker) NoteServing(ctx context.Context, id backstay.InstanceID, s broker.Serving) error {
	_, err := b.s.pool.Exec(ctx, `UPDATE broker.instances SET
			endpoint_host = CASE WHEN endpoint_port = 0 THEN $2 ELSE endpoint_host END,
			endpoint_port = CASE WHEN endpoint_port = 0 THEN $3 ELSE endpoint_port END,
			build = CASE WHEN build = '' THEN $4 ELSE build END,
			read_host = CASE WHEN read_port = 0 THEN $5 ELSE read_host END,
			read_port = CASE WHEN read_port = 0 THEN $6 ELSE read_port END
		WHERE id = $1`, id, s.Endpoint.Host, s.Endpoint.Port, s.Build, s.Reads.Host, s.Reads.Port)
	return err
}

func (b Broker) RaiseGeneration(ctx context.Context, id backstay.InstanceID,
	held int64) (generation int64, err error) {
	err = b.s.tx(ctx, func(tx pgx.Tx) error {
		if _, err := lockOwed(ctx, tx, id); err != nil {
			return err
		}
		i, err := owedInstance(ctx, tx, id)
		if err != nil {
			return err
		}
		if i.Busy || i.Spec == nil {
			return errOwedBusy(id)
		}
		generation, err = selectOne(ctx, tx, pgx.RowTo[int64], `UPDATE broker.instances
			SET generation = greatest(newest_generation, $2) + 1, newest_generation = greatest(newest_generation, $2) + 1
			WHERE id = $1 RETURNING generation`, id, held)
		return err
	})
	return generation, err
}

func (b Broker) AllowDrills(ctx context.Context, id backstay.InstanceID, allowed bool) error {
	_, err := b.s.pool.Exec(ctx, `UPDATE broker.instances SET drills = $2 WHERE id = $1`, id, allowed)
	return err
}

func (b Broker) CondemnInstance(ctx context.Context, id backstay.InstanceID) error {
	_, err := b.s.pool.Exec(ctx, `UPDATE broker.instances SET spec = NULL, generation = 0 WHERE id = $1`, id)
	return err
}

func (b Broker) RemoveInstance(ctx context.Context, id backstay.InstanceID) error {
	return b.s.tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM broker.bindings WHERE instance_id = $1`, id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM broker.instances WHERE id = $1`, id); err != nil {
			return err
		}
		if err := announce(ctx, tx, owedTopic(id)); err != nil {
			return err
		}
		return recordTenantEnd(ctx, tx, id)
	})
}

// owedTopic is of an instance and of all its operations.
func owedTopic(id backstay.InstanceID) string { return "broker/" + string(id) }

const owedBindingColumns = `id, instance_id, username, password, parameters, credentials`

func scanOwedBinding(r pgx.CollectableRow) (b broker.Binding, err error) {
	err = r.Scan(&b.ID, &b.InstanceID, &b.Username, &b.Password, &b.Parameters, &b.Credentials)
	return b, err
}

// AddBinding does not wait for the disk: a row that the machine loses is made anew, under the same
// username, by the job that asked for it.
func (b Broker) AddBinding(ctx context.Context, n broker.Binding) (kept broker.Binding, err error) {
	err = b.s.tx(ctx, func(tx pgx.Tx) error {
		kept, err = addOwedBinding(ctx, tx, n)
		return err
	})
	if violates(err, "binding_instance") {
		return kept, backstay.Errorf(backstay.NotFound, "Service instance not found")
	}
	return kept, err
}

func addOwedBinding(ctx context.Context, tx pgx.Tx, n broker.Binding) (kept broker.Binding, err error) {
	if _, err := tx.Exec(ctx, "SET LOCAL synchronous_commit = off"); err != nil {
		return kept, err
	}
	// The username is made of the id: of two who ask for one binding at the same moment, one may meet either first.
	_, err = tx.Exec(ctx, `INSERT INTO broker.bindings (id, instance_id, username, password, parameters)
		VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
		n.ID, n.InstanceID, n.Username, n.Password, n.Parameters)
	if err != nil {
		return kept, err
	}
	kept, err = owedBinding(ctx, tx, n.ID)
	if backstay.KindOf(err) == backstay.NotFound {
		return kept, fmt.Errorf("the username of binding %s is that of another one", n.ID)
	}
	return kept, err
}

func (b Broker) Binding(ctx context.Context, id backstay.BindingID) (broker.Binding, error) {
	return owedBinding(ctx, b.s.pool, id)
}

func (b Broker) Bindings(ctx context.Context, in backstay.InstanceID) ([]broker.Binding, error) {
	rows, err := b.s.pool.Query(ctx, `SELECT `+owedBindingColumns+`
		FROM broker.bindings WHERE instance_id = $1 ORDER BY id`, in)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanOwedBinding)
}

func owedBinding(ctx context.Context, q querier, id backstay.BindingID) (broker.Binding, error) {
	kept, err := selectOne(ctx, q, scanOwedBinding,
		`SELECT `+owedBindingColumns+` FROM broker.bindings WHERE id = $1`, id)
	return kept, orNotFound(err, "Service binding")
}

// KeepCredentials does not wait for the disk: whoever asked for the binding asks again for what the machine loses.
func (b Broker) KeepCredentials(ctx context.Context, id backstay.BindingID, sealed []byte) error {
	return b.s.tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL synchronous_commit = off"); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `UPDATE broker.bindings SET credentials = $2 WHERE id = $1`, id, sealed)
		if err == nil && tag.RowsAffected() == 0 {
			err = backstay.Errorf(backstay.NotFound, "Service binding not found")
		}
		return err
	})
}

func (b Broker) RemoveBinding(ctx context.Context, id backstay.BindingID) error {
	_, err := b.s.pool.Exec(ctx, `DELETE FROM broker.bindings WHERE id = $1`, id)
	return err
}

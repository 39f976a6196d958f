package state

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker"
)

// Broker is the store of the broker in the same database. It is a type of its own because market
// and broker call different things by the same names, and never read each other's.
type Broker struct{ s *Store }

// Broker returns the broker's store.
func (s *Store) Broker() Broker { return Broker{s} }

const owedColumns = `i.id, i.offering_id, i.plan_id, i.organization_id, i.space_id, i.parameters, i.spec, i.operation_id, i.op_type, i.op_state, i.op_description, i.op_created_at, i.op_updated_at`

func scanOwed(r pgx.CollectableRow) (i broker.Instance, err error) {
	op := &i.Operation
	err = r.Scan(&i.ID, &i.ServiceID, &i.PlanID, &i.OrganizationID, &i.SpaceID, &i.Parameters, &i.Spec, &i.OperationID,
		&op.Type, &op.State, &op.Description, &op.CreatedAt, &op.UpdatedAt)
	return i, err
}

func (b Broker) AddInstance(ctx context.Context, i broker.Instance) (kept broker.Instance, err error) {
	err = b.s.tx(ctx, func(tx pgx.Tx) error {
		op := i.Operation
		tag, err := tx.Exec(ctx, `INSERT INTO broker.instances (id, offering_id, plan_id, organization_id, space_id, parameters, spec, operation_id, op_type, op_state, op_description)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING`,
			i.ID, i.ServiceID, i.PlanID, i.OrganizationID, i.SpaceID, i.Parameters, i.Spec, i.OperationID, op.Type, op.State, op.Description)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 1 {
			if err := b.s.insertBrokerJob(ctx, tx, i.ID, i.OperationID); err != nil {
				return err
			}
		}
		kept, err = one(ctx, tx, scanOwed, `SELECT `+owedColumns+` FROM broker.instances i WHERE id = $1`, i.ID)
		return err
	})
	return kept, err
}

func (b Broker) Instance(ctx context.Context, id backstay.InstanceID) (broker.Instance, error) {
	i, err := one(ctx, b.s.pool, scanOwed, `SELECT `+owedColumns+` FROM broker.instances i WHERE id = $1`, id)
	return i, orNotFound(err, "Service instance")
}

func (b Broker) BeginOperation(ctx context.Context, id backstay.InstanceID, operationID string, op backstay.Operation) error {
	return b.s.tx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE broker.instances SET operation_id = $2, op_type = $3, op_state = $4, op_description = $5,
			op_created_at = now(), op_updated_at = now() WHERE id = $1`, id, operationID, op.Type, op.State, op.Description)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return backstay.Errorf(backstay.NotFound, "Service instance not found")
		}
		if err := announce(ctx, tx, owedTopic(id)); err != nil {
			return err
		}
		return b.s.insertBrokerJob(ctx, tx, id, operationID)
	})
}

func (b Broker) ReportOperation(ctx context.Context, id backstay.InstanceID, operationID string, op backstay.Operation) error {
	return b.s.tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE broker.instances SET op_type = $3, op_state = $4, op_description = $5, op_updated_at = now()
			WHERE id = $1 AND operation_id = $2`, id, operationID, op.Type, op.State, op.Description); err != nil {
			return err
		}
		return announce(ctx, tx, owedTopic(id))
	})
}

func (b Broker) RemoveInstance(ctx context.Context, id backstay.InstanceID) error {
	return b.s.tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM broker.bindings WHERE instance_id = $1`, id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM broker.instances WHERE id = $1`, id); err != nil {
			return err
		}
		return announce(ctx, tx, owedTopic(id))
	})
}

func owedTopic(id backstay.InstanceID) string { return "broker/" + string(id) }

func (b Broker) AwaitOperation(ctx context.Context, id backstay.InstanceID, seen backstay.Operation) (op backstay.Operation, err error) {
	err = b.s.await(ctx, owedTopic(id), func() (bool, error) {
		i, err := b.Instance(ctx, id)
		op = i.Operation
		return op.Type != seen.Type || op.State != seen.State || op.Description != seen.Description, err
	})
	return op, err
}

func scanOwedBinding(r pgx.CollectableRow) (b broker.Binding, err error) {
	err = r.Scan(&b.ID, &b.InstanceID, &b.Username, &b.Password, &b.Parameters)
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
	_, err = tx.Exec(ctx, `INSERT INTO broker.bindings (id, instance_id, username, password, parameters) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING`,
		n.ID, n.InstanceID, n.Username, n.Password, n.Parameters)
	if err != nil {
		return kept, err
	}
	return owedBinding(ctx, tx, n.ID)
}

func (b Broker) Binding(ctx context.Context, id backstay.BindingID) (broker.Binding, error) {
	return owedBinding(ctx, b.s.pool, id)
}

func owedBinding(ctx context.Context, q querier, id backstay.BindingID) (broker.Binding, error) {
	kept, err := one(ctx, q, scanOwedBinding, `SELECT id, instance_id, username, password, parameters FROM broker.bindings WHERE id = $1`, id)
	return kept, orNotFound(err, "Service binding")
}

func (b Broker) RemoveBinding(ctx context.Context, id backstay.BindingID) error {
	_, err := b.s.pool.Exec(ctx, `DELETE FROM broker.bindings WHERE id = $1`, id)
	return err
}

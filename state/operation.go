package state

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype/zeronull"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker"
)

const owedOperationColumns = `o.id, o.instance_id, o.type, o.cause, o.request_id, o.not_before, o.state, o.description,
	o.notice, o.failure, o.asked_plan_id, o.asked_plan_name, o.asked_parameters, o.plan_id, o.parameters,
	o.maintenance_window, o.backup_window,
	o.spec, o.generation, o.created_at, o.updated_at`

func owedOperationFields(o *broker.Operation) []any {
	return []any{&o.ID, &o.InstanceID, &o.Type, &o.Cause, &o.RequestID, (*zeronull.Timestamptz)(&o.NotBefore), &o.State,
		&o.Description, &o.Notice, &o.Failure, &o.Asked.PlanID, &o.Asked.PlanName, &o.Asked.Parameters,
		&o.PlanID, &o.Parameters, weekly{&o.Windows.Maintenance}, daily{&o.Windows.Backup},
		&o.Spec, &o.Generation, &o.CreatedAt, &o.UpdatedAt}
}

func scanOwedOperation(r pgx.CollectableRow) (o broker.Operation, err error) {
	return o, r.Scan(owedOperationFields(&o)...)
}

func owedOperation(ctx context.Context, q querier, id backstay.OperationKey) (broker.Operation, error) {
	o, err := selectOne(ctx, q, scanOwedOperation, `SELECT `+owedOperationColumns+` FROM broker.operations o
		WHERE o.id = $1`,
		id)
	return o, orNotFound(err, "Operation")
}

func (b Broker) BeginOperation(ctx context.Context, op broker.Operation) (begun broker.Operation, err error) {
	err = b.s.tx(ctx, func(tx pgx.Tx) error {
		accepted, err := lockOwed(ctx, tx, op.InstanceID)
		if err != nil {
			return err
		}
		if op.Generation != 0 && op.Generation != accepted {
			return errOwedBusy(op.InstanceID)
		}
		if err := b.insertOperation(ctx, tx, op); err != nil {
			return err
		}
		begun, err = owedOperation(ctx, tx, op.ID)
		return err
	})
	return begun, owedBusy(err, op.InstanceID)
}

func (b Broker) ReplaceOperation(ctx context.Context, op broker.Operation) (kept broker.Operation, err error) {
	err = b.s.tx(ctx, func(tx pgx.Tx) error {
		if _, err := lockOwed(ctx, tx, op.InstanceID); err != nil {
			return err
		}
		kept, err = selectOne(ctx, tx, scanOwedOperation, `SELECT `+owedOperationColumns+` FROM broker.operations o
			WHERE o.instance_id = $1 AND o.state = 'in progress'`, op.InstanceID)
		if err == nil && kept.Type == op.Type {
			return nil
		}
		if _, err := tx.Exec(ctx, `UPDATE broker.operations SET state = 'failed', parameters = NULL, spec = NULL,
			description = 'Another operation has taken its place.', updated_at = now()
			WHERE instance_id = $1 AND state = 'in progress'`, op.InstanceID); err != nil {
			return err
		}
		if err := b.insertOperation(ctx, tx, op); err != nil {
			return err
		}
		kept, err = owedOperation(ctx, tx, op.ID)
		return err
	})
	return kept, err
}

// lockOwed keeps others from changing an instance or its operations until the transaction ends, and returns the
// generation that is accepted. Whoever changes both begins with it.
func lockOwed(ctx context.Context, tx pgx.Tx, id backstay.InstanceID) (accepted int64, err error) {
	accepted, err = selectOne(ctx, tx, pgx.RowTo[int64], `SELECT generation FROM broker.instances
		WHERE id = $1 FOR UPDATE`, id)
	return accepted, orNotFound(err, "Service instance")
}

// owedBusy explains why a second operation cannot be in progress.
func owedBusy(err error, id backstay.InstanceID) error {
	if violates(err, "operation_in_progress") {
		return errOwedBusy(id)
	}
	return err
}

func errOwedBusy(id backstay.InstanceID) error {
	return backstay.Errorf(backstay.Busy, "An operation for service instance %s is in progress.", id)
}

// insertOperation records an operation, with its job if it is in progress. The instance is locked, or new.
func (b Broker) insertOperation(ctx context.Context, tx pgx.Tx, o broker.Operation) (err error) {
	if o.State == backstay.InProgress {
		if o.Generation, err = nextGeneration(ctx, tx, o); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, `INSERT INTO broker.operations
		(id, instance_id, type, cause, request_id, not_before, state, description,
		asked_plan_id, asked_plan_name, asked_parameters, plan_id, parameters, maintenance_window, backup_window,
		spec, generation)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`,
		o.ID, o.InstanceID, o.Type, o.Cause, o.RequestID, (*zeronull.Timestamptz)(&o.NotBefore), o.State, o.Description,
		o.Asked.PlanID, o.Asked.PlanName, o.Asked.Parameters, o.PlanID, o.Parameters, weekly{&o.Windows.Maintenance},
		daily{&o.Windows.Backup}, o.Spec, o.Generation); err != nil {
		return err
	}
	if err := forgetOperations(ctx, tx, o.InstanceID); err != nil {
		return err
	}
	if err := announce(ctx, tx, owedTopic(o.InstanceID)); err != nil {
		return err
	}
	if o.State != backstay.InProgress {
		return nil
	}
	if err := countChange(ctx, tx, o); err != nil {
		return err
	}
	return b.s.insertBrokerJob(ctx, tx, o)
}

// forgetOperations keeps an instance's history short: the last twenty that have ended, of each cause.
func forgetOperations(ctx context.Context, tx pgx.Tx, id backstay.InstanceID) error {
	_, err := tx.Exec(ctx, `DELETE FROM broker.operations WHERE id IN (
		SELECT id FROM (
			SELECT id, row_number() OVER (PARTITION BY cause ORDER BY seq DESC) AS age
			FROM broker.operations WHERE instance_id = $1 AND state IN ('succeeded', 'failed')) ended
		WHERE age > 20)`, id)
	return err
}

// nextGeneration is one that the instance's backend has never been told of; 0 for an operation that wants nothing.
func nextGeneration(ctx context.Context, tx pgx.Tx, o broker.Operation) (int64, error) {
	if o.Spec == nil {
		return 0, nil
	}
	return selectOne(ctx, tx, pgx.RowTo[int64], `UPDATE broker.instances SET newest_generation = newest_generation + 1
		WHERE id = $1 RETURNING newest_generation`, o.InstanceID)
}

func (b Broker) Operation(ctx context.Context, id backstay.OperationKey) (broker.Operation, error) {
	return owedOperation(ctx, b.s.pool, id)
}

func (b Broker) LastOperation(
	ctx context.Context, in backstay.InstanceID, id backstay.OperationKey,
) (broker.Operation, error) {
	o, err := selectOne(ctx, b.s.pool, scanOwedOperation, `SELECT `+owedOperationColumns+` FROM broker.operations o
		WHERE o.instance_id = $1 AND (o.id = $2 OR `+seenByUsers+`) ORDER BY o.id = $2 DESC, o.seq DESC LIMIT 1`, in, id)
	return o, orNotFound(err, "Service instance")
}

func (b Broker) AwaitOperation(
	ctx context.Context, in backstay.InstanceID, id backstay.OperationKey, seen backstay.Operation,
) (o broker.Operation, err error) {
	err = b.s.await(ctx, owedTopic(in), func() (bool, error) {
		o, err = b.LastOperation(ctx, in, id)
		return o.Type != seen.Type || o.State != seen.State || o.Description != seen.Description, err
	})
	return o, err
}

func (b Broker) AwaitReplacement(ctx context.Context, op broker.Operation) error {
	return b.s.await(ctx, owedTopic(op.InstanceID), func() (replaced bool, err error) {
		err = b.s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM broker.operations
			WHERE instance_id = $1 AND state = 'in progress' AND id <> $2)`, op.InstanceID, op.ID).Scan(&replaced)
		return replaced, err
	})
}

// changeOperation runs change with an operation that nobody else changes meanwhile, and tells who waits for it. What is
// to be last in the transaction comes behind all of that.
func (b Broker) changeOperation(
	ctx context.Context, id backstay.OperationKey, change func(pgx.Tx, broker.Operation) error,
	last ...func(pgx.Tx, backstay.InstanceID) error,
) error {
	return b.s.tx(ctx, func(tx pgx.Tx) error {
		o, err := owedOperation(ctx, tx, id)
		if err != nil {
			return err
		}
		if _, err := lockOwed(ctx, tx, o.InstanceID); err != nil {
			return err
		}
		if o, err = owedOperation(ctx, tx, id); err != nil { // as it is now that it is ours
			return err
		}
		if err := change(tx, o); err != nil {
			return err
		}
		if err := announce(ctx, tx, owedTopic(o.InstanceID)); err != nil {
			return err
		}
		for _, record := range last {
			if err := record(tx, o.InstanceID); err != nil {
				return err
			}
		}
		return nil
	})
}

// endOperation is changeOperation for one that is in progress, or waits; another one, or none, is left alone.
func (b Broker) endOperation(
	ctx context.Context, id backstay.OperationKey, change func(pgx.Tx, broker.Operation) error,
	last ...func(pgx.Tx, backstay.InstanceID) error,
) error {
	err := b.changeOperation(ctx, id, func(tx pgx.Tx, o broker.Operation) error {
		switch o.State {
		case broker.Waiting: // its end is newer than whatever users have asked for while it waited
			if _, err := tx.Exec(ctx, `UPDATE broker.operations SET seq = DEFAULT WHERE id = $1`, id); err != nil {
				return err
			}
		case backstay.InProgress:
		default:
			return nil
		}
		if err := change(tx, o); err != nil {
			return err
		}
		return countChange(ctx, tx, o)
	}, last...)
	return absentIsFine(err)
}

func absentIsFine(err error) error {
	if backstay.KindOf(err) == backstay.NotFound {
		return nil
	}
	return err
}

func (b Broker) ReportOperation(ctx context.Context, id backstay.OperationKey, description string) error {
	return b.noteProgress(ctx, `UPDATE broker.operations SET description = $2, updated_at = now()
		WHERE id = $1 AND state = 'in progress' RETURNING instance_id`, id, description)
}

func (b Broker) PlaceOperation(ctx context.Context, id backstay.OperationKey, spec []byte) error {
	return b.noteProgress(ctx, `UPDATE broker.operations SET spec = $2, updated_at = now()
		WHERE id = $1 AND state = 'in progress' AND spec IS NOT NULL RETURNING instance_id`, id, spec)
}

// noteProgress changes what an operation in progress is known by, and tells who waits for it. It does not wait for the
// disk: what the machine loses of it is found out again when the operation is taken up.
func (b Broker) noteProgress(ctx context.Context, update string, args ...any) error {
	return b.s.tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL synchronous_commit = off"); err != nil {
			return err
		}
		var in backstay.InstanceID
		err := tx.QueryRow(ctx, update, args...).Scan(&in)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		return announce(ctx, tx, owedTopic(in))
	})
}

func (b Broker) GiveUpOperation(
	ctx context.Context, id backstay.OperationKey, r broker.Refusal,
) (given broker.Operation, err error) {
	err = b.changeOperation(ctx, id, func(tx pgx.Tx, o broker.Operation) error {
		if given = o; o.State != backstay.InProgress || o.Failure != "" {
			return nil
		}
		generation, err := nextGeneration(ctx, tx, o)
		if err != nil {
			return err
		}
		given, err = selectOne(ctx, tx, scanOwedOperation, `UPDATE broker.operations o
			SET failure = $2, generation = $3, not_before = $4, parameters = NULL, spec = NULL, updated_at = now()
			WHERE id = $1 RETURNING `+owedOperationColumns, id, r.Reason, generation, zeronull.Timestamptz(r.Again))
		return err
	})
	return given, err
}

const endOwedOperation = `UPDATE broker.operations SET state = $2, description = $3, parameters = NULL, spec = NULL,
	updated_at = now() WHERE id = $1`

func (b Broker) SucceedOperation(
	ctx context.Context, id backstay.OperationKey, description string, s broker.Serving,
) error {
	return b.endOperation(ctx, id, func(tx pgx.Tx, o broker.Operation) error {
		if o.Spec != nil {
			if _, err := tx.Exec(ctx, `UPDATE broker.instances SET plan_id = $2, parameters = $3, spec = $4, generation = $5,
				endpoint_host = $6, endpoint_port = $7, build = $8,
				read_host = CASE WHEN read_port = 0 THEN $9 ELSE read_host END,
				read_port = CASE WHEN read_port = 0 THEN $10 ELSE read_port END WHERE id = $1`,
				o.InstanceID, o.PlanID, o.Parameters, o.Spec, o.Generation, s.Endpoint.Host, s.Endpoint.Port,
				s.Build, s.Reads.Host, s.Reads.Port); err != nil {
				return err
			}
			if err := setWindows(ctx, tx, o.InstanceID, o.Windows); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, `UPDATE broker.operations SET notice = $2 WHERE id = $1`, id, s.Notice); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, endOwedOperation, id, backstay.Succeeded, description)
		return err
	}, func(tx pgx.Tx, in backstay.InstanceID) error { return recordTenantUsage(ctx, tx, &in) })
}

func (b Broker) FailOperation(ctx context.Context, id backstay.OperationKey, description string) error {
	return b.endOperation(ctx, id, func(tx pgx.Tx, o broker.Operation) error {
		if err := returnGeneration(ctx, tx, o); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, endOwedOperation, id, backstay.Failed, description)
		return err
	})
}

// returnGeneration gives what was accepted the generation under which an operation that was given up has brought it
// back. One that waits has a reason for that, and has brought nothing back.
func returnGeneration(ctx context.Context, tx pgx.Tx, o broker.Operation) error {
	if o.Failure == "" || o.State == broker.Waiting {
		return nil
	}
	_, err := tx.Exec(ctx, `UPDATE broker.instances SET generation = $2 WHERE id = $1 AND spec IS NOT NULL`,
		o.InstanceID, o.Generation)
	return err
}

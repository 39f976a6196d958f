package state

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype/zeronull"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/broker/terms"
)

// pendingJoin joins the instance i with its operation that waits, if there is one.
const pendingJoin = `LEFT JOIN broker.operations w ON w.instance_id = i.id AND w.state = 'waiting'`

const pendingColumns = `coalesce(w.id, ''), coalesce(w.asked_plan_id, ''), coalesce(w.asked_plan_name, ''),
	w.asked_parameters, w.not_before, coalesce(w.failure, '')`

func pendingFields(p *broker.Pending) []any {
	return []any{&p.ID, &p.Asked.PlanID, &p.Asked.PlanName, &p.Asked.Parameters,
		(*zeronull.Timestamptz)(&p.NotBefore), &p.Reason}
}

func (b Broker) Arrange(ctx context.Context, a broker.Arrangement) error {
	in := a.Operation.InstanceID
	return b.s.tx(ctx, func(tx pgx.Tx) error {
		if _, err := lockOwed(ctx, tx, in); err != nil {
			return err
		}
		now, err := owedInstance(ctx, tx, in)
		if err != nil {
			return err
		}
		if now.Operation.State == backstay.InProgress {
			return errOwedBusy(in)
		}
		if err := setWindows(ctx, tx, in, a.Windows); err != nil {
			return err
		}
		if a.Withdraw || a.Queue != nil {
			if _, err := tx.Exec(ctx, `DELETE FROM broker.operations WHERE id = $1`, now.Pending.ID); err != nil {
				return err
			}
		}
		if a.Queue != nil {
			if err := b.insertOperation(ctx, tx, *a.Queue); err != nil {
				return err
			}
		}
		return b.insertOperation(ctx, tx, a.Operation)
	})
}

// setWindows changes those windows of an instance that are not zero.
func setWindows(ctx context.Context, tx pgx.Tx, id backstay.InstanceID, w terms.Windows) error {
	_, err := tx.Exec(ctx, `UPDATE broker.instances SET
			maintenance_window = coalesce(nullif($2, ''), maintenance_window),
			backup_window = coalesce(nullif($3, ''), backup_window)
		WHERE id = $1`, id, weekly{&w.Maintenance}, daily{&w.Backup})
	return err
}

func (b Broker) StartOperation(
	ctx context.Context, id backstay.OperationKey, agreed broker.Wanted,
) (started broker.Operation, err error) {
	err = b.changeOperation(ctx, id, func(tx pgx.Tx, o broker.Operation) error {
		if started = o; o.State != broker.Waiting {
			return nil
		}
		in, err := owedInstance(ctx, tx, o.InstanceID)
		if err != nil {
			return err
		}
		if agreed.Generation != in.Generation {
			return errOwedBusy(in.ID)
		}
		o.Wanted = agreed
		if o.Generation, err = nextGeneration(ctx, tx, o); err != nil {
			return err
		}
		// From now on it is newer than whatever users have asked for while it waited.
		started, err = selectOne(ctx, tx, scanOwedOperation, `UPDATE broker.operations o
			SET seq = DEFAULT, state = 'in progress', not_before = NULL, failure = '', plan_id = $2, parameters = $3,
				maintenance_window = $4, backup_window = $5, spec = $6, generation = $7, updated_at = now()
			WHERE id = $1 RETURNING `+owedOperationColumns,
			id, o.PlanID, o.Parameters, weekly{&o.Windows.Maintenance}, daily{&o.Windows.Backup}, o.Spec, o.Generation)
		if err != nil {
			return err
		}
		if err := countChange(ctx, tx, started); err != nil {
			return err
		}
		return b.s.insertBrokerJob(ctx, tx, started)
	})
	return started, owedBusy(err, started.InstanceID)
}

func (b Broker) PostponeOperation(ctx context.Context, id backstay.OperationKey, r broker.Refusal) error {
	return b.endOperation(ctx, id, func(tx pgx.Tx, o broker.Operation) error {
		if err := returnGeneration(ctx, tx, o); err != nil || o.State == broker.Waiting {
			return err
		}
		tag, err := tx.Exec(ctx, `DELETE FROM broker.operations o WHERE id = $1 AND EXISTS (
			SELECT FROM broker.operations w WHERE w.instance_id = o.instance_id AND w.state = 'waiting')`, id)
		if err != nil || tag.RowsAffected() == 1 {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE broker.operations SET state = 'waiting', not_before = $2, failure = $3,
			plan_id = '', parameters = NULL, maintenance_window = '', backup_window = '', spec = NULL,
			generation = 0, updated_at = now() WHERE id = $1`, id, zeronull.Timestamptz(r.Again), r.Reason)
		return err
	})
}

func (b Broker) RemarkOperation(ctx context.Context, id backstay.OperationKey, reason string) error {
	return absentIsFine(b.changeOperation(ctx, id, func(tx pgx.Tx, o broker.Operation) error {
		if o.State != broker.Waiting || o.Failure == reason {
			return nil
		}
		_, err := tx.Exec(ctx, `UPDATE broker.operations SET failure = $2, updated_at = now() WHERE id = $1`, id, reason)
		if err != nil {
			return err
		}
		return countChange(ctx, tx, o)
	}))
}

func (b Broker) Schedule(ctx context.Context) ([]broker.Scheduled, error) {
	rows, err := b.s.pool.Query(ctx, `SELECT i.id, i.service_id, i.plan_id, i.backend, i.build, i.maintenance_window,
			i.backup_window, coalesce(w.id, ''), w.not_before, p.id IS NOT NULL, coalesce(p.cause = 'maintenance', false),
			(SELECT max(not_before) FROM broker.operations
				WHERE instance_id = i.id AND cause = 'maintenance' AND state = 'failed'), i.drills
		FROM broker.instances i `+pendingJoin+`
			LEFT JOIN broker.operations p ON p.instance_id = i.id AND p.state = 'in progress'
		WHERE i.spec IS NOT NULL`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (s broker.Scheduled, err error) {
		return s, r.Scan(&s.ID, &s.ServiceID, &s.PlanID, &s.Backend, &s.Build, weekly{&s.Windows.Maintenance},
			daily{&s.Windows.Backup}, &s.Pending.ID, (*zeronull.Timestamptz)(&s.Pending.NotBefore), &s.Busy, &s.Kept,
			(*zeronull.Timestamptz)(&s.Rests), &s.MayDrill)
	})
}

// changesTopic is of all that the broker changes of its own accord.
const changesTopic = "broker/changes"

// countChange makes it known that an operation by maintenance has begun, or ended, or waits again. Whoever counts
// holds the count until the transaction ends, so that nobody sees a change before an earlier one.
func countChange(ctx context.Context, tx pgx.Tx, o broker.Operation) error {
	if o.Cause != broker.ByMaintenance {
		return nil
	}
	if _, err := tx.Exec(ctx, `WITH counted AS (UPDATE broker.changes SET last = last + 1 RETURNING last)
		UPDATE broker.instances SET changed = (SELECT last FROM counted) WHERE id = $1`, o.InstanceID); err != nil {
		return err
	}
	return announce(ctx, tx, changesTopic)
}

func (b Broker) AwaitChanges(
	ctx context.Context, after int64,
) (changed []backstay.InstanceID, seen int64, err error) {
	err = b.s.await(ctx, changesTopic, func() (bool, error) {
		rows, err := b.s.pool.Query(ctx, `SELECT i.id, i.changed FROM broker.instances i, broker.changes c
			WHERE i.changed > CASE WHEN $1 > c.last THEN 0 ELSE $1 END ORDER BY i.changed`, after)
		if err != nil {
			return false, err
		}
		var id backstay.InstanceID
		changed, seen = nil, after
		_, err = pgx.ForEachRow(rows, []any{&id, &seen}, func() error {
			changed = append(changed, id)
			return nil
		})
		return changed != nil, err
	})
	return changed, seen, err
}

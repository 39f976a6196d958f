package state

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

// usageLock is held from the recording of usage to the commit, so that whoever reads events and goes on
// after the last one later misses none. Nothing that others hold may be waited for under it.
const usageLock = 0x75736167 // "usag"

func lockUsage(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, usageLock)
	return err
}

// recordUsage records what has become of an instance, or of each one if there is no id, where that is news:
// one that is known can be updated or deleted, an update changes what the last event says. It is the last
// statement of a transaction (see usageLock).
func recordUsage(ctx context.Context, tx pgx.Tx, state backstay.UsageState, id *backstay.InstanceID) error {
	if err := lockUsage(ctx, tx); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `INSERT INTO market.usage_events (id, state, instance_id, instance_name, organization_id,
		organization_name,
			space_id, space_name, plan_id, plan_name, offering_id, offering_name, broker_id, broker_name, costs)
		SELECT CASE $1 WHEN 'CREATED' THEN i.id ELSE gen_random_uuid()::text END, $1, i.id, i.name, o.id, o.name,
			s.id, s.name, p.id, p.name, f.id, f.name, k.id, k.name, p.costs
		FROM market.instances i
			JOIN market.spaces s ON s.id = i.space_id
			JOIN market.organizations o ON o.id = s.organization_id
			JOIN market.plans p ON p.id = i.plan_id
			JOIN market.offerings f ON f.id = p.offering_id
			JOIN market.brokers k ON k.id = f.broker_id
			LEFT JOIN LATERAL (SELECT * FROM market.usage_events u WHERE u.instance_id = i.id ORDER BY u.number DESC
				LIMIT 1) l ON true
		WHERE ($2::text IS NULL OR i.id = $2) AND CASE $1
			WHEN 'CREATED' THEN l.id IS NULL
			WHEN 'DELETED' THEN l.state <> 'DELETED'
			ELSE l.state <> 'DELETED' AND (l.instance_name, l.plan_id, l.plan_name, l.offering_name, l.costs) <> (i.name, p.id,
				p.name, f.name, p.costs) END
		ORDER BY i.id`, state, id)
	return err
}

// recordInstanceEnd records the end of an instance's usage. Whoever works on the instance has the row
// before usageLock, so it is waited for here.
func recordInstanceEnd(ctx context.Context, tx pgx.Tx, id backstay.InstanceID) error {
	if _, err := tx.Exec(ctx, `SELECT FROM market.instances WHERE id = $1 FOR UPDATE`, id); err != nil {
		return err
	}
	return recordUsage(ctx, tx, backstay.UsageDeleted, &id)
}

const usageColumns = `u.id, u.state, u.instance_id, u.instance_name, u.organization_id, u.organization_name,
	u.space_id, u.space_name,
	u.plan_id, u.plan_name, u.offering_id, u.offering_name, u.broker_id, u.broker_name, u.costs, u.created_at`

func scanUsage(r pgx.CollectableRow) (u backstay.UsageEvent, err error) {
	err = r.Scan(&u.ID, &u.State, &u.InstanceID, &u.InstanceName, &u.OrganizationID, &u.OrganizationName, &u.SpaceID,
		&u.SpaceName,
		&u.PlanID, &u.PlanName, &u.OfferingID, &u.OfferingName, &u.BrokerID, &u.BrokerName,
		&u.Costs, &u.CreatedAt)
	return u, err
}

func (s *Store) UsageEvents(ctx context.Context, f market.UsageFilter) (market.List[backstay.UsageEvent], error) {
	q := query{columns: usageColumns, from: "(SELECT *, created_at AS updated_at FROM market.usage_events) u",
		alias: "u", tie: "u.number"}
	if f.AfterID != "" {
		var number int64
		if err := s.pool.QueryRow(ctx, `SELECT number FROM market.usage_events WHERE id = $1`,
			f.AfterID).Scan(&number); err != nil {
			return market.List[backstay.UsageEvent]{},
				orInvalid(err, "After guid filter must be a valid service usage event guid.")
		}
		q.where = append(q.where, "u.number > "+q.arg(number))
	}
	whereIn(&q, "u.id", f.IDs)
	whereIn(&q, "u.offering_id", f.OfferingIDs)
	q.match(f.Match)
	return selectList(ctx, s, q, f.Order, f.Page, scanUsage)
}

func (s *Store) UsageBetween(ctx context.Context, from, until time.Time) ([]backstay.UsageEvent, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+usageColumns+` FROM market.usage_events u
		WHERE u.created_at < $2 AND (u.created_at >= $1 OR u.state <> 'DELETED' AND NOT EXISTS
			(SELECT FROM market.usage_events l WHERE l.instance_id = u.instance_id AND l.number > u.number
				AND l.created_at < $1))
		ORDER BY u.number`, from, until)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanUsage)
}

func (s *Store) UsageHorizon(ctx context.Context) (time.Time, error) {
	var since *time.Time
	err := s.pool.QueryRow(ctx, `SELECT since FROM market.usage_horizon`).Scan(&since)
	if since == nil {
		return time.Time{}, err
	}
	return *since, err
}

// RemoveUsage keeps of each instance the last event before, unless that is its end. The oldest go first:
// were an end to go before what it ends, that would seem to last.
func (s *Store) RemoveUsage(ctx context.Context, before time.Time, limit int) (removed int, err error) {
	err = s.tx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `DELETE FROM market.usage_events WHERE number IN (
			SELECT u.number FROM market.usage_events u WHERE u.created_at < $1 AND (u.state = 'DELETED' OR EXISTS
				(SELECT FROM market.usage_events l WHERE l.instance_id = u.instance_id AND l.number > u.number
					AND l.created_at < $1))
			ORDER BY u.number LIMIT $2 FOR UPDATE)`, before, limit)
		if removed = int(tag.RowsAffected()); err != nil || removed == 0 {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE market.usage_horizon SET since = greatest(since, $1)`, before)
		return err
	})
	return removed, err
}

func (s *Store) ReseedUsage(ctx context.Context, e backstay.Event) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		if err := recordEvent(ctx, tx, e); err != nil {
			return err
		}
		if err := lockUsage(ctx, tx); err != nil {
			return err
		}
		for _, sql := range []string{
			`DELETE FROM market.usage_events u WHERE u.state = 'DELETED' OR EXISTS
				(SELECT FROM market.usage_events l WHERE l.instance_id = u.instance_id AND l.number > u.number)`,
			`UPDATE market.usage_horizon SET since = clock_timestamp()`,
			`UPDATE market.usage_events SET id = instance_id, state = 'CREATED', number = DEFAULT, created_at = (SELECT since
				FROM market.usage_horizon)`,
		} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
}

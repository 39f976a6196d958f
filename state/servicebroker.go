package state

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

const brokerColumns = `k.id, k.name, k.url, coalesce(k.space_id, ''), k.labels, k.annotations, k.created_at,
	k.updated_at`

func scanServiceBroker(r pgx.CollectableRow) (b backstay.ServiceBroker, err error) {
	err = r.Scan(&b.ID, &b.Name, &b.URL, &b.SpaceID, &b.Metadata.Labels, &b.Metadata.Annotations, &b.CreatedAt,
		&b.UpdatedAt)
	return b, err
}

func (s *Store) ServiceBrokers(ctx context.Context,
	f market.BrokerFilter) (market.List[backstay.ServiceBroker], error) {
	q := query{columns: brokerColumns, from: "market.brokers k", alias: "k"}
	whereIn(&q, "k.id", f.IDs)
	whereIn(&q, "k.name", f.Names)
	whereIn(&q, "k.space_id", f.SpaceIDs)
	whereAmong(&q, `k.id IN (SELECT o.broker_id FROM market.offerings o JOIN market.plans p ON p.offering_id = o.id
		WHERE p.id = ANY(%s))`, f.PlanIDs)
	seenBy(&q, `k.space_id IN (SELECT v.space_id FROM market.roles v WHERE v.user_id = %[1]s
		AND v.type = 'space_developer')`, f.Viewer)
	q.match(f.Match)
	return selectList(ctx, s, q, f.Order, f.Page, scanServiceBroker)
}

func (s *Store) BrokerSecrets(
	ctx context.Context, id backstay.BrokerID,
) (login []byte, change *market.BrokerChange, err error) {
	err = s.pool.QueryRow(ctx, `SELECT login, change FROM market.brokers WHERE id = $1`, id).Scan(&login, &change)
	return login, change, orNotFound(err, "Service broker")
}

// orBrokerTaken says which constraint a broker cannot be kept for.
func orBrokerTaken(err error) error {
	switch {
	case violates(err, "broker_name"):
		return backstay.Errorf(backstay.Taken, "Name must be unique")
	case violates(err, "broker_space"):
		return backstay.Errorf(backstay.Invalid, "Invalid space. Ensure that the space exists and you have access to it.")
	}
	return err
}

func (s *Store) AcceptBroker(
	ctx context.Context, b backstay.ServiceBroker, login []byte, e backstay.Event, j backstay.Job,
) error {
	return orBrokerTaken(s.tx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO market.brokers (id, name, url, login, space_id, labels, annotations)
			VALUES ($1, $2, $3, $4, nullif($5, ''), $6, $7)`,
			b.ID, b.Name, b.URL, login, b.SpaceID, object(b.Metadata.Labels), object(b.Metadata.Annotations))
		if err != nil {
			return err
		}
		return s.acceptJob(ctx, tx, e, j)
	}))
}

// lockIdleBroker locks a broker that no job works on. It is Invalid, and tells what cannot be done to the broker, if
// one does.
func lockIdleBroker(
	ctx context.Context, tx pgx.Tx, id backstay.BrokerID, verb string,
) (b backstay.ServiceBroker, err error) {
	b, err = selectOne(ctx, tx, scanServiceBroker, `SELECT `+brokerColumns+` FROM market.brokers k WHERE k.id = $1
		FOR UPDATE`, id)
	if err != nil {
		return b, orNotFound(err, "Service broker")
	}
	var busy bool
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM market.jobs WHERE resource = $1
		AND operation LIKE 'service\_broker.%' AND state IN ('PROCESSING', 'POLLING'))`, id).Scan(&busy)
	if err == nil && busy {
		err = backstay.Errorf(backstay.Invalid, "Cannot %s a broker when other operation is already in progress", verb)
	}
	return b, err
}

func (s *Store) AcceptBrokerChange(
	ctx context.Context, id backstay.BrokerID, c market.BrokerChange, e backstay.Event, j backstay.Job,
) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		if c.Name != nil {
			var taken bool
			err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM market.brokers WHERE name = $1 AND id <> $2)`, *c.Name,
				id).Scan(&taken)
			if err == nil && taken {
				err = backstay.Errorf(backstay.Taken, "Name must be unique")
			}
			if err != nil {
				return err
			}
		}
		if _, err := lockIdleBroker(ctx, tx, id, "update"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE market.brokers SET change = $2 WHERE id = $1`, id, c); err != nil {
			return err
		}
		return s.acceptJob(ctx, tx, e, j)
	})
}

func (s *Store) FinishBroker(
	ctx context.Context, id backstay.BrokerID, offerings []backstay.CatalogOffering,
	record func(market.CatalogChange) backstay.Event, j backstay.JobID,
) error {
	return orBrokerTaken(s.tx(ctx, func(tx pgx.Tx) error {
		if offerings != nil { // first: whoever keeps a catalog locks the offerings before the broker
			if err := lockCatalogs(ctx, tx); err != nil {
				return err
			}
		}
		b, err := changeBroker(ctx, tx, id)
		if err != nil {
			return err
		}
		done := backstay.Job{ID: j, State: backstay.JobComplete}
		if offerings != nil {
			if err := keepCatalog(ctx, tx, b, offerings, record); err != nil {
				return err
			}
			if done.Warnings, err = warnOfDeactivated(ctx, tx, b); err != nil {
				return err
			}
		}
		return s.finishJob(ctx, tx, done)
	}))
}

// warnOfDeactivated tells which plans a broker's catalog has no more that instances have; nil if there are none.
func warnOfDeactivated(ctx context.Context, tx pgx.Tx, b backstay.ServiceBroker) ([]string, error) {
	rows, err := tx.Query(ctx, `SELECT o.name, array_agg(p.name ORDER BY p.name)
		FROM market.plans p JOIN market.offerings o ON o.id = p.offering_id
		WHERE o.broker_id = $1 AND NOT p.available AND EXISTS (SELECT FROM market.instances WHERE plan_id = p.id)
		GROUP BY o.name ORDER BY o.name`, b.ID)
	if err != nil {
		return nil, err
	}
	missing, err := pgx.CollectRows(rows, pgx.RowToStructByPos[market.DeactivatedPlans])
	if err != nil || len(missing) == 0 {
		return nil, err
	}
	return []string{market.WarnOfDeactivated(b, missing)}, nil
}

// changeBroker makes the change of a broker that is under way.
func changeBroker(ctx context.Context, tx pgx.Tx, id backstay.BrokerID) (b backstay.ServiceBroker, err error) {
	var c *market.BrokerChange
	err = tx.QueryRow(ctx, `SELECT change FROM market.brokers WHERE id = $1 FOR UPDATE`, id).Scan(&c)
	if err != nil {
		return b, orNotFound(err, "Service broker")
	}
	if c != nil {
		if _, err := tx.Exec(ctx, `UPDATE market.brokers SET name = coalesce($2, name), url = coalesce($3, url),
			login = coalesce($4, login), change = NULL, updated_at = now() WHERE id = $1`,
			id, c.Name, c.URL, c.Login); err != nil {
			return b, err
		}
		if err := updateMetadata(ctx, tx, "market.brokers", id, c.Metadata); err != nil {
			return b, err
		}
	}
	return selectOne(ctx, tx, scanServiceBroker, `SELECT `+brokerColumns+` FROM market.brokers k WHERE k.id = $1`, id)
}

func (s *Store) FailBroker(ctx context.Context, id backstay.BrokerID, j backstay.Job) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE market.brokers SET change = NULL WHERE id = $1`, id); err != nil {
			return err
		}
		return s.finishJob(ctx, tx, j)
	})
}

func (s *Store) AcceptBrokerDeletion(ctx context.Context, id backstay.BrokerID, j backstay.Job) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		b, err := lockIdleBroker(ctx, tx, id, "delete")
		if err != nil {
			return err
		}
		if err := checkNoInstances(ctx, tx, b); err != nil {
			return err
		}
		return s.acceptJob(ctx, tx, backstay.Event{}, j)
	})
}

func checkNoInstances(ctx context.Context, tx pgx.Tx, b backstay.ServiceBroker) error {
	var some bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM market.instances i JOIN market.plans p ON p.id = i.plan_id
		JOIN market.offerings o ON o.id = p.offering_id WHERE o.broker_id = $1)`, b.ID).Scan(&some)
	if err == nil && some {
		err = market.BrokerInUse(b.Name)
	}
	return err
}

func (s *Store) RemoveBroker(
	ctx context.Context, id backstay.BrokerID, record func(market.CatalogChange) backstay.Event, e backstay.Event,
	j *backstay.JobID,
) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		if err := lockCatalogs(ctx, tx); err != nil {
			return err
		}
		found, err := selectColumn[string](ctx, tx, `SELECT name FROM market.brokers WHERE id = $1 FOR UPDATE`, id)
		if err != nil {
			return err
		}
		if len(found) > 0 {
			if err := removeBroker(ctx, tx, backstay.ServiceBroker{ID: id, Name: found[0]}, record, e); err != nil {
				return err
			}
		}
		return s.completeJob(ctx, tx, j)
	})
}

func removeBroker(
	ctx context.Context, tx pgx.Tx, b backstay.ServiceBroker, record func(market.CatalogChange) backstay.Event,
	e backstay.Event,
) error {
	k, err := newCatalogKeeper(ctx, tx, b)
	if err != nil {
		return err
	}
	// Locked, the plans get no new instances.
	const lockPlans = `SELECT FROM market.plans WHERE offering_id IN (SELECT id FROM market.offerings WHERE broker_id = $1)
		ORDER BY id FOR UPDATE`
	if _, err := tx.Exec(ctx, lockPlans, b.ID); err != nil {
		return err
	}
	if err := checkNoInstances(ctx, tx, b); err != nil {
		return err
	}
	if err := k.forget(ctx, tx); err != nil {
		return err
	}
	if err := k.record(ctx, tx, record); err != nil {
		return err
	}
	return remove(ctx, tx, e, `DELETE FROM market.brokers WHERE id = $1`, b.ID)
}

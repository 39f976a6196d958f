package state

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
)

const jobColumns = `j.id, j.operation, j.resource, j.actor, j.state, j.kind, j.sentence, j.about,
	j.asked, j.warnings, j.created_at, j.updated_at`

func scanJob(r pgx.CollectableRow) (j backstay.Job, err error) {
	var kind string
	err = r.Scan(&j.ID, &j.Operation, &j.Resource, &j.By, &j.State, &kind, &j.Sentence, &j.About,
		&j.Asked, &j.Warnings, &j.CreatedAt, &j.UpdatedAt)
	j.Kind = backstay.KindFromString(kind)
	return j, err
}

func (s *Store) Job(ctx context.Context, id backstay.JobID) (backstay.Job, error) {
	j, err := selectOne(ctx, s.pool, scanJob, `SELECT `+jobColumns+` FROM market.jobs j WHERE id = $1`, id)
	return j, orNotFound(err, "Job")
}

func (s *Store) AcceptJob(ctx context.Context, e backstay.Event, j backstay.Job) error {
	return s.tx(ctx, func(tx pgx.Tx) error { return s.acceptJob(ctx, tx, e, j) })
}

// acceptJob records a job, and the event that it was asked for.
func (s *Store) acceptJob(ctx context.Context, tx pgx.Tx, e backstay.Event, j backstay.Job) error {
	if err := recordEvent(ctx, tx, e); err != nil {
		return err
	}
	if err := insertJob(ctx, tx, j); err != nil {
		return err
	}
	return s.insertMarketJob(ctx, tx, j)
}

func insertJob(ctx context.Context, tx pgx.Tx, j backstay.Job) error {
	_, err := tx.Exec(ctx, `INSERT INTO market.jobs (id, operation, resource, actor, state, completed, about)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		j.ID, j.Operation, j.Resource, j.By, j.State, j.Completed, j.About)
	return err
}

func (s *Store) NoteAsked(ctx context.Context, id backstay.JobID) error {
	_, err := s.pool.Exec(ctx, `UPDATE market.jobs SET asked = true WHERE id = $1`, id)
	return err
}

func (s *Store) FinishJob(ctx context.Context, j backstay.Job) error {
	return s.tx(ctx, func(tx pgx.Tx) error { return s.finishJob(ctx, tx, j) })
}

func (s *Store) finishJob(ctx context.Context, tx pgx.Tx, j backstay.Job) error {
	kind := ""
	if j.State == backstay.JobFailed {
		kind = j.Kind.String()
	}
	var completed *backstay.Event
	err := tx.QueryRow(ctx, `UPDATE market.jobs SET state = $2, kind = $3, sentence = $4, updated_at = now(),
			warnings = coalesce($5, '{}'::text[])
		WHERE id = $1 RETURNING completed`,
		j.ID, j.State, kind, j.Sentence, j.Warnings).Scan(&completed)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // nobody waits for a job that is gone
	}
	if err != nil {
		return err
	}
	if completed != nil && j.State == backstay.JobComplete {
		if err := recordEvent(ctx, tx, *completed); err != nil {
			return err
		}
	}
	if j.Next != nil {
		if err := s.acceptJob(ctx, tx, backstay.Event{}, *j.Next); err != nil {
			return err
		}
	}
	return announce(ctx, tx, jobTopic(j.ID))
}

func (s *Store) completeJob(ctx context.Context, tx pgx.Tx, id *backstay.JobID) error {
	if id == nil {
		return nil
	}
	return s.finishJob(ctx, tx, backstay.Job{ID: *id, State: backstay.JobComplete})
}

func (s *Store) Pending(ctx context.Context, operation, resource string) (pending bool, err error) {
	err = s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM market.jobs
		WHERE operation = $1 AND resource = $2 AND state IN ('PROCESSING', 'POLLING'))`, operation, resource).Scan(&pending)
	return pending, err
}

// RemoveJobs passes over rows that somebody else is removing.
func (s *Store) RemoveJobs(ctx context.Context, before time.Time, limit int) (int, error) {
	tag, err := s.pool.Exec(ctx, `DELETE FROM market.jobs WHERE id IN (SELECT id FROM market.jobs
		WHERE state IN ('COMPLETE', 'FAILED') AND updated_at < $1 ORDER BY updated_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
		before, limit)
	return int(tag.RowsAffected()), err
}

func jobTopic(id backstay.JobID) string { return "job/" + string(id) }

func (s *Store) AwaitJob(ctx context.Context, id backstay.JobID) (j backstay.Job, err error) {
	look := context.WithoutCancel(ctx) // the last look must not fail because the time is up
	err = s.await(ctx, jobTopic(id), func() (bool, error) {
		j, err = s.Job(look, id)
		return j.State == backstay.JobComplete || j.State == backstay.JobFailed, err
	})
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return j, nil
	}
	return j, err
}

package state

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/internal/wait"
)

// jobSchema holds the job queue's own tables.
const jobSchema = "river"

// MaxAttempts is how often a job is tried while it fails for reasons of our own (Internal); with
// the delays of retryPolicy that is about a minute and a half.
const MaxAttempts = 14

// marketJob asks for a run of a market job, brokerJob for one of a broker's operation.
type (
	marketJob struct {
		Job backstay.JobID `json:"job"`
	}
	brokerJob struct {
		Instance  backstay.InstanceID   `json:"instance"`
		Operation backstay.OperationKey `json:"operation"`
	}
)

func (marketJob) Kind() string { return "market" }
func (brokerJob) Kind() string { return "broker" }

// Runners do the jobs. Each is called until it returns nil; last tells that this is the last time,
// whatever it returns, so that it can record a failure rather than leave the operation open.
type Runners struct {
	Market func(ctx context.Context, job backstay.JobID, last bool) error
	Broker func(ctx context.Context, instance backstay.InstanceID, operation backstay.OperationKey, last bool) error
}

type worker[T river.JobArgs] struct {
	river.WorkerDefaults[T]
	run func(ctx context.Context, args T, last bool) error
}

func (w *worker[T]) Work(ctx context.Context, j *river.Job[T]) error {
	err := w.run(ctx, j.Args, j.Attempt >= j.MaxAttempts)
	if err != nil && ctx.Err() != nil {
		return river.JobSnooze(0) // we are stopping: the next start takes it up, and it is not its fault
	}
	return err
}

// Timeout is none: an operation takes as long as it takes, and its steps have limits of their own. The queue
// therefore never rescues a job whose runner is gone; takeJobsBack does.
func (w *worker[T]) Timeout(*river.Job[T]) time.Duration { return -1 }

// retryPolicy doubles from 100 ms to 10 s, from now on; what is tried more often than most jobs are, is tried by the
// minute then.
type retryPolicy struct{ now func() time.Time }

func (p retryPolicy) NextRetry(j *rivertype.JobRow) time.Time {
	delay := min(100*time.Millisecond<<min(max(j.Attempt-1, 0), 7), 10*time.Second)
	if j.Attempt >= MaxAttempts {
		delay = time.Minute
	}
	return p.now().Add(delay)
}

// RunJobs runs jobs until ctx ends, beginning with those that were being run when the process before was
// killed. It claims the database for that, if OpenToServe has not. A claim that is lost, as by a restart of
// the database, stops all jobs until there is another one; RunJobs fails if somebody else has it by then.
func (s *Store) RunJobs(ctx context.Context, r Runners) error {
	for {
		if err := s.ensureClaim(ctx); err != nil {
			return fmt.Errorf("claim state database: %w", err)
		}
		lost, err := s.runClaimed(ctx, r)
		if err != nil || ctx.Err() != nil {
			return err
		}
		s.log.Warn("the state database was lost from view; jobs go on when it is back", "error", lost)
		s.claim.close()
		s.claim = nil
	}
}

// ensureClaim returns when this process has the claim. A database that cannot be reached is waited for, one
// that another process serves is not.
func (s *Store) ensureClaim(ctx context.Context) error {
	if s.claim != nil {
		return nil
	}
	return wait.Until(ctx, wait.Growing(20*time.Millisecond, time.Second), func() (again bool, err error) {
		s.claim, err = newClaim(ctx, s.pool.Config().ConnConfig)
		return err != nil && backstay.KindOf(err) != backstay.InUse, err
	})
}

// runClaimed runs jobs until ctx ends or the claim is lost, and then waits until none runs any more.
func (s *Store) runClaimed(ctx context.Context, r Runners) (lost, err error) {
	if err := s.claim.takeJobsBack(ctx); err != nil {
		return s.claim.blame(ctx, fmt.Errorf("take jobs back: %w", err))
	}
	bookkeeping, err := s.bookkeeping(ctx)
	if err != nil {
		return nil, fmt.Errorf("open job runner: %w", err)
	}
	defer bookkeeping.Close()
	client, err := s.jobClient(bookkeeping, r)
	if err != nil {
		return nil, fmt.Errorf("open job runner: %w", err)
	}
	claimed, end := context.WithCancel(ctx)
	defer end()
	if err := client.Start(claimed); err != nil {
		return s.claim.blame(ctx, fmt.Errorf("start job runner: %w", err))
	}
	lost = s.claim.watch(ctx)
	end()
	err = stopJobs(client)
	if err != nil && ctx.Err() == nil {
		bookkeeping.Close() // or the queue would try for minutes to note what takeJobsBack makes good
		err = stopJobs(client)
	}
	return lost, err
}

// stopJobs cancels all jobs and waits until none runs, and the queue has noted how each ended.
func stopJobs(client *river.Client[pgx.Tx]) error {
	limited, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return client.StopAndCancel(limited)
}

func (s *Store) jobClient(bookkeeping *pgxpool.Pool, r Runners) (*river.Client[pgx.Tx], error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker[marketJob]{run: func(ctx context.Context, a marketJob, last bool) error {
		return r.Market(ctx, a.Job, last)
	}})
	river.AddWorker(workers, &worker[brokerJob]{run: func(ctx context.Context, a brokerJob, last bool) error {
		return r.Broker(ctx, a.Instance, a.Operation, last)
	}})
	return river.NewClient(riverpgxv5.New(bookkeeping), &river.Config{
		ID:                "serve", // always the same: one that starts goes on at once with what the one before led
		Schema:            jobSchema,
		Logger:            slog.New(warnings{s.log.Handler()}),
		Workers:           workers,
		RetryPolicy:       retryPolicy{s.now},
		FetchCooldown:     time.Millisecond,
		FetchPollInterval: time.Second, // a safety net: NOTIFY brings them
		Queues: map[string]river.QueueConfig{
			marketQueue: {MaxWorkers: 200},
			brokerQueue: {MaxWorkers: 200},
			awayQueue:   {MaxWorkers: 200},
		},
	})
}

// bookkeeping is a pool for the queue's own notes of which job is taken up and which is done, whose
// commits do not wait for the disk. A note that the machine loses is made good by doing the job again,
// which has the effect of doing it once. That a job exists is committed with what it is for.
func (s *Store) bookkeeping(ctx context.Context) (*pgxpool.Pool, error) {
	cfg := s.pool.Config()
	cfg.MaxConns = bookkeepers
	cfg.ConnConfig.RuntimeParams["synchronous_commit"] = "off"
	for _, name := range []string{"plan_cache_mode", "statement_timeout"} { // the queue's statements are its own affair
		delete(cfg.ConnConfig.RuntimeParams, name)
	}
	return pgxpool.NewWithConfig(ctx, cfg)
}

const bookkeepers = 8

// warnings leaves out what the queue says while all is well, every few seconds.
type warnings struct{ slog.Handler }

func (w warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && w.Handler.Enabled(ctx, level)
}

func (w warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnings{w.Handler.WithAttrs(attrs)}
}

func (w warnings) WithGroup(name string) slog.Handler { return warnings{w.Handler.WithGroup(name)} }

const (
	marketQueue = "market"
	brokerQueue = "broker"
	awayQueue   = "away" // market jobs that wait for brokers elsewhere: those that do not answer keep nobody else waiting
)

func (s *Store) insertMarketJob(ctx context.Context, tx pgx.Tx, j backstay.Job) error {
	attempts := MaxAttempts
	if j.Tireless {
		attempts = math.MaxInt16 // the most that the queue can count: by the minute they last for three weeks
	}
	queue := marketQueue
	away, err := waitsAway(ctx, tx, j)
	if err != nil {
		return err
	}
	if away {
		queue = awayQueue
	}
	_, err = s.inserts.InsertTx(ctx, tx, marketJob{Job: j.ID}, &river.InsertOpts{Queue: queue, MaxAttempts: attempts})
	return err
}

// waitsAway tells whether a job is about a broker that somebody has registered, an instance or a binding of one, or
// what may be left there.
func waitsAway(ctx context.Context, tx pgx.Tx, j backstay.Job) (away bool, err error) {
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM market.brokers k WHERE k.url <> '' AND (k.id = $1
			OR k.id = $2::jsonb ->> 'broker_id'
			OR k.id = (SELECT o.broker_id FROM market.offerings o JOIN market.plans p ON p.offering_id = o.id
				JOIN market.instances i ON i.plan_id = p.id
				WHERE i.id = coalesce((SELECT b.instance_id FROM market.bindings b WHERE b.id = $1), $1))))`,
		j.Resource, j.About).Scan(&away)
	return away, err
}

func (s *Store) insertBrokerJob(ctx context.Context, tx pgx.Tx, o broker.Operation) error {
	_, err := s.inserts.InsertTx(ctx, tx, brokerJob{Instance: o.InstanceID, Operation: o.ID},
		&river.InsertOpts{Queue: brokerQueue, MaxAttempts: MaxAttempts})
	return err
}

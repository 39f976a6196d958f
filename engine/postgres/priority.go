package postgres

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/pgserver"
	"github.com/backstay/backstay/internal/wait"
)

// lockPatience is how long the administrator waits for a lock that a tenant's session holds. It is shorter
// than the second after which PostgreSQL looks for deadlocks, and could end the administrator's side of one.
const lockPatience = 500 * time.Millisecond

// withPriority is withAdmin for changes. Tenants can hold locks that a change needs for as long as they like, so a
// session that keeps the administrator waiting for longer than lockPatience is ended. Do may be called several times.
func withPriority(ctx context.Context, n engine.Node, do func(*pgx.Conn) error) error {
	return withAdmin(ctx, n, func(conn *pgx.Conn) error {
		ctx, done := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			endBlockers(ctx, n)
		}()
		defer func() { done(); <-ended }()
		return makingRoom(ctx, conn, do)
	})
}

// makingRoom calls do again while the server has no room for another lock, which may be so for ever. Each time it first
// ends the session that holds the most.
func makingRoom(ctx context.Context, conn *pgx.Conn, do func(*pgx.Conn) error) error {
	err := do(conn)
	for tries := 0; pgserver.IsOutOfLocks(err) && tries < 50; tries++ {
		if tries == 0 {
			err = wait.Pause(ctx, lockPatience) // it may have ended by itself
		} else {
			_, err = conn.Exec(ctx, endHoarderSQL)
		}
		if err == nil {
			err = do(conn)
		}
	}
	return err
}

// endHoarderSQL ends the client's session that holds the most locks. It takes no room among them itself: it reads none
// of the tables that are common to all databases, as pg_stat_activity does.
const endHoarderSQL = `SELECT pg_terminate_backend(pid, 5000)
FROM (SELECT pid FROM pg_locks JOIN pg_stat_get_activity(NULL) USING (pid) WHERE usesysid <> 10
    GROUP BY pid ORDER BY count(*) DESC LIMIT 1) AS hoarder`

// endBlockers ends sessions that keep the administrator waiting, again and again until ctx ends. Most changes are made
// before it looks for the first time, so it seldom needs a connection.
func endBlockers(ctx context.Context, n engine.Node) {
	if wait.Pause(ctx, lockPatience) != nil {
		return
	}
	look := func(conn *pgx.Conn) error {
		return wait.Until(ctx, wait.Every(20*time.Millisecond), func() (again bool, err error) {
			_, err = conn.Exec(ctx, endBlockersSQL, lockPatience.Seconds())
			return err == nil, err
		})
	}
	for wait.Pause(ctx, 20*time.Millisecond) == nil {
		_ = withAdmin(ctx, n, look) // a connection that fails is made again
	}
}

// endBlockersSQL ends the sessions that any of the administrator's sessions waits for, since those may wait for each
// other too. Sessions that wait for the same lock and came first are among them.
const endBlockersSQL = `SELECT count(pg_terminate_backend(blocker.pid))
FROM pg_locks ours JOIN pg_stat_activity our ON our.pid = ours.pid AND our.usesysid = 10,
    unnest(pg_blocking_pids(ours.pid)) AS blocking
    JOIN pg_stat_activity blocker ON blocker.pid = blocking AND blocker.usesysid <> 10
WHERE NOT ours.granted AND ours.waitstart < clock_timestamp() - make_interval(secs => $1)`

// lockRoles begins a transaction that changes roles. Without it PostgreSQL would fail one of two transactions that
// change the same role, or the access list of the same database, at once. A client cannot take this lock. It can
// hold one that conflicts with it, by changing its own role or by granting rights on the database.
const lockRoles = "LOCK TABLE pg_authid, pg_db_role_setting, pg_database IN SHARE ROW EXCLUSIVE MODE; "

// changeRoles calls do in a transaction that changes roles, one at a time.
func changeRoles(ctx context.Context, conn *pgx.Conn, do func(pgx.Tx) error) error {
	return again(func() error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, lockRoles); err != nil {
				return err
			}
			return do(tx)
		})
	})
}

// again repeats a transaction that failed because another one was quicker to change a row of PostgreSQL's own tables:
// there PostgreSQL fails instead of waiting. Tenants who change such rows as fast as they can win some rounds, and
// never all of them.
func again(try func() error) error {
	err := try()
	for range 50 {
		if !wasOvertaken(err) {
			break
		}
		err = try()
	}
	return err
}

func wasOvertaken(err error) bool {
	var refusal *pgconn.PgError
	return errors.As(err, &refusal) && (refusal.Code == pgerrcode.DeadlockDetected ||
		refusal.Code == pgerrcode.InternalError && strings.HasPrefix(refusal.Message, "tuple concurrently "))
}

package pgserver

import (
	"context"
	"errors"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/wait"
)

// Await first sees that the standby gets what is logged, so that clients never wait for one that does not follow. Then
// it has commits wait for it, and returns once all of them do and the standby has what was committed before.
func (s Server) Await(ctx context.Context, primary engine.Node) error {
	name := primary.Replication.Awaits
	if name == "" {
		return s.release(ctx, primary)
	}
	return s.withAdmin(ctx, primary, func(conn *pgx.Conn) error {
		var before string
		if err := conn.QueryRow(ctx, "SHOW synchronous_standby_names").Scan(&before); err != nil {
			return err
		}
		if err := reaches(ctx, conn, name, arrives); err != nil {
			return err
		}
		err := s.force(ctx, conn, primary)
		if err != nil {
			return errors.Join(err, s.awaitAgain(ctx, primary, before))
		}
		return nil
	})
}

// What is asked of a standby. Only what was sent shows that the server's own log is what the standby gets: one that has
// left it reports that it has more than there is.
const (
	arrives = `state = 'streaming' AND least(sent_lsn, flush_lsn) >= $2::pg_lsn`
	waited  = arrives + ` AND sync_state = 'sync'`
)

// reaches returns when the standby has what is logged now, and what is asked of it holds.
func reaches(ctx context.Context, conn *pgx.Conn, name, asked string) error {
	// There is something new: what a standby said a moment ago it may say no more.
	if _, err := conn.Exec(ctx, "SELECT pg_logical_emit_message(true, 'backstay', '')"); err != nil {
		return err
	}
	var end string
	if err := conn.QueryRow(ctx, "SELECT pg_current_wal_flush_lsn()::text").Scan(&end); err != nil {
		return err
	}
	query := "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE application_name = $1 AND " + asked + ")"
	err := wait.Until(ctx, wait.Growing(2*time.Millisecond, 50*time.Millisecond), func() (again bool, err error) {
		var there bool
		err = conn.QueryRow(ctx, query, name, end).Scan(&there)
		return err == nil && !there, err
	})
	if err != nil && ctx.Err() != nil {
		return backstay.Wrapf(err, backstay.Unavailable, "The node %s does not follow.", name)
	}
	return err
}

// force has commits wait for the standby. The process that tells the sessions to wait reads the configuration before it
// looks for a checkpoint that it is to make; the first one it may have been about to begin already.
func (s Server) force(ctx context.Context, conn *pgx.Conn, primary engine.Node) error {
	if _, err := s.Reconfigure(ctx, primary); err != nil {
		return err
	}
	if err := Checkpoint(ctx, conn, 2); err != nil {
		return err
	}
	return reaches(ctx, conn, primary.Replication.Awaits, waited)
}

// awaitedName matches what awaited returns.
var awaitedName = regexp.MustCompile(`^FIRST 1 \("(.*)"\)$`)

// undoPatience is how long it may take to take back what could not be put in force.
const undoPatience = 5 * time.Second

// awaitAgain puts in force again what was before.
func (s Server) awaitAgain(ctx context.Context, primary engine.Node, before string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoPatience)
	defer cancel()
	name := ""
	if match := awaitedName.FindStringSubmatch(before); match != nil {
		name = match[1]
	}
	_, err := s.Reconfigure(ctx, awaiting(primary, name))
	return err
}

// awaiting is the primary when it awaits the node of that name.
func awaiting(primary engine.Node, name string) engine.Node {
	r := *primary.Replication
	r.Awaits = name
	primary.Replication = &r
	return primary
}

// release has nobody wait for a standby any more.
func (s Server) release(ctx context.Context, primary engine.Node) error {
	if _, err := s.Reconfigure(ctx, primary); err != nil {
		return err
	}
	return s.withAdmin(ctx, primary, func(conn *pgx.Conn) error {
		return wait.Until(ctx, wait.Growing(time.Millisecond, 20*time.Millisecond), func() (again bool, err error) {
			err = conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')").Scan(&again)
			return again && err == nil, err
		})
	})
}

// InStep returns once the standby has what was committed until now, or none is awaited any more. A user that was
// dropped, and a password that was told, must not be forgotten when the standby takes over. What else we commit is made
// anew when another node has become the primary: extensions and walls by Configure, readers' passwords by Tend.
func InStep(ctx context.Context, conn *pgx.Conn, n engine.Node) error {
	if n.Replication == nil {
		return nil
	}
	var end string
	if err := conn.QueryRow(ctx, "SELECT pg_current_wal_flush_lsn()::text").Scan(&end); err != nil {
		return err
	}
	const has = `SELECT current_setting('synchronous_standby_names') = '' OR EXISTS (
    SELECT FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum') AND flush_lsn >= $1::pg_lsn)`
	err := wait.Until(ctx, wait.Growing(time.Millisecond, 50*time.Millisecond), func() (again bool, err error) {
		var there bool
		err = conn.QueryRow(ctx, has, end).Scan(&there)
		return err == nil && !there, err
	})
	if err != nil && ctx.Err() != nil {
		return backstay.Wrapf(err, backstay.Unavailable, "The standby has not got the change yet.")
	}
	return err
}

// HandOver has the primary wait for the standby, unless it does already. Then both write to their disks what they have
// changed, and the standby replays what it has got.
func (s Server) HandOver(ctx context.Context, primary, standby engine.Node) error {
	if err := errors.Join(s.Settle(ctx, primary), s.Settle(ctx, standby)); err != nil {
		return err
	}
	if err := s.Await(ctx, awaiting(primary, standby.Replication.Name)); err != nil {
		return err
	}
	if err := s.Replayed(ctx, primary, standby); err != nil {
		return errors.Join(err, s.awaitAgain(ctx, primary, awaited(primary.Replication.Awaits)))
	}
	return nil
}

// Replayed returns when a node that follows shows its clients all that its primary had logged when this was called.
func (s Server) Replayed(ctx context.Context, primary, standby engine.Node) error {
	var end string
	err := s.withAdmin(ctx, primary, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "SELECT pg_current_wal_flush_lsn()::text").Scan(&end)
	})
	if err != nil {
		return err
	}
	return s.withAdmin(ctx, standby, func(conn *pgx.Conn) error {
		return wait.Until(ctx, wait.Growing(time.Millisecond, 20*time.Millisecond), func() (again bool, err error) {
			var there bool
			err = conn.QueryRow(ctx, "SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn", end).Scan(&there)
			return err == nil && !there, err
		})
	})
}

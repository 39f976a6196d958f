package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/wait"
)

// Await has commits wait for the standby: for a moment only at first, which tells whether it follows at all without
// keeping clients waiting for one that hangs, and then for as long as it takes. A commit of our own shows that it does.
func (e Engine) Await(ctx context.Context, primary engine.Node) error {
	name := primary.Replication.Awaits
	if name == "" {
		return e.release(ctx, primary)
	}
	err := withAdmin(ctx, primary, func(conn *sql.Conn) error {
		waits, err := isOn(ctx, conn, "@@GLOBAL.rpl_semi_sync_master_enabled AND @@GLOBAL.rpl_semi_sync_master_timeout = "+
			strconv.Itoa(forEver))
		if err != nil {
			return err
		}
		if err := isConnected(ctx, conn, name); err != nil {
			return err
		}
		if !waits {
			err = tryAgain(ctx, primary, conn)
		}
		if err == nil {
			err = try(ctx, conn, forEver*time.Millisecond)
		}
		if err != nil && !waits {
			err = errors.Join(err, undo(ctx, primary))
		}
		return err
	})
	if err == nil {
		return e.reconfigure(ctx, primary)
	}
	if ctx.Err() != nil || errors.Is(err, errNotAcknowledged) {
		err = backstay.Wrapf(err, backstay.Unavailable, "The node %s does not follow.", name)
	}
	return err
}

// trialPatience is how long clients may wait for a standby that turns out not to follow.
const trialPatience = 300 * time.Millisecond

// tryAgain tries until a commit is acknowledged. In between, clients go on for longer than they had to wait: the node
// may have got behind, and clients are not to be held up until it has caught up.
func tryAgain(ctx context.Context, primary engine.Node, conn *sql.Conn) error {
	return wait.Until(ctx, wait.Growing(trialPatience, time.Second), func() (again bool, err error) {
		if err = try(ctx, conn, trialPatience); err != nil {
			err = errors.Join(err, undo(ctx, primary))
		}
		return errors.Is(err, errNotAcknowledged), err
	})
}

// undoPatience is how long it may take to take back what could not be put in force.
const undoPatience = 5 * time.Second

// isConnected returns once the node of that name follows, and no other one does that a commit would wait for: the
// server cannot tell for which of them it waits.
func isConnected(ctx context.Context, conn *sql.Conn, name string) error {
	id := strconv.FormatUint(uint64(serverID(name)), 10)
	return wait.Until(ctx, wait.Growing(2*time.Millisecond, 50*time.Millisecond), func() (again bool, err error) {
		known, err := following(ctx, conn)
		if err != nil {
			return false, err
		}
		waited, err := status(ctx, conn, "Rpl_semi_sync_master_clients")
		return !slices.Contains(known, id) || waited != "1", err
	})
}

// following are the numbers of the servers that follow.
func following(ctx context.Context, conn *sql.Conn) (ids []string, err error) {
	rows, err := conn.QueryContext(ctx, "SHOW SLAVE HOSTS")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id, host, port, source string
		if err := rows.Scan(&id, &host, &port, &source); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

var errNotAcknowledged = errors.New("no node acknowledges a commit")

// noted is a statement that the log has, and that changes nothing.
const noted = "DROP TABLE IF EXISTS mysql.backstay_none"

// try has commits wait for so long, and commits. The error is errNotAcknowledged if nobody has got what was logged.
func try(ctx context.Context, conn *sql.Conn, patience time.Duration) error {
	before, err := status(ctx, conn, "Rpl_semi_sync_master_no_tx")
	if err != nil {
		return err
	}
	err = run(ctx, conn, fmt.Sprintf("SET GLOBAL rpl_semi_sync_master_timeout = %d", patience.Milliseconds()),
		"SET GLOBAL rpl_semi_sync_master_enabled = ON", noted)
	if err != nil {
		return err
	}
	after, err := status(ctx, conn, "Rpl_semi_sync_master_no_tx")
	if err != nil {
		return err
	}
	on, err := status(ctx, conn, "Rpl_semi_sync_master_status")
	if err == nil && (on != "ON" || after != before) {
		err = errNotAcknowledged
	}
	return err
}

func status(ctx context.Context, conn *sql.Conn, name string) (value string, err error) {
	err = conn.QueryRowContext(ctx, "SHOW GLOBAL STATUS LIKE "+quoteText(name)).Scan(&name, &value)
	return value, err
}

func isOn(ctx context.Context, conn *sql.Conn, expression string) (on bool, err error) {
	err = conn.QueryRowContext(ctx, "SELECT "+expression).Scan(&on)
	return on, err
}

// undo has nobody wait again.
func undo(ctx context.Context, primary engine.Node) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoPatience)
	defer cancel()
	return letGo(ctx, primary)
}

func letGo(ctx context.Context, primary engine.Node) error {
	return withAdmin(ctx, primary, func(conn *sql.Conn) error {
		return run(ctx, conn, "SET GLOBAL rpl_semi_sync_master_enabled = OFF",
			fmt.Sprintf("SET GLOBAL rpl_semi_sync_master_timeout = %d", forEver))
	})
}

// release has nobody wait for a standby any more.
func (e Engine) release(ctx context.Context, primary engine.Node) error {
	if err := letGo(ctx, primary); err != nil {
		return err
	}
	if err := e.reconfigure(ctx, primary); err != nil {
		return err
	}
	return withAdmin(ctx, primary, func(conn *sql.Conn) error {
		return wait.Until(ctx, wait.Growing(time.Millisecond, 20*time.Millisecond), func() (again bool, err error) {
			all, err := allSessions(ctx, conn)
			return slices.ContainsFunc(all, session.waitsForNode), err
		})
	})
}

// waitsForNode tells whether a session is at a commit that another node does not have yet.
func (s session) waitsForNode() bool { return s.state == "Waiting for semi-sync ACK from slave" }

// someWait tells whether sessions wait for another node.
func someWait(ctx context.Context, n engine.Node) (some bool, err error) {
	if n.Replication == nil {
		return false, nil
	}
	err = withAdmin(ctx, n, func(conn *sql.Conn) error {
		all, err := allSessions(ctx, conn)
		some = slices.ContainsFunc(all, session.waitsForNode)
		return err
	})
	return some, err
}

// reconfigure writes the configuration of a node that runs.
func (e Engine) reconfigure(ctx context.Context, n engine.Node) error {
	p, err := e.plan(ctx, n)
	if err != nil {
		return err
	}
	return p.Reconfigure()
}

// awaiting is the primary when it awaits the node of that name.
func awaiting(primary engine.Node, name string) engine.Node {
	r := *primary.Replication
	r.Awaits = name
	primary.Replication = &r
	return primary
}

// HandOver has the primary wait for the standby, unless it does already. Then both write to their disks what they have
// changed, and the standby runs what it has got. At last the primary is told to end in the one way by which it sends
// all that it commits until its end. Ended by a signal, it cuts the standby off from what is being committed, of which
// nobody is told, but with which it could not follow that standby any more.
func (e Engine) HandOver(ctx context.Context, primary, standby engine.Node) error {
	if err := errors.Join(e.Settle(ctx, primary), e.Settle(ctx, standby)); err != nil {
		return err
	}
	if err := e.Await(ctx, awaiting(primary, standby.Replication.Name)); err != nil {
		return err
	}
	var ends gtid
	err := withAdmin(ctx, primary, func(conn *sql.Conn) (err error) {
		ends, err = position(ctx, conn, committed)
		return err
	})
	if err == nil {
		err = withAdmin(ctx, standby, func(conn *sql.Conn) error { return hasRun(ctx, conn, ends) })
	}
	if err == nil {
		err = endBehindStandby(ctx, primary)
	}
	if err != nil && primary.Replication.Awaits == "" {
		return errors.Join(err, undo(ctx, primary), e.reconfigure(context.WithoutCancel(ctx), primary))
	}
	return err
}

// endBehindStandby has the primary end once the standby has got all. Only a refusal is an error: the connection is
// among what the server ends, and a server that has not heard it is ended by whoever hands over.
func endBehindStandby(ctx context.Context, primary engine.Node) error {
	err := withAdmin(ctx, primary, func(conn *sql.Conn) error { return run(ctx, conn, "SHUTDOWN WAIT FOR ALL SLAVES") })
	if refusal := new(mysql.MySQLError); errors.As(err, &refusal) {
		return err
	}
	return nil
}

// hasRun returns when a node has run what was sent until then.
func hasRun(ctx context.Context, conn *sql.Conn, until gtid) error {
	return wait.Until(ctx, wait.Growing(time.Millisecond, 20*time.Millisecond), func() (again bool, err error) {
		has, err := position(ctx, conn, committed)
		return has.sequence < until.sequence, err
	})
}

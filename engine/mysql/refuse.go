package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

const (
	readOnlySetting = "transaction_read_only"
	mayWrite        = "SET SESSION TRANSACTION READ WRITE" // in a session of ours, whatever clients may
)

// writing refuses what clients write on a full node. Unlike read_only, it is a default of sessions, so that whoever
// wants to delete can say so. One that follows writes what its primary does, and nothing else.
func writing(n engine.Node) []setting {
	return []setting{{readOnlySetting, onOff(n.Full && !follows(n))}}
}

// MakingRoom tells how a session may write. DELETE alone gives nothing back to the disk.
func (Engine) MakingRoom(engine.Installation) string {
	return "`SET SESSION TRANSACTION READ WRITE`, then TRUNCATE or DROP, or DELETE and OPTIMIZE TABLE"
}

// RefuseWrites sets the default of sessions. Those that are there keep the one that they began with, so they are ended,
// also when clients may write again. The configuration is written last: as long as it differs, a call that was
// interrupted is made up for.
//
// Where temporary data has taken the room, and some is left, that data goes first, and nothing is refused before the
// next call.
func (e Engine) RefuseWrites(ctx context.Context, n engine.Node, w engine.Writes) error {
	n.Full = w != engine.AnyWrites
	var failed error
	if n.Full {
		var enough bool
		enough, failed = freeTemporary(ctx, n, w)
		if enough && w == engine.FewWrites || errors.Is(failed, engine.ErrStuck) {
			return failed
		}
	}
	return errors.Join(failed, e.refuse(ctx, n, w))
}

func (e Engine) refuse(ctx context.Context, n engine.Node, w engine.Writes) error {
	p, err := e.plan(ctx, n)
	if err != nil {
		return err
	}
	written, err := p.Written()
	if err != nil {
		return err
	}
	changed, err := setReadOnly(ctx, n)
	if err != nil {
		return fmt.Errorf("set the default of sessions: %w", err)
	}
	if changed || !written {
		if err := endEarlier(ctx, n); err != nil {
			return fmt.Errorf("end sessions with another default: %w", err)
		}
		waits, err := someWait(ctx, n)
		if err != nil {
			return err
		}
		if !waits { // for another node: what waits is left alone, until the next call
			err = p.Reconfigure()
		}
		if err != nil {
			return err
		}
	}
	if w != engine.NoWrites {
		return nil
	}
	return withAdmin(ctx, n, func(conn *sql.Conn) error { return endWriters(ctx, conn, n) })
}

// setReadOnly sets the default of sessions that begin from now on, unless it is right.
func setReadOnly(ctx context.Context, n engine.Node) (changed bool, err error) {
	err = withAdmin(ctx, n, func(conn *sql.Conn) error {
		has, err := readVariables(ctx, conn)
		if err != nil {
			return err
		}
		line := writing(n)[0]
		if changed = means(has[has.called(line.name)]) != means(line.value); !changed {
			return nil
		}
		access := map[string]string{"OFF": "READ WRITE", "ON": "READ ONLY"}[line.value]
		return run(ctx, conn, "SET GLOBAL TRANSACTION "+access)
	})
	return changed, err
}

// endEarlier ends the clients' sessions that began before one of ours that begins now: the server gives them ascending
// numbers.
func endEarlier(ctx context.Context, n engine.Node) error {
	d := dialectOf(n.Installation)
	return withAdmin(ctx, n, func(conn *sql.Conn) error {
		ours, err := column(ctx, conn, "SELECT CONNECTION_ID()")
		if err != nil {
			return err
		}
		limit, err := strconv.ParseInt(strings.Join(ours, ""), 10, 64)
		if err != nil {
			return err
		}
		return endThose(ctx, conn, n, func(s session) (how string) {
			if id, err := strconv.ParseInt(s.id, 10, 64); err == nil && id < limit {
				how = d.kill
			}
			return how
		})
	})
}

const endStatement = "KILL QUERY " // and leaves the session alone

// endThose ends clients' sessions, or what they are at, by the statement that it is told how; empty: not at all. Those
// that commit and wait for room are let be until there is some, and then woken by it: see [session.commits].
func endThose(ctx context.Context, conn *sql.Conn, n engine.Node, how func(session) string) error {
	all, err := allSessions(ctx, conn)
	for _, s := range all {
		if !s.remote || s.killed() {
			continue
		}
		switch statement := how(s); {
		case statement == "":
		case s.commits() && !engine.HasRoom(n.DataDir, commitRoom):
			err = errors.Join(err, backstay.Errorf(backstay.Unavailable, "Session %s waits for room to commit.", s.id))
		default:
			err = errors.Join(err, kill(ctx, conn, statement, s))
		}
	}
	return err
}

var (
	reading = regexp.MustCompile(`(?is)^[\s(]*(?:SELECT|SHOW|DESC|DESCRIBE|EXPLAIN|SET|USE|BEGIN|KILL|ROLLBACK)\b`)
	onDisk  = regexp.MustCompile(`(?i)\btmp|sort|HEAP`) // in the state of one whose temporary files may grow
)

// endWriters interrupts what clients write, what may be writing, and queries that make temporary tables or sort.
func endWriters(ctx context.Context, conn *sql.Conn, n engine.Node) error {
	writers, err := column(ctx, conn,
		"SELECT trx_mysql_thread_id FROM information_schema.INNODB_TRX WHERE trx_rows_modified > 0")
	if err != nil {
		return err
	}
	return endThose(ctx, conn, n, func(s session) (how string) {
		if s.runs() && (!reading.MatchString(s.info) || onDisk.MatchString(s.state) || slices.Contains(writers, s.id)) {
			how = endStatement
		}
		return how
	})
}

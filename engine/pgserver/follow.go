package pgserver

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// Follows asks the primary how far it has come and what it knows of the node, and the node what it has. A node whose
// slot was lost needs log that is no more.
func (s Server) Follows(ctx context.Context, primary, n engine.Node) (f engine.Following, err error) {
	return s.trails(ctx, primary, n, slotName(n.Replication.Name))
}

// Trails leaves out the slot: that is for whoever made the nodes to keep.
func (s Server) Trails(ctx context.Context, primary, n engine.Node) (engine.Following, error) {
	return s.trails(ctx, primary, n, "")
}

// trails asks for a slot only if that has a name.
func (s Server) trails(ctx context.Context, primary, n engine.Node, slot string) (f engine.Following, err error) {
	var end, timeline string
	err = s.withAdmin(ctx, primary, func(conn *pgx.Conn) error {
		const asked = `SELECT pg_current_wal_flush_lsn()::text, left(pg_walfile_name(pg_current_wal_lsn()), 8),
    $1::text = '' OR EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1 AND wal_status <> 'lost'),
    EXISTS (SELECT FROM pg_stat_replication WHERE application_name = $2 AND state = 'streaming')`
		var kept bool
		row := conn.QueryRow(ctx, asked, slot, n.Replication.Name)
		if err := row.Scan(&end, &timeline, &kept, &f.Streams); err != nil {
			return err
		}
		if !kept {
			return fmt.Errorf("%w: the primary keeps no log for it", engine.ErrCopy)
		}
		return nil
	})
	if err != nil {
		return engine.Following{}, err
	}
	err = s.withAdmin(ctx, n, func(conn *pgx.Conn) error { return askFollower(ctx, conn, end, timeline, &f) })
	return f, err
}

// askFollower compares what a node has with the end of its primary's log. One that has left that log asks for another
// timeline than the primary's, in vain, and seems to stream while it does.
func askFollower(ctx context.Context, conn *pgx.Conn, end, timeline string, f *engine.Following) error {
	const asked = `SELECT
    EXISTS (SELECT FROM pg_stat_wal_receiver WHERE lpad(to_hex(receive_start_tli), 8, '0') = lower($2)),
    greatest(pg_wal_lsn_diff($1::pg_lsn, greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())), 0)::bigint,
    pg_wal_lsn_diff($1::pg_lsn, '0/0')::bigint, coalesce(pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0'), 0)::bigint,
    CASE WHEN pg_last_wal_replay_lsn() >= $1::pg_lsn THEN 0
        ELSE coalesce(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()), 0) END::float8,
    pg_postmaster_start_time()`
	var same bool
	var behind int64
	var lag float64
	row := conn.QueryRow(ctx, asked, end, timeline)
	if err := row.Scan(&same, &behind, &f.End, &f.Read, &lag, &f.Started); err != nil {
		return err
	}
	f.Streams = f.Streams && same
	f.Behind = backstay.Bytes(behind)
	f.Lag = max(time.Duration(lag*float64(time.Second)), 0)
	return nil
}

package pgserver

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/wait"
)

// A slot has the primary keep its log until a node has it, and the rows that the node's clients read. Slots are no part
// of the data that is copied: each primary needs its own.

// reserveSlot has the running primary keep its log from now on for a node that does not run. A slot of the node's that
// is there already keeps more than that, unless it has kept too much and was lost.
func (s Server) reserveSlot(ctx context.Context, primary engine.Node, node string) error {
	const there = "SELECT coalesce(wal_status <> 'lost', false), coalesce(active_pid, 0) " +
		"FROM pg_replication_slots WHERE slot_name = $1"
	return s.withAdmin(ctx, primary, func(conn *pgx.Conn) error {
		return wait.Until(ctx, wait.Every(20*time.Millisecond), func() (again bool, err error) {
			var keeps bool
			var pid int
			err = conn.QueryRow(ctx, there, slotName(node)).Scan(&keeps, &pid)
			switch {
			case err == pgx.ErrNoRows:
				_, err = conn.Exec(ctx, "SELECT pg_create_physical_replication_slot($1, true)", slotName(node))
				return false, err
			case err != nil || keeps && pid == 0:
				return false, err
			case pid != 0: // of a connection that has not noticed yet that its other end is gone
				_, err = conn.Exec(ctx, "SELECT pg_terminate_backend($1, 1000)", pid)
			default:
				_, err = conn.Exec(ctx, "SELECT pg_drop_replication_slot($1)", slotName(node))
			}
			return err == nil, err
		})
	})
}

// DropSlots drops the slots of a node that is the only one of its instance again: nobody would come for what they keep.
func DropSlots(ctx context.Context, conn *pgx.Conn, n engine.Node) error {
	if n.Replication != nil {
		return nil
	}
	_, err := conn.Exec(ctx, `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
WHERE slot_name LIKE 'node\_%' AND NOT active`)
	return err
}

// Forget drops the slot of the node, once the primary has noticed that nobody is connected by it any more.
func (s Server) Forget(ctx context.Context, primary engine.Node, name string) error {
	const drop = `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1 AND NOT active`
	const there = "SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1)"
	return s.withAdmin(ctx, primary, func(conn *pgx.Conn) error {
		return wait.Until(ctx, wait.Every(20*time.Millisecond), func() (again bool, err error) {
			if _, err = conn.Exec(ctx, drop, slotName(name)); err == nil {
				err = conn.QueryRow(ctx, there, slotName(name)).Scan(&again)
			}
			return err == nil && again, err
		})
	})
}

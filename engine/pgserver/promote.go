package pgserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/datadir"
	"github.com/backstay/backstay/internal/wait"
)

// Fence lays the file by which a server follows, wherever its log ends. Where there is no data, nobody can start a
// server with it.
func (s Server) Fence(n engine.Node) error {
	root, err := os.OpenRoot(n.DataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	uid, gid := n.Account.IDs()
	err = datadir.WriteFiles(n.DataDir, uid, gid, map[string]string{StandbySignal: ""})
	if err = cmp.Or(err, atomicfile.SyncDir(n.DataDir)); err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	// The system may not have taken leave of the process yet. A server that finds its number would not start.
	socket := s.Socket(n)
	return errors.Join(gone(root.Remove("postmaster.pid")), gone(os.Remove(socket+".lock")), gone(os.Remove(socket)))
}

// IsFenced looks for the file by which a server follows.
func (s Server) IsFenced(n engine.Node) (bool, error) {
	root, err := os.OpenRoot(n.DataDir)
	if err != nil {
		return false, err
	}
	defer root.Close()
	_, err = root.Lstat(StandbySignal)
	return err == nil, gone(err)
}

// gone is the error of a removal, unless there was nothing to remove.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// promotionPatience is how long a server may take to replay what it has before those who read from it are ended. They
// may hold up what it replays.
const promotionPatience = 100 * time.Millisecond

// Promote configures the node as a primary first: commits wait for whom it awaits from its first one on. Then the
// server replays what it has been sent, and takes what clients write.
func (s Server) Promote(ctx context.Context, n engine.Node) error {
	return s.withAdmin(ctx, n, func(conn *pgx.Conn) error {
		follows, err := IsFollowing(ctx, conn)
		if err == nil && follows {
			err = drain(ctx, conn)
		}
		if err != nil {
			return err
		}
		p, err := s.Plan(ctx, n)
		if err != nil {
			return err
		}
		if err := p.Reconfigure(); err != nil {
			return err
		}
		if n.Archive { // what it says of its new timeline is not to be lost
			if err := MakeSpool(ctx, n); err != nil {
				return err
			}
		}
		if !follows {
			_, err := s.Reconfigure(ctx, n)
			return err
		}
		if _, err := conn.Exec(ctx, "SELECT pg_reload_conf()"); err != nil {
			return err
		}
		if n.Replication.Awaits != "" { // from the first commit on: see force
			if err := Checkpoint(ctx, conn, 2); err != nil {
				return err
			}
		}
		return promote(ctx, conn)
	})
}

// drain waits until the node has read what its primary has sent before it ended. A connection that nobody has closed,
// as of a primary on another machine, is waited for a moment only: nothing that was acknowledged comes by it any more.
func drain(ctx context.Context, conn *pgx.Conn) error {
	const reads = "SELECT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')"
	patience := time.Now().Add(promotionPatience)
	return wait.Until(ctx, wait.Every(time.Millisecond), func() (again bool, err error) {
		err = conn.QueryRow(ctx, reads).Scan(&again)
		return err == nil && again && time.Now().Before(patience), err
	})
}

// EndClients ends the sessions of all roles but ours.
const EndClients = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usesysid <> 10"

// promote asks the server for what pg_promote can wait for only in steps of a tenth of a second.
func promote(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, "SELECT pg_promote(false)"); err != nil {
		return err
	}
	patience := time.Now().Add(promotionPatience)
	err := wait.Until(ctx, wait.Every(2*time.Millisecond), func() (again bool, err error) {
		again, err = IsFollowing(ctx, conn)
		if err == nil && again && time.Now().After(patience) {
			_, err = conn.Exec(ctx, EndClients+" AND state <> 'idle'") // who is at nothing holds nothing up
		}
		return err == nil && again, err
	})
	if err != nil && ctx.Err() != nil {
		return backstay.Wrapf(err, backstay.Unavailable, "The standby has not replayed yet all that it was sent.")
	}
	return err
}

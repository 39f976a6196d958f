package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/datadir"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/step"
)

// Rejoin has pg_rewind exchange what the node has and the primary has not. Pg_rewind can do nothing with data that is
// fenced. Meanwhile the data therefore lies where no server is started with it: in a workshop.
func (s Server) Rejoin(ctx context.Context, primary, n engine.Node) error {
	p, err := s.Plan(ctx, n)
	if err != nil {
		return err
	}
	r := &rewind{Conversion: ConversionTo(n, p), server: s, node: n, files: p.Files, primary: primary}
	return step.Run(ctx,
		step.Step{Name: "postgres.rejoin-put-back", Do: func(context.Context) error { return r.putBack() }},
		step.Step{Name: "postgres.rejoin-salvaged", Do: func(ctx context.Context) error { return Salvage(ctx, n) }},
		step.Step{Name: "postgres.rejoin-kept", Do: r.keep},
		step.Step{Name: "postgres.rejoin-made", Do: r.do},
	)
}

// rewind is one rejoining of a node.
type rewind struct {
	datadir.Conversion
	server  Server
	node    engine.Node
	files   map[string]string // its configuration
	primary engine.Node
	leads   standing // of the primary
	own     standing // of the data
}

// keep has the primary keep its log for the node. Pg_rewind goes by the file in which the primary notes its timeline,
// at each checkpoint.
func (r *rewind) keep(ctx context.Context) (err error) {
	if _, err := os.Lstat(r.Dir); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrCopy, err)
	}
	if err := r.server.reserveSlot(ctx, r.primary, r.node.Replication.Name); err != nil {
		return err
	}
	err = r.server.withAdmin(ctx, r.primary, func(conn *pgx.Conn) error { return Checkpoint(ctx, conn, 1) })
	if err != nil {
		return err
	}
	r.leads, err = r.server.standingOf(ctx, r.primary)
	return err
}

func (r *rewind) do(ctx context.Context) error {
	spoilt := false
	err := r.Make(ctx, func(w *datadir.Workshop) error {
		err := step.Run(ctx,
			step.Step{Name: "postgres.rejoin-brought", Do: func(context.Context) error { return r.bring(w) }},
			step.Step{Name: "postgres.rejoin-recovered", Do: func(context.Context) error { return r.recover(w) }},
		)
		follows := err == nil && r.own.follows(r.leads)
		if follows {
			err = r.finish(w)
		}
		if err != nil {
			err = errors.Join(err, r.putBack())
		}
		if err != nil || follows {
			return err
		}
		spoilt = true
		return step.Run(ctx,
			step.Step{Name: "postgres.rejoin-begun", Do: func(context.Context) error { return r.begin(w) }},
			step.Step{Name: "postgres.rejoin-exchanged", Do: func(ctx context.Context) error { return r.exchange(ctx, w) }},
			step.Step{Name: "postgres.rejoin-finished", Do: func(context.Context) error { return r.finish(w) }},
		)
	})
	if err != nil && (spoilt || ctx.Err() == nil) {
		return fmt.Errorf("%w: %w", engine.ErrCopy, err)
	}
	return err
}

// bring moves the data into the workshop.
func (r *rewind) bring(w *datadir.Workshop) error {
	whole := filepath.Join(w.Dir, datadir.Whole)
	if err := errors.Join(atomicfile.Write(whole, nil, 0o600), os.Remove(w.Data)); err != nil {
		return err
	}
	if err := os.Rename(r.Dir, w.Data); err != nil {
		return err
	}
	uid, gid := w.IDs()
	return errors.Join(datadir.Give(w.Data, uid, gid), atomicfile.SyncDir(w.Dir), atomicfile.SyncDir(filepath.Dir(r.Dir)))
}

// putBack puts the data, fenced, where it was before a call that has not come as far as to change it.
func (r *rewind) putBack() error {
	part := r.Dir + ".part"
	data := filepath.Join(part, "data")
	if err := process.KillIn(part); err != nil {
		return err
	}
	_, marked := os.Lstat(filepath.Join(part, datadir.Whole))
	_, brought := os.Lstat(filepath.Join(data, "PG_VERSION"))
	_, there := os.Lstat(r.Dir)
	if marked == nil && brought == nil && errors.Is(there, fs.ErrNotExist) {
		moved := r.node
		moved.DataDir = data
		err := errors.Join(r.server.Fence(moved), datadir.Give(data, r.UID, r.GID), os.Rename(data, r.Dir))
		if err = errors.Join(err, atomicfile.SyncDir(filepath.Dir(r.Dir))); err != nil {
			return err
		}
	}
	return datadir.Abandon(r.Dir)
}

// recover has a server without clients replay what the node had logged, as after a crash, and end in an orderly way, if
// it has not ended so. Nothing of its log goes: pg_rewind looks there for what the node and the primary have in common.
// What the server logs at its end lies behind where the primary has left the timeline. Data that has only followed on
// the primary's own timeline, as after a call of which nobody has heard that it was done, is left as it is.
func (r *rewind) recover(w *datadir.Workshop) error {
	root, err := os.OpenRoot(w.Data)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, name := range []string{StandbySignal, "recovery.signal", "postmaster.pid"} {
		if err := gone(root.Remove(name)); err != nil {
			return err
		}
	}
	if r.own, err = r.standing(w, root); err != nil || r.own.follows(r.leads) {
		return err
	}
	if err := r.isLogged(w); err != nil || r.own.state == ShutDown {
		return err
	}
	// What it replays is on the disk when it says that it has ended: pg_rewind takes that for whole.
	arguments := append([]string{"--single", "-c", "wal_keep_size=1TB"}, SingleUser(w.Data, r.server.Database)[1:]...)
	arguments = slices.Insert(arguments, len(arguments)-1, "-c", "fsync=on")
	return w.Run("", filepath.Join(r.node.Installation.Dir, "postgres"), arguments...)
}

// begin notes that the data is changed from now on.
func (r *rewind) begin(w *datadir.Workshop) error {
	return errors.Join(os.Remove(filepath.Join(w.Dir, datadir.Whole)), atomicfile.SyncDir(w.Dir))
}

// exchange makes the data that of a node that follows.
func (r *rewind) exchange(ctx context.Context, w *datadir.Workshop) (err error) {
	uid, gid := w.IDs()
	socket := Socket(r.Sockets, 0)
	end, err := Forward(ctx, socket, uid, gid, func(ctx context.Context, client net.Conn) {
		if server, err := r.primary.Admin.Dial(ctx); err == nil {
			Join(ctx, client, server)
		}
	})
	if err != nil {
		return err
	}
	source := fmt.Sprintf("host=%s port=%d user=%s dbname=%s sslmode=disable", r.Sockets, DefaultPort,
		r.primary.Admin.User, r.server.Database)
	err = w.Run("", filepath.Join(r.node.Installation.Dir, "pg_rewind"), "--target-pgdata="+w.Data,
		"--source-server="+source, "--no-ensure-shutdown", "--no-sync")
	return errors.Join(err, end())
}

// finish takes from the data what is the primary's own, and configures it. Links, which a primary that was broken into
// may have had in its data directory, would lead whoever works there now out of it.
func (r *rewind) finish(w *datadir.Workshop) error {
	err := filepath.WalkDir(w.Data, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type() == fs.ModeSymlink {
			err = fmt.Errorf("%s is a symbolic link", path)
		}
		return err
	})
	if err != nil {
		return err
	}
	slots, err := filepath.Glob(filepath.Join(w.Data, "pg_replslot", "*"))
	if err != nil {
		return err
	}
	for _, path := range slices.Concat(slots, []string{filepath.Join(w.Data, "postgresql.auto.conf")}) {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	uid, gid := w.IDs()
	return datadir.WriteFiles(w.Data, uid, gid, r.files)
}

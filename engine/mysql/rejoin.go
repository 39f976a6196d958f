package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/wait"
)

// Rejoin has a server that nobody reaches take back what it had not finished to commit, as fenced ones do at their
// start, and follow the primary until that has found in its own log what is left. If the primary does not know that, or
// the server cannot take it back, the node needs a copy.
func (e Engine) Rejoin(ctx context.Context, primary, n engine.Node) error {
	if _, err := os.Lstat(filepath.Join(n.DataDir, configFile)); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrCopy, err)
	}
	// A server of a call that was interrupted begins to work in the workshop, and goes on in the data: where that was
	// looked at first, one that has just begun is in neither when it is looked for.
	if err := errors.Join(datadir.Abandon(n.DataDir), process.KillIn(n.DataDir)); err != nil {
		return err
	}
	if err := e.Fence(n); err != nil {
		return err
	}
	p, err := e.plan(ctx, n)
	if err != nil {
		return err
	}
	u := upgrade{Conversion: conversionTo(n, p), engine: e, to: n, files: p.Files}
	return u.Try(ctx, func(w *datadir.Workshop) error { return u.rejoin(ctx, w) })
}

// rejoinPatience is how long a primary may take to say whether it knows what a node has.
const rejoinPatience = 10 * time.Second

func (u upgrade) rejoin(ctx context.Context, w *datadir.Workshop) error {
	n := u.to
	n.RunDir, n.Ports = u.Sockets, nil
	n.Admin = u.engine.LocalAdmin(n)
	p, err := u.engine.plan(ctx, n)
	if err != nil {
		return err
	}
	if err := p.Reconfigure(); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrCopy, err)
	}
	err = errors.Join(os.Chmod(w.Dir, 0o711), datadir.Give(w.Data, u.UID, u.GID), os.Lchown(u.Sockets, u.UID, u.GID))
	if err != nil {
		return err
	}
	s, err := u.serve(ctx, w, n)
	if err != nil {
		if ctx.Err() == nil {
			err = fmt.Errorf("%w: %w", engine.ErrCopy, err)
		}
		return err
	}
	defer s.kill() // where it has not ended
	limited, cancel := context.WithTimeout(ctx, rejoinPatience)
	defer cancel()
	if err := withAdmin(limited, n, func(conn *sql.Conn) error { return isKnown(limited, conn, n) }); err != nil {
		return err
	}
	if err := s.end(ctx); err != nil {
		if ctx.Err() == nil { // it has ended with a complaint: its data is not to be trusted
			err = fmt.Errorf("%w: %w: %w", engine.ErrCopy, err, s.complain())
		}
		return err
	}
	return nil
}

// isKnown returns once the primary sends what comes after the last transaction that the node has.
func isKnown(ctx context.Context, conn *sql.Conn, n engine.Node) error {
	return wait.Until(ctx, wait.Growing(2*time.Millisecond, 50*time.Millisecond), func() (again bool, err error) {
		s, err := keepFollowing(ctx, conn, n)
		return err == nil && !s.streams(), err
	})
}

package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
)

// standing is where a server stands in its log.
type standing struct {
	timeline string   // "00000002"
	forks    []Fork   // where the timelines before were left for it
	redo     Position // of data: from where a server would begin to replay
	// end is of a primary: of its log; of data: up to where it has replayed at least, 0 unless it followed.
	end   Position
	state uint32 // of data, as its control file has it
}

// standingOf asks a running primary.
func (s Server) standingOf(ctx context.Context, primary engine.Node) (leads standing, err error) {
	const asked = `WITH at AS (SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8) AS timeline)
SELECT timeline, pg_current_wal_flush_lsn()::text,
    coalesce(pg_read_file('pg_wal/' || timeline || '.history', 0, 1 << 20, true), '') FROM at`
	err = s.withAdmin(ctx, primary, func(conn *pgx.Conn) error {
		var end, history string
		if err := conn.QueryRow(ctx, asked).Scan(&leads.timeline, &end, &history); err != nil {
			return err
		}
		leads.forks = ReadHistory([]byte(history))
		leads.end, err = ParsePosition(end)
		return err
	})
	return leads, err
}

// standing reads where the workshop's data stands, in which no server works.
func (r *rewind) standing(w *datadir.Workshop, root *os.Root) (s standing, err error) {
	said, err := w.Listen(filepath.Join(r.node.Installation.Dir, "pg_controldata"), w.Data)
	if err != nil {
		return s, err
	}
	told := map[string]string{}
	for line := range strings.Lines(said) {
		name, value, _ := strings.Cut(line, ":")
		told[name] = strings.TrimSpace(value)
	}
	at, errAt := strconv.ParseUint(told["Latest checkpoint's TimeLineID"], 10, 32)
	followed, errFollowed := strconv.ParseUint(told["Min recovery ending loc's timeline"], 10, 32)
	var errRedo, errEnd error
	s.redo, errRedo = ParsePosition(told["Latest checkpoint's REDO location"])
	s.end, errEnd = ParsePosition(told["Minimum recovery ending location"])
	if err := errors.Join(errAt, errFollowed, errRedo, errEnd); err != nil {
		return s, err
	}
	s.timeline = fmt.Sprintf("%08X", max(at, followed))
	c, err := ControlIn(root)
	if err != nil {
		return s, err
	}
	s.state = c.State
	file, err := root.OpenFile("pg_wal/"+s.timeline+".history", os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return s, gone(err)
	}
	defer file.Close()
	history, err := io.ReadAll(io.LimitReader(file, 1<<20))
	s.forks = ReadHistory(history)
	return s, err
}

// forkFrom is where the primary left the timeline that the data is on; ok is false where it never was on that, and
// where it has left an earlier one elsewhere. A timeline's number alone says little: two servers that were promoted
// apart from each other call theirs alike.
func (s standing) forkFrom(primary standing) (at Position, ok bool) {
	before := len(s.forks)
	if before > len(primary.forks) || !slices.Equal(s.forks, primary.forks[:before]) {
		return 0, false
	}
	if before == len(primary.forks) {
		return NeverLeft, s.timeline == primary.timeline
	}
	fork := primary.forks[before]
	return fork.At, s.timeline == fork.Timeline
}

// follows tells whether the data has only ever followed, on the timeline that the primary is on: there is nothing to
// exchange, and nothing may be logged with it.
func (s standing) follows(primary standing) bool {
	at, ok := s.forkFrom(primary)
	followed := s.state == ShutDownInRecovery || s.state == InArchiveRecovery
	return ok && at == NeverLeft && followed && s.end <= primary.end
}

// isLogged fails unless the data's log goes on without a hole until the primary left its timeline. What a server would
// log behind an earlier end would lie where the primary has something else, and pg_rewind takes it for the same.
func (r *rewind) isLogged(w *datadir.Workshop) error {
	s := r.own
	at, ok := s.forkFrom(r.leads)
	if !ok || at == NeverLeft {
		return fmt.Errorf("it has logged on timeline %s, while the primary is on %s", s.timeline, r.leads.timeline)
	}
	if s.redo >= at {
		return nil
	}
	timeline, err := strconv.ParseUint(s.timeline, 16, 32)
	if err != nil {
		return err
	}
	return w.Run("", filepath.Join(r.node.Installation.Dir, "pg_waldump"), "--quiet",
		"--path="+filepath.Join(w.Data, "pg_wal"), "--timeline="+strconv.FormatUint(timeline, 10),
		"--start="+s.redo.String(), "--end="+at.String())
}

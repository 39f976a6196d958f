package mysql

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/repository"
)

// The pieces of an archive are run by the server itself, as a replica runs what it has been sent: each piece is laid
// where a replica has its relay log, and the server's own thread executes it up to a position. No client reads what
// tenants have written.

// replay runs the pieces of an archive on a server that nobody else reaches.
type replay struct {
	store  *repository.Store
	pieces []place   // each from a position on
	lost   int       // the piece behind these, which is gone; 0: there is none
	until  time.Time // what was committed in this second or later is left out; zero: nothing is

	relay    string // the piece that is being run
	uid, gid int
	latest   time.Time // what comes next was committed in this second or later
	schedule schedule
}

// replayOf returns what is to be run behind a backup. Nil is nothing.
func replayOf(ctx context.Context, store *repository.Store, m manifest, to engine.Point) (*replay, error) {
	switch {
	case to.Alone, m.Log == nil && to.Until.IsZero():
		return nil, nil
	case m.Log == nil:
		return nil, backstay.Errorf(backstay.Unsupported,
			"The backup %s has no archive: it can be restored as it is, and to no later moment.", m.ID)
	case !to.Until.IsZero() && to.Until.Before(m.Ended):
		return nil, backstay.Errorf(backstay.Invalid, "The backup %s was ready at %s, UTC: it reaches no earlier moment.",
			m.ID, m.Ended.UTC().Format(time.DateTime))
	}
	pieces, lost, err := continuation(ctx, store, *m.Log, to.Until)
	until := to.Until.Truncate(time.Second)
	if until.Before(to.Until) { // the log has whole seconds
		until = until.Add(time.Second)
	}
	return &replay{store: store, pieces: pieces, lost: lost, until: until}, err
}

// relayLog is the name of the file that pieces are run from, and of the list of such files.
const relayLog, relayIndex = "piece.000001", "relay.index"

// prepare makes the directory of the relay log, and returns lines for the end of the server's configuration. They have
// it wait for nothing to be on the disk: what is interrupted is begun anew.
func (r *replay) prepare(w *datadir.Workshop, uid, gid int) (lines string, err error) {
	if r == nil {
		return "", nil
	}
	dir := filepath.Join(w.Dir, "relay")
	r.relay, r.uid, r.gid = filepath.Join(dir, relayLog), uid, gid
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	files := map[string]string{relayLog: "", relayIndex: r.relay + "\n"}
	if err := errors.Join(datadir.Fill(dir, uid, gid, files), datadir.Give(dir, uid, gid)); err != nil {
		return "", err
	}
	return "log_bin_trust_function_creators = ON\nrelay_log = " + dir + "/relay\nrelay_log_index = " + dir + "/" +
		relayIndex + "\nrelay_log_info_file = " + dir + "/relay.info\nmaster_info_file = " + dir + "/source.info\n" +
		"relay_log_purge = OFF\nskip_slave_start = ON\nreplicate_same_server_id = ON\n" +
		"replicate_events_marked_for_skip = REPLICATE\nslave_max_allowed_packet = 1G\n" +
		"sync_master_info = 0\nsync_relay_log = 0\nsync_relay_log_info = 0\ninnodb_flush_log_at_trx_commit = 0\n", nil
}

// run runs the pieces on the server, and removes what shows that it was a replica.
func (r *replay) run(ctx context.Context, n engine.Node) error {
	if r == nil {
		return nil
	}
	return withAdmin(ctx, n, func(conn *sql.Conn) (err error) {
		if r.schedule, err = readSchedule(ctx, conn); err != nil {
			return err
		}
		if err := r.runPieces(ctx, conn); err != nil {
			return err
		}
		if err := r.schedule.restore(ctx, conn); err != nil {
			return err
		}
		return run(ctx, conn, "RESET SLAVE ALL", "SET GLOBAL gtid_slave_pos = ''")
	})
}

// runPieces runs the pieces up to the moment. It is Invalid if that needs one that is damaged or gone.
func (r *replay) runPieces(ctx context.Context, conn *sql.Conn) error {
	for _, p := range r.pieces {
		begin := max(p.Position, int64(len(binlogMagic)))
		end, done, err := r.fetch(ctx, p, begin)
		if errors.Is(err, errTorn) {
			err = backstay.Wrapf(err, backstay.Invalid, "The archive is damaged: its piece %d does not go on as a log.",
				p.Number)
		}
		if err != nil {
			return err
		}
		if end > begin {
			if err := r.runPiece(ctx, conn, begin, end); err != nil {
				return fmt.Errorf("run piece %d of %s: %w", p.Number, p.Series, err)
			}
		}
		if done {
			return nil
		}
	}
	if r.lost > 0 {
		return pieceGone(r.lost)
	}
	return nil
}

// fetch lays a piece where the server runs it from. It returns the position up to which that is to be run, and whether
// what follows came after the moment. The log is in the order of commits, so the first that is too late ends it.
func (r *replay) fetch(ctx context.Context, p place, begin int64) (end int64, done bool, err error) {
	content, err := r.store.Get(ctx, pieceOf(p.Series, p.Number))
	if backstay.KindOf(err) == backstay.NotFound {
		err = pieceGone(p.Number)
	}
	if err != nil {
		return 0, false, err
	}
	defer content.Close()
	to, err := os.OpenFile(r.relay, os.O_RDWR|os.O_TRUNC, 0)
	if err != nil {
		return 0, false, err
	}
	defer to.Close()
	if _, err := io.Copy(to, content); err != nil {
		return 0, false, err
	}
	if _, err := to.Seek(0, io.SeekStart); err != nil {
		return 0, false, err
	}
	file, err := readLog(to, func(g group) bool {
		if g.from < begin {
			return true
		}
		if done = r.late(g); !done {
			r.schedule.follow(g.text)
		}
		return !done
	})
	if errors.Is(err, errTorn) && file.isCut() { // the server was killed in the middle of the rest
		err = nil
	}
	return file.whole, done, err
}

// late tells whether a group was committed after the moment, as far as the seconds in the log and their order tell.
func (r *replay) late(g group) bool {
	r.latest = later(r.latest, g.began)
	return !r.until.IsZero() && !r.latest.Before(r.until)
}

// runPiece has the server run what is between two positions of the relay log.
func (r *replay) runPiece(ctx context.Context, conn *sql.Conn, begin, end int64) error {
	err := run(ctx, conn, fmt.Sprintf("CHANGE MASTER TO MASTER_HOST = 'none', MASTER_USER = 'none', "+
		"RELAY_LOG_FILE = '%s', RELAY_LOG_POS = %d", relayLog, begin))
	if err != nil {
		return err
	}
	for {
		err := run(ctx, conn, fmt.Sprintf("START SLAVE SQL_THREAD UNTIL RELAY_LOG_FILE = '%s', RELAY_LOG_POS = %d",
			relayLog, end))
		if err != nil {
			return err
		}
		at, failed, err := awaitStop(ctx, conn)
		switch {
		case err != nil:
			return err
		case failed == "" && at >= end:
			return nil
		case failed == "":
			return fmt.Errorf("the server has stopped at %d, before %d", at, end)
		}
		if err := tolerate(ctx, conn, failed); err != nil {
			return err
		}
	}
}

// tolerate has the server go on after it has not found a row in a table that it has in memory alone. Such tables are
// empty in a copy, as they are after each start. All other tables have the rows that the log changes.
func tolerate(ctx context.Context, conn *sql.Conn, failed string) error {
	mode, err := column(ctx, conn, "SELECT @@GLOBAL.slave_exec_mode")
	if err != nil {
		return err
	}
	fleeting, err := column(ctx, conn, "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES "+
		"WHERE ENGINE = 'MEMORY' AND TABLE_SCHEMA <> 'information_schema'")
	if err != nil {
		return err
	}
	missed := func(table string) bool { return strings.Contains(failed, "table "+table+";") }
	if slices.Contains(mode, tolerant) || !slices.ContainsFunc(fleeting, missed) {
		return errors.New(failed)
	}
	return run(ctx, conn, "SET GLOBAL slave_exec_mode = '"+tolerant+"'")
}

const tolerant = "IDEMPOTENT"

// awaitStop waits until the server's thread has stopped, and returns where, and why if that was an error.
func awaitStop(ctx context.Context, conn *sql.Conn) (at int64, failed string, err error) {
	err = wait.Until(ctx, wait.Growing(2*time.Millisecond, 100*time.Millisecond), func() (again bool, err error) {
		status, err := row(ctx, conn, "SHOW SLAVE STATUS")
		if err != nil {
			return false, err
		}
		failed = status["Last_SQL_Error"]
		at, err = strconv.ParseInt(status["Relay_Log_Pos"], 10, 64)
		return status["Slave_SQL_Running"] != "No", err
	})
	return at, failed, err
}

var errNoRow = errors.New("no row")

// row returns the one row of a query, by the names of the columns.
func row(ctx context.Context, conn *sql.Conn, query string) (map[string]string, error) {
	rows, err := conn.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values, targets := make([]sql.NullString, len(names)), make([]any, len(names))
	for i := range values {
		targets[i] = &values[i]
	}
	if !rows.Next() {
		return nil, cmp.Or(rows.Err(), fmt.Errorf("%s: %w", query, errNoRow))
	}
	if err := rows.Scan(targets...); err != nil {
		return nil, err
	}
	named := map[string]string{}
	for i, name := range names {
		named[name] = values[i].String
	}
	return named, rows.Err()
}

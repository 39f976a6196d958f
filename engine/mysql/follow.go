package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// Follows has the node begin to follow where it does not, since its server does not do so by itself, and compares how
// far both have come. While clients of the primary wait for a node, whoever asks it where its log ends waits with them:
// the files tell. On the way, the node keeps no more of its own log than its primary, and learns which events are on.
func (Engine) Follows(ctx context.Context, primary, n engine.Node) (f engine.Following, err error) {
	var ends gtid
	var events map[string]string
	err = withAdmin(ctx, primary, func(conn *sql.Conn) (err error) {
		if ends, err = position(ctx, conn, committed); err == nil {
			events, err = eventStates(ctx, conn)
		}
		return err
	})
	if err != nil {
		return f, fmt.Errorf("ask the primary: %w", err)
	}
	var s standing
	err = withAdmin(ctx, n, func(conn *sql.Conn) error {
		if s, err = keepFollowing(ctx, conn, n); err != nil {
			return err
		}
		return errors.Join(tellEvents(ctx, conn, events), forget(ctx, conn, primary, n))
	})
	if err != nil {
		return f, err
	}
	behind, caughtUp, err := s.behind(primary)
	f.Behind, f.Streams = behind, s.streams() && caughtUp
	f.End, f.Read = int64(ends.sequence), int64(s.applied.sequence)
	if f.Read < f.End {
		f.Lag = s.lag
	}
	return f, err
}

// standing is what a server says of how it follows.
type standing struct {
	known               bool // it was told to follow
	from                int  // the port that it follows
	receives, applies   string
	receiving, applying string // why it does not any more
	file                int    // of the primary's log, which it reads; 0: none yet
	at                  int64  // and how far
	received            string // the last that it was sent whole
	applied             gtid
	lag                 time.Duration
}

// standingOf asks a server; one that was never told to follow is not known to.
func standingOf(ctx context.Context, conn *sql.Conn) (s standing, err error) {
	status, err := row(ctx, conn, "SHOW SLAVE STATUS")
	if errors.Is(err, errNoRow) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	s.known, s.receives, s.applies = true, status["Slave_IO_Running"], status["Slave_SQL_Running"]
	if status["Last_IO_Errno"] != "0" {
		s.receiving = status["Last_IO_Error"]
	}
	if status["Last_SQL_Errno"] != "0" {
		s.applying = status["Last_SQL_Error"]
	}
	s.received = status["Gtid_IO_Pos"]
	s.from, _ = strconv.Atoi(status["Master_Port"])
	s.at, _ = strconv.ParseInt(status["Read_Master_Log_Pos"], 10, 64)
	s.file, _ = strconv.Atoi(strings.TrimPrefix(status["Master_Log_File"], binlogName+"."))
	if seconds, err := strconv.Atoi(status["Seconds_Behind_Master"]); err == nil { // unknown while it does not receive
		s.lag = time.Duration(seconds) * time.Second
	}
	s.applied, err = position(ctx, conn, committed)
	return s, err
}

// streams tells whether the primary has found in its log what the server has, and sends what comes then.
func (s standing) streams() bool { return s.receives == "Yes" && s.applies == "Yes" && s.file > 0 }

// behind is how much of the primary's log the node does not have. It has caught up once it reads the last of the files,
// or nearly so.
func (s standing) behind(primary engine.Node) (size backstay.Bytes, caughtUp bool, err error) {
	dir, err := os.OpenRoot(primary.DataDir)
	if err != nil {
		return 0, false, err
	}
	defer dir.Close()
	numbers, err := binlogFiles(dir)
	if err != nil || len(numbers) == 0 {
		return 0, false, err
	}
	for _, number := range numbers {
		if number >= s.file {
			size += binlogSize(primary, []int{number})
		}
	}
	size = max(size-backstay.Bytes(s.at), 0)
	return size, s.file >= numbers[len(numbers)-1] || size < 4*mb, nil
}

// keepFollowing returns how the node follows. One that has left the history of its primary, or that cannot do what that
// has done, needs a copy.
func keepFollowing(ctx context.Context, conn *sql.Conn, n engine.Node) (s standing, err error) {
	if s, err = standingOf(ctx, conn); err != nil {
		return s, err
	}
	follows := s.known && s.from == n.Replication.Follows.Port
	switch {
	case follows && s.receives == "No" && s.receiving != "":
		return s, fmt.Errorf("%w: %s", engine.ErrCopy, s.receiving)
	case follows && s.applies == "No" && s.applying != "":
		return s, resume(ctx, conn, s.applying)
	case follows && s.receives != "No" && s.applies != "No":
		return s, nil
	}
	if err := begin(ctx, conn, n); err != nil {
		return s, fmt.Errorf("begin to follow: %w", err)
	}
	return standingOf(ctx, conn)
}

// resume has the server go on after a statement that failed for a reason that is none: see tolerate.
func resume(ctx context.Context, conn *sql.Conn, failed string) error {
	if err := tolerate(ctx, conn, failed); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrCopy, err)
	}
	return run(ctx, conn, "START SLAVE SQL_THREAD")
}

// begin has the server follow, from the last transaction on that it has. It has a server that starts do nothing by
// itself, since that would throw away what it was sent before and has not run yet; and who has sent it may be gone.
func begin(ctx context.Context, conn *sql.Conn, n engine.Node) error {
	if err := run(ctx, conn, "STOP SLAVE"); err != nil {
		return err
	}
	if err := runReceived(ctx, conn, n); err != nil {
		return fmt.Errorf("run what was sent before: %w", err)
	}
	from := n.Replication.Follows
	verified, err := isFor(n.TLS, from.Address)
	if err != nil {
		return err
	}
	return run(ctx, conn, "RESET SLAVE ALL", "SET GLOBAL gtid_slave_pos = "+committed,
		fmt.Sprintf("CHANGE MASTER TO MASTER_HOST = %s, MASTER_PORT = %d, MASTER_USER = %s, MASTER_PASSWORD = %s, "+
			"MASTER_SSL = 1, MASTER_SSL_CA = %s, MASTER_SSL_VERIFY_SERVER_CERT = %d, MASTER_CONNECT_RETRY = 1, "+
			"MASTER_HEARTBEAT_PERIOD = 1, MASTER_USE_GTID = SLAVE_POS", quoteText(from.Address), from.Port,
			quoteText(linkUser), quoteText(linkPassword(n.Replication).Reveal()), quoteText(authorityOf(n)), bit(verified)),
		"START SLAVE")
}

func bit(set bool) int {
	if set {
		return 1
	}
	return 0
}

// forget removes the files of the node's own log that hold nothing but what its primary has no more. If the node takes
// over, its archive goes on from where the primary's has ended.
func forget(ctx context.Context, conn *sql.Conn, primary, n engine.Node) error {
	own, err := os.OpenRoot(n.DataDir)
	if err != nil {
		return err
	}
	defer own.Close()
	source, err := os.OpenRoot(primary.DataDir)
	if err != nil {
		return err
	}
	defer source.Close()
	kept, err := binlogFiles(source)
	if err != nil || len(kept) == 0 {
		return err
	}
	numbers, err := binlogFiles(own)
	if err != nil || len(numbers) < 3 {
		return err
	}
	first, err := firstIn(source, kept)
	if err != nil || first.sequence == 0 {
		return err
	}
	needed := 0
	for _, number := range numbers[:len(numbers)-1] {
		begins, err := firstIn(own, []int{number})
		if err != nil {
			return err
		}
		if begins.sequence > first.sequence {
			break
		}
		needed = number
	}
	if needed <= numbers[0] {
		return nil
	}
	return run(ctx, conn, "PURGE BINARY LOGS TO "+quoteText(filepath.Base(binlogFile(needed))))
}

// firstIn returns the first transaction in files of a log; none is zero.
func firstIn(dir *os.Root, numbers []int) (first gtid, err error) {
	for _, number := range numbers {
		_, err := readBinlog(dir, number, func(g group) bool {
			first = g.gtid
			return false
		})
		if first.sequence != 0 {
			return first, nil
		}
		if err != nil && !errors.Is(err, errTorn) {
			return first, err
		}
	}
	return first, nil
}

package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/wait"
)

// runReceived runs what the node was sent, and has not run, by a primary that may be gone. A server that has started
// since would throw that away as soon as it is to follow; told that it lies at a place of the log, it runs it. It has
// been interrupted somewhere: what it has run already, its own log tells.
func runReceived(ctx context.Context, conn *sql.Conn, n engine.Node) error {
	s, err := standingOf(ctx, conn)
	if err != nil || !s.known {
		return err
	}
	dir, err := os.OpenRoot(n.DataDir)
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := relayFiles(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := runFile(ctx, conn, dir, name); err != nil {
			return err
		}
	}
	return asItself(ctx, conn, n)
}

func runFile(ctx context.Context, conn *sql.Conn, dir *os.Root, name string) error {
	has, err := position(ctx, conn, committed)
	if err != nil {
		return err
	}
	part, err := unrun(dir, name, has)
	if err != nil || part.last.sequence == 0 {
		return err
	}
	return runRelay(ctx, conn, name, part)
}

// relayFiles are the files of what the node was sent, the oldest first.
func relayFiles(dir *os.Root) (names []string, err error) {
	entries, err := fs.ReadDir(dir.FS(), ".")
	for _, e := range entries { // by name
		digits, ok := strings.CutPrefix(e.Name(), relayName+".")
		if _, err := strconv.Atoi(digits); ok && err == nil {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, err
}

// relayed is a part of a file that the node was sent.
type relayed struct {
	begin, end int64
	last       gtid // in it; zero: there is nothing in it
}

// unrun returns the whole transactions in a file that come after the one that the node has.
func unrun(dir *os.Root, name string, has gtid) (part relayed, err error) {
	f, err := dir.Open(name)
	if err != nil {
		return part, err
	}
	defer f.Close()
	_, err = readLog(f, func(g group) bool {
		if g.gtid.sequence > has.sequence {
			if part.begin == 0 {
				part.begin = g.from
			}
			part.end, part.last = g.to, g.gtid
		}
		return true
	})
	if errors.Is(err, errTorn) { // the server was killed while it wrote: nobody was told that it has the rest
		err = nil
	}
	return part, err
}

// runRelay has the server run a part of a file, also what it has committed itself in the time when it was the primary,
// and then had to take back. It stops behind that at the next transaction, of which there may be none. Several threads
// that begin in the middle of a file crash the server.
func runRelay(ctx context.Context, conn *sql.Conn, name string, part relayed) error {
	err := run(ctx, conn, fmt.Sprintf("SET GLOBAL server_id = %d", uint32(nobodysID)),
		"SET GLOBAL slave_parallel_threads = 0")
	if err != nil {
		return err
	}
	return runAsNobody(ctx, conn, name, part)
}

// asItself has a server that has run what it was sent be the one that it was.
func asItself(ctx context.Context, conn *sql.Conn, n engine.Node) error {
	return run(ctx, conn, fmt.Sprintf("SET GLOBAL server_id = %d", serverID(n.Replication.Name)),
		"SET GLOBAL slave_parallel_threads = "+parallel)
}

func runAsNobody(ctx context.Context, conn *sql.Conn, name string, part relayed) error {
	err := run(ctx, conn, fmt.Sprintf("CHANGE MASTER TO MASTER_USE_GTID = NO, RELAY_LOG_FILE = %s, RELAY_LOG_POS = %d",
		quoteText(name), part.begin))
	if err != nil {
		return err
	}
	start := fmt.Sprintf("START SLAVE SQL_THREAD UNTIL RELAY_LOG_FILE = %s, RELAY_LOG_POS = %d", quoteText(name), part.end)
	if err := run(ctx, conn, start); err != nil {
		return err
	}
	err = wait.Until(ctx, wait.Growing(time.Millisecond, 20*time.Millisecond), func() (again bool, err error) {
		s, err := standingOf(ctx, conn)
		if err != nil || s.applied.sequence >= part.last.sequence {
			return false, err
		}
		if s.applies != "No" {
			return true, nil
		}
		if s.applying == "" {
			return false, fmt.Errorf("the server has stopped in %s at %s, before %s", name, s.applied, part.last)
		}
		if err := tolerate(ctx, conn, s.applying); err != nil {
			return false, err
		}
		return true, run(ctx, conn, start)
	})
	if err != nil {
		return err
	}
	return run(ctx, conn, "STOP SLAVE")
}

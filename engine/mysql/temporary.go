package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// What sessions keep for a while is on the node's volume: tables that a query makes for itself and that users call
// temporary lie in tmpDir, with the session's number in their names; sorts and the log of long transactions in files
// there that have no name; and InnoDB's temporary tables in one file for all, which never shrinks. The server has no
// bound for any of them that a session could not lift, but one for the last, and ends when a long value reaches that.
// So they may take what is free, and are the first to go when nothing is.

const sharedTemporary = "ibtmp1" // in the data directory: InnoDB's, made anew at each start

// Of the storage, what temporary data is worth ending a session for, and what is enough to let all others go on.
const (
	largePart, leastLarge = 50, 32 * mb
	manyPart              = 10
)

func largeTemporary(s backstay.Size) backstay.Bytes { return max(s.Storage/largePart, leastLarge) }
func manyTemporary(s backstay.Size) backstay.Bytes  { return max(s.Storage/manyPart, leastLarge) }

// freeTemporary ends what has large temporary data. It tells whether that was so much that the volume need not be full
// any more. The error is ErrStuck where it is InnoDB's.
func freeTemporary(ctx context.Context, n engine.Node, w engine.Writes) (enough bool, err error) {
	if fillsShared(n, w) {
		return false, fmt.Errorf("%w: %w", engine.ErrStuck, backstay.Errorf(backstay.Unavailable,
			"Temporary tables had taken the storage of the database, and only a restart gives that back."))
	}
	named, sum, err := namedTemporary(n)
	if err != nil {
		return false, err
	}
	unnamed, err := unnamedTemporary(ctx, n)
	if err != nil {
		return false, err
	}
	large, ended := largeTemporary(n.Size), false
	if sum+unnamed < large {
		return false, nil
	}
	err = withAdmin(ctx, n, func(conn *sql.Conn) error {
		return endThose(ctx, conn, n, func(s session) (how string) {
			id, _ := strconv.ParseUint(s.id, 10, 64)
			switch {
			case named[id] >= large && !s.runs(): // the tables are the session's
				how = dialectOf(n.Installation).kill
			case named[id] >= large, unnamed >= large && s.runs() && onDisk.MatchString(s.state):
				how = endStatement
			}
			ended = ended || how != ""
			return how
		})
	})
	return ended && sum+unnamed >= manyTemporary(n.Size), err
}

// temporaryName matches files of temporary tables. The session's number is the second of them; MySQL has such tables in
// InnoDB alone.
var temporaryName = regexp.MustCompile(`^#sql-temptable-[0-9a-f]+-([0-9a-f]+)-[0-9a-f]+\.`)

// namedTemporary returns what the temporary tables of each session take, and all of them.
func namedTemporary(n engine.Node) (of map[uint64]backstay.Bytes, sum backstay.Bytes, err error) {
	entries, err := os.ReadDir(filepath.Join(n.DataDir, tmpDir))
	of = map[uint64]backstay.Bytes{}
	for _, e := range entries {
		match := temporaryName.FindStringSubmatch(e.Name())
		if match == nil {
			continue
		}
		id, parsed := strconv.ParseUint(match[1], 16, 64)
		about, gone := e.Info()
		if parsed == nil && gone == nil {
			of[id] += backstay.Bytes(about.Size())
			sum += backstay.Bytes(about.Size())
		}
	}
	return of, sum, err
}

// unnamedTemporary returns what the files without a name take that the server has open. Whose they are, nobody tells.
func unnamedTemporary(ctx context.Context, n engine.Node) (sum backstay.Bytes, err error) {
	pid, err := serverOf(ctx, n)
	if err != nil {
		return 0, err
	}
	open := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(open)
	if errors.Is(err, fs.ErrNotExist) { // it has ended
		return 0, nil
	}
	within := filepath.Join(n.DataDir, tmpDir) + "/"
	for _, e := range entries {
		path := filepath.Join(open, e.Name())
		target, gone := os.Readlink(path)
		if gone != nil || !strings.HasPrefix(target, within) || !strings.HasSuffix(target, " (deleted)") {
			continue
		}
		if about, gone := os.Stat(path); gone == nil {
			sum += backstay.Bytes(about.Size())
		}
	}
	return sum, err
}

// serverOf returns the process that listens on the node's socket.
func serverOf(ctx context.Context, n engine.Node) (pid int, err error) {
	conn, err := n.Admin.Dial(ctx)
	if err != nil {
		return 0, inWords(err)
	}
	defer conn.Close()
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, errors.New("the server is not on this machine")
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, err
	}
	failed := raw.Control(func(fd uintptr) {
		var peer *unix.Ucred
		if peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(peer.Pid)
		}
	})
	return pid, errors.Join(failed, err)
}

// fillsShared tells whether InnoDB's temporary tables have taken so much of the volume that it is worth a restart.
func fillsShared(n engine.Node, w engine.Writes) bool {
	about, err := os.Lstat(filepath.Join(n.DataDir, sharedTemporary))
	if err != nil {
		return false
	}
	size := backstay.Bytes(about.Size())
	return size >= manyTemporary(n.Size) || w == engine.NoWrites && size >= largeTemporary(n.Size)
}

package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// The binary log is what an archive is made of: all changes, row by row, in files with numbers. MariaDB writes it in
// the data directory. A file stays there until the archive has it, or until all of them take more than binlogLimit.

const binlogName = "binlog" // of its files, with the number behind it

// binaryLog are the settings of the binary log. Names with a dash are those of no variable: a node that runs without
// a binary log gets one when it is next started, and is not restarted for it.
func binaryLog(n engine.Node) []setting {
	if !logs(n) {
		return []setting{{"skip_log_bin", "ON"}}
	}
	return []setting{
		{"log-bin", binlogName},
		{"binlog_format", "ROW"},
		{"sync_binlog", "1"},
		{"binlog_checksum", "CRC32"},
		{"binlog_annotate_row_events", "OFF"}, // statements may hold passwords
		{"max_binlog_size", inBytes(clamp(n.Size.Storage/100, 16*mb, 128*mb))},
		{"expire_logs_days", "0"},
		{"loose_slave_connections_needed_for_purge", "0"},
		{"log_bin_trust_function_creators", "ON"}, // without it, tenants could make no trigger
		// A moment is found by the seconds in the log. Nobody may write others into it.
		{"secure-timestamp", "SUPER"},
	}
}

// logs tells whether a node is to have a binary log: also one that needs none any more, if its server was killed while
// it had one. Such a server finds there what of its transactions is committed, and does not start without.
func logs(n engine.Node) bool { return n.Archive || n.Replication != nil || isOpen(n.DataDir) }

// isOpen tells whether the server of a data directory has left its binary log without an orderly end.
func isOpen(dataDir string) bool {
	dir, err := os.OpenRoot(dataDir)
	if err != nil {
		return false
	}
	defer dir.Close()
	numbers, err := binlogFiles(dir)
	if err != nil || len(numbers) == 0 {
		return false
	}
	last, _, err := inspect(dir, numbers[len(numbers)-1])
	return err == nil && last.open
}

// binlogLimit is how much of the volume the binary log may take while the repository is away.
func binlogLimit(s backstay.Size) backstay.Bytes { return max(s.Storage/10, gb) }

// binlogFile is the name of the binary log's file with that number.
func binlogFile(number int) string { return fmt.Sprintf("%s.%06d", binlogName, number) }

// binlogFiles are the numbers of the files in a data directory, the oldest first.
func binlogFiles(dir *os.Root) (numbers []int, err error) {
	entries, err := fs.ReadDir(dir.FS(), ".")
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), binlogName+".")
		if number, err := strconv.Atoi(digits); ok && err == nil && number > 0 {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return numbers, err
}

// openBinlog opens a file of the binary log. The directory belongs to the server, so what has the name may be something
// else: that is refused, and not waited for.
func openBinlog(dir *os.Root, number int) (*os.File, error) {
	f, err := dir.OpenFile(binlogFile(number), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	about, err := f.Stat()
	if err == nil && !about.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", binlogFile(number))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// inspect reads a file of the binary log as far as its first group, and tells whether there is one. The server may be
// writing to it.
func inspect(dir *os.Root, number int) (f logFile, written bool, err error) {
	f, err = readBinlog(dir, number, func(group) bool {
		written = true
		return false
	})
	if errors.Is(err, errTorn) && !f.created.IsZero() {
		return f, true, nil
	}
	return f, written, err
}

// readBinlog is readLog for a file in a data directory.
func readBinlog(dir *os.Root, number int, each func(group) bool) (logFile, error) {
	f, err := openBinlog(dir, number)
	if err != nil {
		return logFile{}, err
	}
	defer f.Close()
	return readLog(f, each)
}

// copyBinlog writes a file of the binary log to w.
func copyBinlog(dir *os.Root, number int, w io.Writer) error {
	f, err := openBinlog(dir, number)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// removeBinlog removes the binary log, and what is known of its archive, from a data directory.
func removeBinlog(dataDir string) (err error) {
	dir, err := os.OpenRoot(dataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	numbers, err := binlogFiles(dir)
	if err != nil {
		return err
	}
	names := []string{followedFile, binlogName + ".index", binlogName + ".state"}
	for _, number := range numbers {
		names = append(names, binlogFile(number))
	}
	for _, name := range names {
		if err := dir.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// runs tells whether a server uses the data directory, whether it answers or not: it has InnoDB's files locked.
func runs(dir *os.Root) (bool, error) {
	f, err := dir.OpenFile("ibdata1", os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_RDLCK, Whence: io.SeekStart}
	err = unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock)
	return lock.Type != unix.F_UNLCK, err
}

// rotate has the server go on in another file.
func rotate(ctx context.Context, n engine.Node) error {
	return withAdmin(ctx, n, func(conn *sql.Conn) error { return run(ctx, conn, "FLUSH BINARY LOGS") })
}

// purge removes the files of the binary log before the one with that number.
func purge(ctx context.Context, n engine.Node, before int) error {
	return withAdmin(ctx, n, func(conn *sql.Conn) error {
		return run(ctx, conn, "PURGE BINARY LOGS TO "+quoteText(binlogFile(before)))
	})
}

// binlogSize is the room that files of the binary log take.
func binlogSize(n engine.Node, numbers []int) (size backstay.Bytes) {
	for _, number := range numbers {
		if about, err := os.Lstat(filepath.Join(n.DataDir, binlogFile(number))); err == nil {
			size += backstay.Bytes(about.Size())
		}
	}
	return size
}

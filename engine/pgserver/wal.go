package pgserver

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"
)

// logName is the name of a segment of the write-ahead log.
var logName = regexp.MustCompile(`^[0-9A-F]{24}$`)

func logs(data string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(data, "pg_wal"))
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		if logName.MatchString(e.Name()) {
			paths = append(paths, filepath.Join(data, "pg_wal", e.Name()))
		}
	}
	return paths, nil
}

// PunchLogs makes holes of what is zero in the log's segments, so that a clone copies kilobytes of
// them and not 16 MB.
func PunchLogs(data string) error {
	segments, err := logs(data)
	if err != nil {
		return err
	}
	for _, path := range segments {
		if err := punch(path); err != nil {
			return fmt.Errorf("punch holes in %s: %w", path, err)
		}
	}
	return nil
}

func punch(path string) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	block, zeros := make([]byte, 64<<10), make([]byte, 64<<10)
	for at := int64(0); ; at += int64(len(block)) {
		n, err := f.ReadAt(block, at)
		if n < len(block) {
			return nil // segments are a power of two, of a megabyte and more
		}
		if err != nil {
			return err
		}
		if !bytes.Equal(block, zeros) {
			continue
		}
		err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, at, int64(n))
		if errors.Is(err, unix.EOPNOTSUPP) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

const (
	longHeader   = 0x2 // XLP_LONG_HEADER
	identifierAt = 24  // in a long page header: xlp_sysid
)

// RenewIdentifier gives a directory that was shut down in order a system identifier of its own, so
// that the log of one instance can never be replayed into another. The identifier stands in the
// control file, under a checksum, and in the first page of each log segment. PostgreSQL checks all of
// them at start.
func RenewIdentifier(data string) error {
	path := filepath.Join(data, "global", "pg_control")
	control, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	sum, ok := checksumAt(control)
	if !ok {
		return fmt.Errorf("%s: no checksum where one belongs", path)
	}
	was := binary.NativeEndian.Uint64(control)
	is, err := newIdentifier()
	if err != nil {
		return err
	}
	binary.NativeEndian.PutUint64(control, is)
	binary.NativeEndian.PutUint32(control[sum:], crc32.Checksum(control[:sum], castagnoli))
	if err := overwrite(path, 0, control); err != nil {
		return err
	}
	return relabelLogs(data, was, is)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksumAt finds where the control file's checksum is: behind all it covers, at a place that
// depends on PostgreSQL's version.
func checksumAt(control []byte) (int, bool) {
	for at := 8; at+4 <= min(len(control), 512); at += 4 {
		if crc32.Checksum(control[:at], castagnoli) == binary.NativeEndian.Uint32(control[at:]) {
			return at, true
		}
	}
	return 0, false
}

// newIdentifier is positive as a signed number too, for the tools that read it as one.
func newIdentifier() (uint64, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, err
	}
	return binary.NativeEndian.Uint64(b[:])>>1 | 1, nil
}

func relabelLogs(data string, was, is uint64) error {
	segments, err := logs(data)
	if err != nil {
		return err
	}
	for _, path := range segments {
		header := make([]byte, identifierAt+8)
		if err := readStart(path, header); err != nil {
			return err
		}
		long := binary.NativeEndian.Uint16(header[2:])&longHeader != 0
		if !long || binary.NativeEndian.Uint64(header[identifierAt:]) != was {
			return fmt.Errorf("%s: not a log segment of this directory", path)
		}
		if err := overwrite(path, identifierAt, binary.NativeEndian.AppendUint64(nil, is)); err != nil {
			return err
		}
	}
	return nil
}

func readStart(path string, into []byte) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	_, err = f.ReadAt(into, 0)
	return errors.Join(err, f.Close())
}

func overwrite(path string, at int64, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, at)
	return errors.Join(err, f.Close())
}

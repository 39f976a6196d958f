package testkit

import (
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Dir returns a new directory for one test, /tmp/bs-NNNN: short enough for a Unix socket some levels
// below it, and open to be passed through (0711) by engines that run as other users. It goes with
// the test, whoever owns what is in it; a process that still writes there fails the test.
func Dir(t testing.TB) string {
	t.Helper()
	return dirIn(t, disk)
}

// MemoryDir is Dir in the machine's memory, if it has plenty, for engines that no plan's limits are put upon: what they
// write there counts as memory of theirs. Of what tests of engines cost, half was the making and removing of files on a
// disk, whose file system without a journal passes over every inode that was in use a few seconds ago.
func MemoryDir(t testing.TB) string {
	t.Helper()
	return dirIn(t, memory())
}

func dirIn(t testing.TB, where string) string {
	t.Helper()
	dir, err := os.MkdirTemp(where, dirPattern)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the test's directory: %v", err)
		}
	})
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// MakeMemoryDir makes a directory as [MemoryDir] does, which only its owner may enter. The caller removes it: it may
// outlive a test.
func MakeMemoryDir() (string, error) { return os.MkdirTemp(memory(), dirPattern) }

const (
	disk       = "/tmp"
	dirPattern = "bs-"

	// plenty is the room, in bytes, of a machine's memory for which MemoryDir uses it, and large its memory. All tests
	// of this module together were seen to have 7 GB there.
	plenty = 10 << 30
	large  = 16 << 30
)

// memory is where directories in memory are made: on a small machine, on the disk.
var memory = sync.OnceValue(func() string {
	const shared = "/dev/shm"
	var fs unix.Statfs_t
	var machine unix.Sysinfo_t
	if unix.Statfs(shared, &fs) != nil || unix.Sysinfo(&machine) != nil {
		return disk
	}
	free, all := fs.Bavail*uint64(fs.Bsize), machine.Totalram*uint64(machine.Unit)
	if fs.Type != unix.TMPFS_MAGIC || fs.Flags&unix.ST_NOEXEC != 0 || free < plenty || all < large {
		return disk
	}
	return shared
})

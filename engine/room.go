package engine

import (
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
)

// HasRoom tells whether the disk of a directory has more room than size, in bytes. Where that cannot be found out, as
// before the directory is made, there is room.
func HasRoom(dir string, size backstay.Bytes) bool {
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return true
	}
	return backstay.Bytes(int64(disk.Bavail)*disk.Bsize) > size
}

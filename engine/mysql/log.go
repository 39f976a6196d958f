package mysql

import (
	"os"
	"path/filepath"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// smallestLog is the size below which no redo log is made.
const smallestLog = 16 * mb

// logSize returns the size of the node's redo log: a share of the plan's storage. A server makes a larger log beside
// the one that it has, and does not start, or refuses the new size, where the disk has no room for it. There it keeps
// the size that it has, so that a full disk never stands in the way of a larger plan.
func logSize(n engine.Node) backstay.Bytes {
	wanted := clamp(n.Size.Storage/100, smallestLog, gb)
	has := max(heldLog(n.DataDir)/mb*mb, smallestLog)
	if wanted <= has || engine.HasRoom(n.DataDir, wanted+smallestLog) {
		return wanted
	}
	return has
}

// logFiles are where the redo log of a data directory is: MariaDB's is one file, MySQL's are several.
func logFiles(dataDir string) []string {
	files, _ := filepath.Glob(filepath.Join(dataDir, "#innodb_redo", "#ib_redo*")) // the pattern is sound
	return append(files, filepath.Join(dataDir, "ib_logfile0"))
}

// heldLog returns the size of the redo log in a data directory.
func heldLog(dataDir string) (size backstay.Bytes) {
	for _, path := range logFiles(dataDir) {
		if info, err := os.Lstat(path); err == nil {
			size += backstay.Bytes(info.Size())
		}
	}
	return size
}

package postgres

import (
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/backstay/backstay/engine"
)

// A node's log is a ring of files: when one is full the next is begun anew.
const (
	logFiles    = 4
	logFileSize = 5 << 20 // bytes
)

// startScript starts the server beside a writer of its log. The server's own collector of logs would
// not do: it bounds neither the number of its files nor, by time, their size, so that a client could
// fill the disk with its mistakes; and it misses what goes wrong before it runs.
//
//go:embed start.sh
var startScript string

// Command runs the server. It takes the place of the shell that started it, so that signals and
// status are its own. Its writer ends with the last process that has the log open.
func (Engine) Command(n engine.Node) (*exec.Cmd, error) {
	// Nothing secret is among the arguments: everybody on the machine can read them.
	cmd := exec.Command("/bin/sh", "-c", startScript, "postgres", n.LogDir, n.RunDir,
		strconv.Itoa(newestLog(n)), strconv.Itoa(logFiles), strconv.Itoa(logFileSize),
		filepath.Join(n.Installation.Dir, "postgres"), "-D", n.DataDir)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"}
	return cmd, nil
}

func logPath(n engine.Node, slot int) string {
	return filepath.Join(n.LogDir, "postgres-"+strconv.Itoa(slot)+".log")
}

// newestLog is the place in the ring of the file that was written last; 0 if there is none.
func newestLog(n engine.Node) int {
	newest, at := 0, time.Time{}
	for slot := range logFiles {
		if info, err := os.Stat(logPath(n, slot)); err == nil && info.ModTime().After(at) {
			newest, at = slot, info.ModTime()
		}
	}
	return newest
}

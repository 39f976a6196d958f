package node

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/backstay/backstay/internal/process"
)

// Find returns the node's main process, if it runs, whoever started it. If there is none, it is nil and
// the pid file is gone.
func (n Node) Find() (*process.Process, error) { return n.find(n.pidFile()) }

func (n Node) find(pidFile string) (*process.Process, error) {
	pid, err := readWrittenPIDFile(pidFile)
	if err != nil || pid == 0 {
		return nil, err
	}
	p, err := process.Open(pid)
	if err == nil && (n.owns(pid) || n.isAdrift(pid)) {
		n.rank(pid)
		return p, nil
	}
	if p != nil {
		p.Close()
	}
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return nil, err
	}
	return nil, os.Remove(pidFile)
}

// rank gives a process that an earlier keeper has started its place in the out-of-memory killer's order, as far as our
// rights go.
func (n Node) rank(pid int) {
	score := process.FirstToGo
	if len(n.Ports) == 0 {
		score = process.LastToGo
	}
	_ = process.SetOutOfMemory(pid, score)
}

// owns tells whether a process is of the node's user and works in its directory.
func (n Node) owns(pid int) bool { return n.isOwners(pid) && process.WorksIn(pid, n.Dir) }

// isOwners tells whether a process is of the node's user.
func (n Node) isOwners(pid int) bool {
	var stat syscall.Stat_t
	err := syscall.Stat(filepath.Join("/proc", strconv.Itoa(pid)), &stat)
	return err == nil && stat.Uid == n.owner()
}

// isAdrift tells whether a process that a pid file of the node names is the node's, though its directory was taken away
// below it: with the disk that it lies on.
func (n Node) isAdrift(pid int) bool {
	return n.isOwners(pid) && n.Program != "" && ProgramOf(pid) == n.Program && process.IsAdrift(pid)
}

// ProgramOf is the program that a process runs, without symbolic links; empty if it has ended.
func ProgramOf(pid int) string {
	program, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "exe"))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(program, " (deleted)") // upgraded since
}

// errNoPID is that of a pid file that is made and not written yet, or that a power failure has emptied.
var errNoPID = errors.New("no pid in the pid file")

// readPIDFile is 0 if there is no file.
func readPIDFile(path string) (int, error) {
	text, err := readSmall(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && pid > 0 {
		return pid, nil
	}
	return 0, errNoPID
}

// writingPatience is how long a process on a busy machine may take between making the file and writing
// into it.
const writingPatience = 2 * time.Second

// readWrittenPIDFile is readPIDFile for whoever comes after a crash. A file that stays without a pid is
// removed: nobody is about to write into it.
func readWrittenPIDFile(path string) (int, error) {
	for begun := time.Now(); time.Since(begun) < writingPatience; time.Sleep(time.Millisecond) {
		if pid, err := readPIDFile(path); !errors.Is(err, errNoPID) {
			return pid, err
		}
	}
	return 0, os.Remove(path)
}

// readSmall reads a file in a directory that an engine can write to: whatever it has put there must
// neither lead us elsewhere nor hold us up.
func readSmall(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 64))
}

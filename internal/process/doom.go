package process

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// IsDoomed tells whether a process does nothing any more though it has not ended: it was killed, and each of its
// threads hangs in the kernel, most often on a disk that does not answer. Once that answers, the process ends, and none
// of its own instructions comes before that. What the kernel was asked for is still done.
func IsDoomed(pid int) bool {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	threads, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, thread := range threads {
		status, err := os.ReadFile(filepath.Join(dir, thread.Name(), "status"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) { // it has ended
			continue
		}
		if err != nil || !doomed(status) {
			return false
		}
	}
	return true
}

// doomed reads what proc_pid_status(5) says of a thread.
func doomed(status []byte) bool {
	hangs, killed := false, false
	for lines := bufio.NewScanner(bytes.NewReader(status)); lines.Scan(); {
		switch name, value, _ := strings.Cut(lines.Text(), ":"); name {
		case "State":
			state, _, _ := strings.Cut(strings.TrimSpace(value), " ")
			if state == "Z" || state == "X" { // it has ended
				return true
			}
			hangs = state == "D"
		case "SigPnd":
			pending, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			killed = err == nil && pending&(1<<(unix.SIGKILL-1)) != 0
		}
	}
	return hangs && killed
}

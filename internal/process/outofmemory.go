package process

import (
	"os"
	"path/filepath"
	"strconv"
)

// How willing the kernel's out-of-memory killer is to take a process, from -1000 to 1000, beside its size; all begin
// with 0 (proc(5), oom_score_adj).
const (
	FirstToGo = 900  // of a machine that runs out of memory
	LastToGo  = -900 // who brings the others up again
)

// SetOutOfMemory sets that for a process, and for all that it starts from then on. To raise it takes no right that who
// may signal the process does not have; to lower it takes CAP_SYS_RESOURCE, which root may lack in a container.
func SetOutOfMemory(pid, score int) error {
	f, err := os.OpenFile(filepath.Join("/proc", strconv.Itoa(pid), "oom_score_adj"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(strconv.Itoa(score))
	return err
}

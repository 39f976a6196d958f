package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
)

// Groups are the groups of one name on this machine. Of nil Groups, which a machine without has, every method does
// nothing and succeeds. All methods are for any goroutine; two processes do not change the same Groups at once.
type Groups struct {
	name    string
	places  []place
	unified bool // version 2

	mu sync.Mutex // held while directories are made and removed
}

// top is the directory that all groups of all names are in.
const top = "backstay"

// procs is the file of a group that tells, and takes, the processes in it.
const procs = "cgroup.procs"

// What the kernel says of a group that holds something still, and of a process that has ended.
const (
	errBusy = syscall.EBUSY
	errGone = syscall.ESRCH
)

// Open returns the groups of that name. Where none can be made, the error is a sentence that says why.
func Open(name string) (*Groups, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("the kernel has no control groups")
	}
	if err != nil {
		return nil, err
	}
	places, unified, err := find(string(mounts), string(own), os.Geteuid() == 0)
	if err != nil {
		return nil, err
	}
	g := &Groups{name: name, places: places, unified: unified}
	probe := "try-" + strconv.Itoa(os.Getpid())
	if err := errors.Join(g.make(probe), g.Remove(probe)); err != nil {
		return nil, fmt.Errorf("no group can be made: %w", err)
	}
	return g, nil
}

// Controls lists what is limited: "cpu", "memory", "blkio", "pids" or some of these, in this order.
func (g *Groups) Controls() []string {
	var all []string
	if g != nil {
		for _, p := range g.places {
			all = append(all, p.controls...)
		}
	}
	return intersect(all)
}

// Version is that of the kernel's interface, 1 or 2; 0 of nil Groups.
func (g *Groups) Version() int {
	switch {
	case g == nil:
		return 0
	case g.unified:
		return 2
	}
	return 1
}

// above is the directory that the groups are in at a place.
func (g *Groups) above(p place) string { return filepath.Join(p.dir, top, g.name) }

// dirOf is the group's directory that has the files of a controller; empty if that controls nothing here.
func (g *Groups) dirOf(id, controller string) string {
	for _, p := range g.places {
		if slices.Contains(p.controls, controller) {
			return filepath.Join(g.above(p), id)
		}
	}
	return ""
}

// make makes the directories of a group, unless they are there.
func (g *Groups) make(id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.places {
		var err error
		for range 10 { // somebody else may remove what is above when it is empty
			if err = g.makeAt(p, id); !errors.Is(err, os.ErrNotExist) {
				break
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (g *Groups) makeAt(p place, id string) error {
	dir := p.dir
	for _, name := range []string{top, g.name, id} {
		if g.unified {
			if err := p.delegate(dir); err != nil {
				return err
			}
		}
		dir = filepath.Join(dir, name)
		err := os.Mkdir(dir, 0o755)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err == nil && name == top {
			err = g.weigh(dir, p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// weigh gives all groups together twice the weight that the system's other processes have if these keep every
// processor busy.
func (g *Groups) weigh(dir string, p place) error {
	if !slices.Contains(p.controls, cpu) {
		return nil
	}
	return g.processor(min(Usual*2*runtime.NumCPU(), 10000)).writeTo(dir)
}

// Set makes a group, unless it is there, and puts limits in force for what is in it. It sets as many of them as it can,
// also where it fails. The kernel refuses a limit on memory that is below what is used and cannot be given back.
func (g *Groups) Set(id string, l Limits) error {
	if g == nil {
		return nil
	}
	if err := g.make(id); err != nil {
		return fmt.Errorf("make group %s: %w", id, err)
	}
	var failed []error
	for _, f := range g.files(l) {
		if dir := g.dirOf(id, f.controller); dir != "" {
			failed = append(failed, f.writeTo(dir))
		}
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("limit group %s: %w", id, err)
	}
	return nil
}

// Enter puts a process into a group that Set has made: what it starts from then on is in it too. It is
// os.ErrProcessDone for a process that has ended.
func (g *Groups) Enter(id string, pid int) error {
	if g == nil {
		return nil
	}
	for _, p := range g.places {
		err := write(filepath.Join(g.above(p), id, procs), strconv.Itoa(pid))
		if errors.Is(err, errGone) {
			return os.ErrProcessDone
		}
		if err != nil {
			return fmt.Errorf("put process %d into group %s: %w", pid, id, err)
		}
	}
	return nil
}

// Doors are files by which a process that can write them enters a group that Set has made: it writes its own number to
// each, "0" for itself. There are none of nil Groups.
func (g *Groups) Doors(id string) []string {
	if g == nil {
		return nil
	}
	var doors []string
	for _, p := range g.places {
		doors = append(doors, filepath.Join(g.above(p), id, procs))
	}
	return doors
}

// Processes lists the processes of a group; none if there is no such group. One that is in it by one controller and not
// by another, as it is half way through Enter, is left out.
func (g *Groups) Processes(id string) ([]int, error) {
	if g == nil {
		return nil, nil
	}
	var found []int
	for i, p := range g.places {
		text, err := os.ReadFile(filepath.Join(g.above(p), id, procs))
		if isAbsent(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		var here []int
		for _, field := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil && (i == 0 || slices.Contains(found, pid)) {
				here = append(here, pid)
			}
		}
		found = here
	}
	return found, nil
}

// removePatience is how long processes that were killed may take until the kernel has taken them out of their group.
const removePatience = 2 * time.Second

// Remove removes a group, in which no process is any more. That there is none is success.
func (g *Groups) Remove(id string) error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.places {
		dir := filepath.Join(g.above(p), id)
		for begun := time.Now(); ; time.Sleep(2 * time.Millisecond) {
			err := unix.Rmdir(dir)
			if err == nil || errors.Is(err, os.ErrNotExist) {
				break
			}
			if !errors.Is(err, errBusy) || time.Since(begun) > removePatience {
				return fmt.Errorf("remove group %s: %w", id, err)
			}
		}
		for above := g.above(p); above != p.dir; above = filepath.Dir(above) {
			_ = unix.Rmdir(above) // fails while there are other groups in it
		}
	}
	return nil
}

// Found lists the groups of which anything is there.
func (g *Groups) Found() ([]string, error) {
	if g == nil {
		return nil, nil
	}
	var found []string
	for _, p := range g.places {
		entries, err := os.ReadDir(g.above(p))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			if e.IsDir() {
				found = append(found, e.Name())
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// Seen is what the kernel tells of a group.
type Seen struct {
	Memory backstay.Bytes // in use, with what of files is kept in memory
	Limit  backstay.Bytes // of Memory; 0: there is none
	Killed int64          // processes that were killed for want of memory, the group's or the machine's, so far
	Met    int64          // times that the group's own limit was met, so far
	Denied int64          // times that a process could not be started, as there were as many as the limit allows, so far
}

// unlimited is less than what version 1 tells of a group without a limit, and more than any machine has.
const unlimited = 1 << 60

// Look returns what the kernel tells of a group. What it does not tell, or of a group that is not there, is 0.
func (g *Groups) Look(id string) Seen {
	if g == nil {
		return Seen{}
	}
	var s Seen
	used, most, kills := "memory.usage_in_bytes", "memory.limit_in_bytes", "memory.oom_control"
	if g.unified {
		used, most, kills = "memory.current", "memory.max", "memory.events"
	}
	if dir := g.dirOf(id, memory); dir != "" {
		s.Memory = backstay.Bytes(number(filepath.Join(dir, used), ""))
		if s.Limit = backstay.Bytes(number(filepath.Join(dir, most), "")); s.Limit >= unlimited {
			s.Limit = 0
		}
		s.Killed = number(filepath.Join(dir, kills), "oom_kill")
		if s.Met = number(filepath.Join(dir, kills), "oom"); !g.unified {
			s.Met = number(filepath.Join(dir, "memory.failcnt"), "")
		}
	}
	if dir := g.dirOf(id, pids); dir != "" {
		s.Denied = number(filepath.Join(dir, "pids.events"), "max")
	}
	return s
}

// number is the number of that name in a file of lines "name number", or the only one in it if the name is empty.
func number(path, name string) int64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(name + " " + line); name == "" && len(fields) == 1 {
			n, _ := strconv.ParseInt(fields[0], 10, 64) // 0 if it is none
			return n
		} else if len(fields) == 3 && fields[0] == fields[1] {
			n, _ := strconv.ParseInt(fields[2], 10, 64)
			return n
		}
	}
	return 0
}

// isAbsent tells whether a group is not there, or was removed while it was looked at.
func isAbsent(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENODEV)
}

// write writes to a file of the kernel's, which is there or not: it is never made.
func write(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(value)
	return err
}

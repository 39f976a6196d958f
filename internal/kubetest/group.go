package kubetest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/wait"
)

// group is the name of a cluster's control group, in every hierarchy that the machine has. Below it each node has one
// of its name, which its kubelet puts pods into.
type group string

// programs is what the groups of our own programs are called: in version 2 a group that others are in can have no
// processes.
const programs = "programs"

// hierarchies returns where the trees of control groups are mounted that processes are put into: of version 1, or the
// one of version 2.
func hierarchies() (mounts []string, unified bool, err error) {
	first, second, err := mounted()
	if err != nil {
		return nil, false, err
	}
	if len(first) == 0 && len(second) == 0 {
		return nil, false, errors.New("the machine has no control groups")
	}
	if len(first) == 0 {
		return second[:1], true, nil
	}
	return first, false, nil
}

// mounted returns where trees of each version are mounted. A machine can have both, of which runc uses both.
func mounted() (first, second []string, err error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, nil, err
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		before, after, _ := strings.Cut(lines.Text(), " - ")
		place := strings.Fields(before)[4]
		switch kind, _, _ := strings.Cut(after, " "); kind {
		case "cgroup":
			first = append(first, place)
		case "cgroup2":
			second = append(second, place)
		}
	}
	return first, second, nil
}

// make makes the cluster's groups, which are not there.
func (g group) make(nodes []string) error {
	mounts, unified, err := hierarchies()
	if err != nil {
		return err
	}
	for _, mount := range mounts {
		for _, name := range append([]string{""}, nodes...) {
			if err := makeGroup(filepath.Join(mount, string(g), name), unified); err != nil {
				return err
			}
		}
		if err := weigh(filepath.Join(mount, string(g)), unified); err != nil {
			return err
		}
		for _, name := range append([]string{""}, nodes...) {
			if err := os.Mkdir(filepath.Join(mount, string(g), name, programs), 0o755); err != nil {
				return err
			}
			if err := inheritSet(filepath.Join(mount, string(g), name, programs)); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeGroup makes one group that others are going to be in.
func makeGroup(dir string, unified bool) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if !unified {
		return inheritSet(dir)
	}
	controllers, err := os.ReadFile(filepath.Join(filepath.Dir(dir), "cgroup.controllers"))
	if err != nil {
		return err
	}
	enable := "+" + strings.Join(strings.Fields(string(controllers)), " +")
	for _, parent := range []string{filepath.Dir(dir), dir} {
		if err := os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte(enable), 0); err != nil {
			return err
		}
	}
	return nil
}

// weight is for how many processes a cluster counts where several want the processors. By itself a group counts for
// one, however many are in it, and beside the tests of another package a database would take minutes to begin.
const weight = 20

// weigh has a group have its share of the processors, if that is a hierarchy which divides these.
func weigh(dir string, unified bool) error {
	file, one := "cpu.shares", 1024
	if unified {
		file, one = "cpu.weight", 100
	}
	err := os.WriteFile(filepath.Join(dir, file), []byte(strconv.Itoa(weight*one)), 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil // the other hierarchies have no such file, and let nobody make one
	}
	return err
}

// inheritSet gives a new group of version 1 the processors and the memory of the one that it is in: it has none at
// first, and takes no process.
func inheritSet(dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		own := filepath.Join(dir, file)
		value, err := os.ReadFile(own)
		if errors.Is(err, fs.ErrNotExist) || len(bytes.TrimSpace(value)) > 0 {
			continue
		}
		if value, err = os.ReadFile(filepath.Join(filepath.Dir(dir), file)); err == nil {
			err = os.WriteFile(own, value, 0)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// join puts a process into the programs' group of a node, or of the cluster if there is no name.
func (g group) join(pid int, node string) error {
	mounts, _, err := hierarchies()
	if err != nil {
		return err
	}
	for _, mount := range mounts {
		file := filepath.Join(mount, string(g), node, programs, "cgroup.procs")
		if err := os.WriteFile(file, []byte(strconv.Itoa(pid)), 0); err != nil {
			return err
		}
	}
	return nil
}

// members returns the processes in the cluster's group, or in that of one node, and in all groups below.
func (g group) members(node string) (pids []int, err error) {
	mounts, _, err := hierarchies()
	if err != nil {
		return nil, err
	}
	for _, dir := range groupsBelow(filepath.Join(mounts[0], string(g), node)) {
		text, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs")) // or it is gone
		for _, field := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
	}
	return pids, nil
}

// groupsBelow returns the directory of a group and those of all below it, each before what is in it.
func groupsBelow(top string) (dirs []string) {
	filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			dirs = append(dirs, path)
		}
		return nil // what has gone meanwhile is not there
	})
	return dirs
}

// killAll kills every process of the cluster, or of one of its nodes, and waits until there is none.
func (g group) killAll(ctx context.Context, node string) error {
	return wait.Until(ctx, wait.Every(20*time.Millisecond), func() (again bool, err error) {
		pids, err := g.members(node)
		if err != nil || len(pids) == 0 {
			return false, err
		}
		for _, pid := range pids {
			unix.Kill(pid, unix.SIGKILL)
		}
		return true, fmt.Errorf("%d processes of the cluster live", len(pids))
	})
}

// remove removes the cluster's groups, in which no process is any more.
func (g group) remove(ctx context.Context) error {
	first, second, err := mounted()
	if err != nil {
		return err
	}
	return wait.Until(ctx, wait.Every(20*time.Millisecond), func() (again bool, last error) {
		for _, mount := range append(first, second...) {
			dirs := groupsBelow(filepath.Join(mount, string(g)))
			for i := len(dirs) - 1; i >= 0; i-- {
				if err := unix.Rmdir(dirs[i]); err != nil && err != unix.ENOENT {
					last = fmt.Errorf("remove %s: %w", dirs[i], err)
				}
			}
		}
		return last != nil, last
	})
}

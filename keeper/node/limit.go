package node

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/backstay/backstay/cgroup"
)

// group is the name of the group that the node's processes are in.
func (n Node) group() string { return filepath.Base(n.Dir) }

// Limit puts the node's limits in force for what is in its group. A node that cannot be limited serves all the same,
// which is better than none, and the log says why.
func (n Node) Limit(log *slog.Logger) { n.limit(n.Limits, log) }

func (n Node) limit(l cgroup.Limits, log *slog.Logger) {
	if err := n.Groups.Set(n.group(), l); err != nil {
		log.Warn("an engine runs without all limits of its plan", "error", err)
	}
}

// Widen puts limits in force that let the node go on as it does, and as it is about to.
func (n Node) Widen(next cgroup.Limits, log *slog.Logger) {
	if next.Memory = max(next.Memory, n.Limits.Memory); n.Limits.Memory == 0 {
		next.Memory = 0
	}
	next.Processes = max(next.Processes, n.Limits.Processes)
	n.limit(next, log)
}

// confine puts a process of the node's into its group, before it has started others.
func (n Node) confine(pid int, log *slog.Logger) {
	n.Limit(log)
	if err := n.enter(pid); err != nil {
		log.Warn("an engine runs outside of its group, and without limits", "error", err)
	}
}

func (n Node) enter(pid int) error {
	if err := n.Groups.Enter(n.group(), pid); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Gather sees to it that a node that was found running is in its group, all of whose processes an earlier keeper may
// have started elsewhere.
func (n Node) Gather(main int, log *slog.Logger) {
	n.Limit(log)
	inside, err := n.Groups.Processes(n.group())
	if n.Groups == nil || err == nil && slices.Contains(inside, main) {
		return
	}
	for found := true; found && err == nil; { // until none has started another meanwhile
		found, err = n.gatherOnce()
	}
	if err != nil {
		log.Warn("an engine that was found running is not in its group, and without limits", "error", err)
	}
}

// gatherOnce moves the node's processes that are not in its group there.
func (n Node) gatherOnce() (found bool, err error) {
	inside, err := n.Groups.Processes(n.group())
	if err != nil {
		return false, err
	}
	all, err := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		pid, _ := strconv.Atoi(filepath.Base(dir)) // 0 is nobody's
		if slices.Contains(inside, pid) || !n.owns(pid) {
			continue
		}
		found = true
		err = errors.Join(err, n.enter(pid))
	}
	return found, err
}

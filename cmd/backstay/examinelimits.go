package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/cgroup"
)

// limited is what each controller of the kernel's limits or shares out, in words.
var limited = map[string]string{"cpu": "processor", "memory": "memory", "blkio": "disk", "pids": "number of processes"}

// examineLimits makes a group of processes, and says what of their plans databases in a directory are kept to.
func examineLimits(off bool, dir string) []finding {
	const what, nothing = "limits", "nothing keeps a database to its plan's memory and processor: "
	if off {
		return []finding{{fair, what, nothing + "--limits is off", ""}}
	}
	groups, err := cgroup.Open(fmt.Sprintf("doctor-%d", os.Getpid()))
	if err != nil {
		return []finding{{fair, what, nothing + err.Error(), ""}}
	}
	var has, lacks []string
	for _, controller := range cgroup.Controllers() {
		if word := limited[controller]; slices.Contains(groups.Controls(), controller) {
			has = append(has, word)
		} else {
			lacks = append(lacks, word)
		}
	}
	state := fmt.Sprintf("by plan (control groups version %d): %s", groups.Version(), strings.Join(has, ", "))
	f := finding{good, what, state, ""}
	if len(lacks) > 0 {
		f.level, f.state = fair, f.state+"; not limited: "+strings.Join(lacks, ", ")
	}
	return []finding{f, examineDisk(dir)}
}

// chosenScheduler finds the one that is in force, as in "[mq-deadline] kyber bfq".
var chosenScheduler = regexp.MustCompile(`\[([a-z-]+)\]`)

// examineDisk says whether the disk of a directory is shared out by plan too: only one of the kernel's schedulers does
// that.
func examineDisk(dir string) finding {
	const what = "  disk"
	text, name, err := schedulersOf(dir)
	if err != nil {
		return unknown(what, err)
	}
	chosen := chosenScheduler.FindStringSubmatch(text)
	switch {
	case chosen != nil && chosen[1] == "bfq":
		return finding{good, what, "its scheduler, bfq, shares it out by plan", ""}
	case strings.Contains(text, "bfq"):
		return finding{fair, what, "its scheduler does not share it out by plan; bfq would",
			fmt.Sprintf("echo bfq >/sys/block/%s/queue/scheduler", name)}
	}
	return finding{fair, what, "it has no scheduler that shares it out by plan", ""}
}

// schedulersOf is what the kernel says of the schedulers of the disk that a directory is on, and the disk's name.
func schedulersOf(dir string) (text, name string, err error) {
	var stat unix.Stat_t
	if err := unix.Stat(dir, &stat); err != nil {
		return "", "", err
	}
	device := fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(stat.Dev), unix.Minor(stat.Dev))
	disk, err := filepath.EvalSymlinks(device)
	if err != nil {
		return "", "", err
	}
	if _, err := os.Stat(filepath.Join(disk, "partition")); err == nil {
		disk = filepath.Dir(disk)
	}
	read, err := os.ReadFile(filepath.Join(disk, "queue", "scheduler"))
	return string(read), filepath.Base(disk), err
}

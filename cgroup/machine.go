package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The controllers that are used. In version 2 the disk's is called io.
const (
	cpu    = "cpu"
	memory = "memory"
	disk   = "blkio"
	pids   = "pids"
)

var controllers = []string{cpu, memory, disk, pids}

// Controllers lists all that Groups use where the machine has it, as [Groups.Controls] does what it has.
func Controllers() []string { return slices.Clone(controllers) }

// place is a directory in which groups can be made, and what is controlled there.
type place struct {
	dir      string
	controls []string
}

// find returns where a process may make groups: of version 2 where that has controllers, else of version 1. Mounts is
// the text of /proc/self/mountinfo, own that of /proc/self/cgroup. The error is a sentence that says why there is no
// such place.
func find(mounts, own string, root bool) (places []place, unified bool, err error) {
	all := parseMounts(mounts)
	for _, m := range all {
		if m.kind != "cgroup2" {
			continue
		}
		dir, err := unifiedDir(m.dir, own, root)
		if err != nil {
			return nil, true, err
		}
		if controls := offered(dir); len(controls) > 0 {
			return []place{{dir, controls}}, true, nil
		}
	}
	for _, m := range all {
		var controls []string
		if m.kind == "cgroup" {
			controls = intersect(strings.Split(m.options, ","))
		}
		if len(controls) > 0 && !slices.ContainsFunc(places, func(p place) bool { return p.controls[0] == controls[0] }) {
			places = append(places, place{m.dir, controls})
		}
	}
	if len(places) == 0 {
		return nil, false, errors.New("no control groups of the kernel are mounted")
	}
	return places, false, nil
}

// mount is a mount of control groups. Its options name the controllers of version 1.
type mount struct{ dir, kind, options string }

// parseMounts reads mountinfo, as proc(5) has it: "36 35 98:0 /root /dir rw,noatime master:1 - type source options".
func parseMounts(text string) (found []mount) {
	for line := range strings.Lines(text) {
		front, back, ok := strings.Cut(line, " - ")
		fields, kind := strings.Fields(front), strings.Fields(back)
		if ok && len(fields) > 4 && len(kind) > 2 && strings.HasPrefix(kind[0], "cgroup") {
			found = append(found, mount{unescape.Replace(fields[4]), kind[0], kind[2]})
		}
	}
	return found
}

// unescape is for the characters that mountinfo does not write as they are.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// ourLeaf is the group that processes go to where groups are made in the one that they are in: a group that has groups
// with controllers in it cannot hold processes itself.
const ourLeaf = "backstay-platform"

// unifiedDir is where groups of version 2 are made.
func unifiedDir(mountPoint, own string, root bool) (string, error) {
	if root {
		return mountPoint, nil
	}
	for line := range strings.Lines(own) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			if filepath.Base(path) == ourLeaf {
				path = filepath.Dir(path)
			}
			return filepath.Join(mountPoint, path), nil
		}
	}
	return "", errors.New("this process is in no control group")
}

// offered is what a group of version 2 can control.
func offered(dir string) []string {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return nil
	}
	names := strings.Fields(string(text))
	for i, name := range names {
		if name == "io" {
			names[i] = disk
		}
	}
	return intersect(names)
}

// intersect is which of our controllers are among the names.
func intersect(names []string) (found []string) {
	for _, name := range controllers {
		if slices.Contains(names, name) {
			found = append(found, name)
		}
	}
	return found
}

// delegate has all controllers of a place of version 2 pass to the groups in dir, which is at or below it. The root of
// all groups may hold processes beside them; where the place is another group, those in it make way.
func (p place) delegate(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "cgroup.type")); err == nil && dir == p.dir {
		if err := p.makeWay(); err != nil {
			return err
		}
	}
	for _, name := range p.controls {
		if name == disk {
			name = "io"
		}
		if err := write(filepath.Join(dir, "cgroup.subtree_control"), "+"+name); err != nil {
			return fmt.Errorf("pass controller %s on: %w", name, err)
		}
	}
	return nil
}

// makeWay moves the processes of the place's own group into a group in it.
func (p place) makeWay() error {
	leaf := filepath.Join(p.dir, ourLeaf)
	if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	text, err := os.ReadFile(filepath.Join(p.dir, procs))
	if err != nil {
		return err
	}
	for _, pid := range strings.Fields(string(text)) {
		if err := write(filepath.Join(leaf, procs), pid); err != nil && !errors.Is(err, errGone) {
			return err
		}
	}
	return nil
}

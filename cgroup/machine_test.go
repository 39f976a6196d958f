package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/backstay/backstay"
)

// firstVersion is of a machine whose controllers are all of version 1, with an empty tree of version 2 beside them.
const firstVersion = `24 1 254:0 / / rw - ext4 /dev/vda rw
30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:1 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/name\040d rw - cgroup cgroup rw,name=systemd
34 30 0:30 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
35 30 0:30 / /elsewhere/pids rw - cgroup cgroup rw,pids
36 30 0:31 / EMPTY rw - cgroup2 cgroup2 rw
`

func TestFind(t *testing.T) {
	t.Parallel()
	empty, unified := t.TempDir(), t.TempDir()
	below := filepath.Join(unified, "user.slice", "backstay")
	for dir, controls := range map[string]string{empty: "hugetlb\n", unified: "cpuset cpu io memory pids\n", below: "memory pids\n"} {
		if err := errors.Join(os.MkdirAll(dir, 0o700),
			os.WriteFile(filepath.Join(dir, "cgroup.controllers"), []byte(controls), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	first := strings.ReplaceAll(firstVersion, "EMPTY", empty)
	second := "30 1 0:31 / " + unified + " rw - cgroup2 cgroup2 rw,nsdelegate\n"
	own := []place{{below, []string{memory, pids}}}
	for _, tc := range []struct {
		name, mounts, own string
		root, unified     bool
		want              []place
		reason            string
	}{
		{"version 1", first, "5:memory:/a\n0::/\n", true, false, []place{{"/sys/fs/cgroup/cpu,cpuacct", []string{cpu}},
			{"/sys/fs/cgroup/memory", []string{memory}}, {"/sys/fs/cgroup/pids", []string{pids}}}, ""},
		{"version 2 as root", second, "0::/system.slice/backstay.service\n", true, true, []place{{unified, controllers}}, ""},
		{"delegated", second, "0::/user.slice/backstay\n", false, true, own, ""},
		{"delegated, again", second, "0::/user.slice/backstay/" + ourLeaf + "\n", false, true, own, ""},
		{"in no group", second, "", false, true, nil, "in no control group"},
		{"none", "24 1 254:0 / / rw - ext4 /dev/vda rw\n", "", true, false, nil, "are mounted"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			places, unified, err := find(tc.mounts, tc.own, tc.root)
			if (err == nil) != (tc.reason == "") || err != nil && !strings.Contains(err.Error(), tc.reason) {
				t.Fatalf("error %v, want %q", err, tc.reason)
			}
			if unified != tc.unified || !reflect.DeepEqual(places, tc.want) {
				t.Errorf("%v, version 2: %t, want %v", places, unified, tc.want)
			}
		})
	}
}

// TestFilesOfVersion2 writes to a directory that has the files of a group: what of it a kernel does is not seen here.
func TestFilesOfVersion2(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	group := filepath.Join(root, top, "name", "one")
	files := map[string]string{
		"cgroup.procs": "", "cpu.weight": "", "io.weight": "", "memory.max": "", "memory.swap.max": "", "pids.max": "",
		"memory.current": "4096\n", "memory.events": "low 0\noom 3\noom_kill 2\noom_group_kill 0\n", "pids.events": "max 7\n",
	}
	if err := os.MkdirAll(group, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(group, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{root, filepath.Join(root, top), filepath.Join(root, top, "name")} {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g := &Groups{name: "name", places: []place{{root, controllers}}, unified: true}
	if err := g.Set("one", Limits{Memory: backstay.MB, Processes: 9, Weight: 250}); err != nil {
		t.Fatal(err)
	}
	if err := g.Enter("one", 4711); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"cgroup.procs": "4711", "cpu.weight": "250", "io.weight": "default 250",
		"memory.max": "1048576", "memory.swap.max": "0", "pids.max": "9"} {
		if text, err := os.ReadFile(filepath.Join(group, name)); string(text) != want {
			t.Errorf("%s is %q, want %q (%v)", name, text, want, err)
		}
	}
	if seen := g.Look("one"); seen != (Seen{Memory: 4096, Limit: backstay.MB, Killed: 2, Met: 3, Denied: 7}) {
		t.Errorf("it tells %+v", seen)
	}
	text, err := os.ReadFile(filepath.Join(root, top, "name", "cgroup.subtree_control"))
	if !strings.HasPrefix(string(text), "+") {
		t.Errorf("controllers are passed on by %q, %v", text, err)
	}
}

package pgserver

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestManifestThatLeavesTheDirectory(t *testing.T) {
	t.Parallel()
	const manifest = "[backup]\nbackup-label=\"20261127-151644F\"\n\n[target:file]\npg_data/PG_VERSION={\"size\":3}\n%s\n" +
		"[target:path]\npg_data={}\npg_data/base={}\n"
	for name, leads := range map[string]bool{
		"": false, "pg_data/base/1/112={}": false, "pg_data/..data={}": false,
		"pg_data/../../etc/passwd={}": true, "/etc/passwd={}": true, "pg_tblspc/16384/x={}": true, "..={}": true,
		"[target:link]\npg_data/link={\"destination\":\"/etc\"}": true,
	} {
		if leaves([]byte(fmt.Sprintf(manifest, name))) != leads {
			t.Errorf("%q: want %v", name, leads)
		}
	}
	if !leaves([]byte("[target:file]\npg_data/" + strings.Repeat("x", 2<<20))) {
		t.Error("a line that is too long to be read is passed over")
	}
}

func TestSegmentsFollowEachOther(t *testing.T) {
	t.Parallel()
	for range 1000 {
		number, timeline := rand.Uint64N(1<<40), rand.Uint32()
		name := func(n uint64) string { return fmt.Sprintf("%08X%08X%08X", timeline, n>>8, n&0xff) }
		if got := following(name(number)); got != name(number+1) {
			t.Fatalf("after %s comes %s, want %s", name(number), got, name(number+1))
		}
	}
	for _, other := range []string{"", "00000002.history", "x"} {
		if got := following(other); got != "" {
			t.Errorf("after %q comes %q", other, got)
		}
	}
}

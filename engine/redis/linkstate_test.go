package redis

import (
	"strings"
	"testing"
	"time"
)

// TestReadLink reads what Redis 7.0.15 says.
func TestReadLink(t *testing.T) {
	t.Parallel()
	primary := readLink(lines("# Replication", "role:master", "connected_slaves:2",
		"slave0:ip=b,port=7812,state=online,offset=42,lag=1", "slave1:ip=c,port=7813,state=wait_bgsave,offset=0,lag=7",
		"master_replid:a9e6", "master_repl_offset:56", "# Persistence", "loading:0", "aof_enabled:1"))
	if !primary.primary || primary.history != "a9e6" || primary.offset != 56 || len(primary.nodes) != 2 ||
		primary.nodes["b"] != (linkedNode{true, 42, time.Second}) ||
		primary.nodes["c"] != (linkedNode{false, 0, 7 * time.Second}) {
		t.Errorf("the primary: %+v", primary)
	}
	const follows = "role:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:7811\r\nmaster_replid:a9e6\r\n"
	for _, tc := range []struct {
		name             string
		said             []string
		up, copied, lead bool
		silent           time.Duration
	}{
		{"follows", []string{"master_link_status:up", "master_sync_in_progress:0", "slave_repl_offset:42"},
			true, true, true, 0},
		{"is being sent a copy", []string{"master_link_status:down", "master_sync_in_progress:1", "slave_repl_offset:1",
			"master_link_down_since_seconds:-1", "uptime_in_seconds:5"}, false, false, false, 5 * time.Second},
		{"is sent another copy", []string{"master_link_status:down", "master_sync_in_progress:1", "slave_repl_offset:1",
			"master_link_down_since_seconds:3"}, false, false, false, 3 * time.Second},
		{"has just lost its primary", []string{"master_link_status:down", "master_sync_in_progress:0",
			"slave_repl_offset:42", "master_link_down_since_seconds:0"}, false, true, true, time.Second},
		{"lost its primary long ago", []string{"master_link_status:down", "master_sync_in_progress:0",
			"slave_repl_offset:42", "master_link_down_since_seconds:61"}, false, true, false, 61 * time.Second},
	} {
		s := readLink(follows + lines(tc.said...))
		if s.primary || s.host != "127.0.0.1" || s.port != "7811" || s.up != tc.up || s.hasCopy() != tc.copied ||
			s.mayLead() != tc.lead || s.silent != tc.silent {
			t.Errorf("a node that %s: %+v", tc.name, s)
		}
	}
}

// TestCopyComesNearer: what is left falls from the first byte that is read to the last one that is written.
func TestCopyComesNearer(t *testing.T) {
	t.Parallel()
	const all = 1000
	last := readLink("").toLoad(all) + 1
	for _, said := range []string{"loading_loaded_bytes:0", "loading_loaded_bytes:400", "loading_loaded_bytes:1200"} {
		if now := readLink(said + "\r\n").toLoad(all); now >= last || now < all {
			t.Errorf("%s: %d are left, and before %d", said, now, last)
		} else {
			last = now
		}
	}
	for _, said := range []string{"0", "1", "200", "400"} {
		now := readLink(lines("used_memory:999", "current_save_keys_total:400", "current_save_keys_processed:"+said)).toSave()
		if now >= last || now < 0 {
			t.Errorf("%s of 400 keys are written: %d are left, and before %d", said, now, last)
		}
		last = now
	}
}

func lines(all ...string) string { return strings.Join(all, "\r\n") + "\r\n" }

package redis_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine/enginetest"
)

// TestLessMemoryThanData gives a server less memory than its data takes, under each kind of policy.
func TestLessMemoryThanData(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		policy  string
		expires int // every such key expires; 0: none
		refused string
	}{
		{"noeviction", 1, "The data takes"},
		{"volatile-lru", 0, "Data that never expires takes about"},
		{"volatile-lru", 1, ""},
		{"allkeys-lru", 0, ""},
	} {
		t.Run(fmt.Sprint(tc.policy, tc.expires), func(t *testing.T) {
			t.Parallel()
			n := enginetest.NewNode(t, tested)
			n.Settings = json.RawMessage(`{"maxmemory_policy": "` + tc.policy + `"}`)
			n.Size.Memory = 64 * backstay.MB
			enginetest.Serve(t, tested, n)
			c := asOperator(t, n)
			fillKeys(t, c, tc.expires)
			smaller := n
			smaller.Size.Memory = 8 * backstay.MB
			err := tested.Check(t.Context(), smaller)
			if _, again := tested.Reload(t.Context(), smaller); (err == nil) != (again == nil) {
				t.Errorf("a check says %v, and a reload %v", err, again)
			}
			memory := c.ConfigGet(t.Context(), "maxmemory").Val()["maxmemory"]
			if tc.refused == "" {
				if err != nil || memory != fmt.Sprint(8<<20) {
					t.Errorf("it is refused though the policy evicts: %v; the memory is %s", err, memory)
				}
				return
			}
			if backstay.KindOf(err) != backstay.Unsupported || !strings.HasPrefix(backstay.SentenceOf(err), tc.refused) {
				t.Errorf("%v, want it to be refused with %q", err, tc.refused)
			}
			if keys := c.DBSize(t.Context()).Val(); keys != manyKeys || memory != fmt.Sprint(64<<20) {
				t.Errorf("%d keys are left, and %s bytes of memory", keys, memory)
			}
		})
	}
}

const manyKeys = 3000

// fillKeys stores some 20 MB.
func fillKeys(t *testing.T, c *goredis.Client, expires int) {
	t.Helper()
	value := strings.Repeat("v", 7000)
	_, err := c.Pipelined(t.Context(), func(p goredis.Pipeliner) error {
		for i := range manyKeys {
			p.Set(t.Context(), fmt.Sprint("key", i), value, 0)
			if expires > 0 && i%expires == 0 {
				p.Do(t.Context(), "EXPIRE", fmt.Sprint("key", i), 3600)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestMoreClientsThanFiles gives a server more clients than the machine lets it have files for: it takes as many as it
// can, as it does at a start.
func TestMoreClientsThanFiles(t *testing.T) {
	t.Parallel()
	n := enginetest.NewNode(t, tested)
	n.Account = nil // only a process of our own user can be given other limits everywhere
	enginetest.Serve(t, tested, n)
	p, err := n.Admin.Process()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	few := unix.Rlimit{Cur: 500, Max: 500}
	if err := unix.Prlimit(p.PID, unix.RLIMIT_NOFILE, &few, nil); err != nil {
		t.Fatal(err)
	}
	n.Size.Connections = 2000
	for range 2 {
		if restart, err := tested.Reload(t.Context(), n); restart || err != nil {
			t.Errorf("more clients than files: restart %t, %v", restart, err)
		}
	}
	clients := asOperator(t, n).ConfigGet(t.Context(), "maxclients").Val()["maxclients"]
	if clients == "36" || clients == "2016" {
		t.Errorf("it takes %s clients, want as many as it has files for", clients)
	}
}

package redis

import (
	"testing"

	"github.com/backstay/backstay"
)

const someInfo = "# Memory\r\nused_memory:9000000\r\nused_memory_human:8.58M\r\nmem_not_counted_for_evict:1000000\r\n" +
	"\r\n# Keyspace\r\ndb0:keys=60,expires=10,avg_ttl=0\r\ndb3:keys=20,expires=10,avg_ttl=12\r\n"

func TestWhatStays(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string]backstay.Bytes{
		"noeviction": 8_000_000, "volatile-lru": 6_000_000, "volatile-ttl": 6_000_000,
	} {
		if got := readHolding(someInfo).stays(policy); got != want {
			t.Errorf("with %s %d bytes stay, want %d", policy, got, want)
		}
	}
	if got := readHolding("used_memory:900\r\n").stays("volatile-lru"); got != 900 {
		t.Errorf("of a server without keys %d bytes stay", got)
	}
}

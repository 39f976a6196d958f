package redis_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine/enginetest"
)

// TestTuning puts what users choose in force while the server runs, and takes it back.
func TestTuning(t *testing.T) {
	t.Parallel()
	n := enginetest.NewNode(t, tested)
	enginetest.Serve(t, tested, n)
	c := asOperator(t, n)
	held := func(name, want string) {
		t.Helper()
		if got := c.ConfigGet(t.Context(), name).Val()[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, setting := range tested.Tuning(n.Installation) {
		want := setting.Default
		if want == "off" {
			want = "no"
		}
		held(setting.Name, want)
	}
	n.Settings = json.RawMessage(`{"maxmemory_policy": "allkeys-lru",
		"settings": {"timeout": 600, "notify-keyspace-events": "KEA", "lazyfree-lazy-user-del": true, "appendfsync": "always"}}`)
	if restart, err := tested.Reload(t.Context(), n); restart || err != nil {
		t.Fatalf("a restart: %t, %v", restart, err)
	}
	held("timeout", "600")
	held("notify-keyspace-events", "AKE")
	held("lazyfree-lazy-user-del", "yes")
	held("appendfsync", "always")
	held("maxmemory-policy", "allkeys-lru")
	n.Settings = nil
	if restart, err := tested.Reload(t.Context(), n); restart || err != nil {
		t.Fatalf("a restart: %t, %v", restart, err)
	}
	held("timeout", "0")
	held("notify-keyspace-events", "")
	held("appendfsync", "everysec")
	for given, words := range map[string]string{
		`{"settings": {"databases": 64}}`:              "Unknown setting: databases.",
		`{"settings": {"appendfsync": "no"}}`:          "Setting appendfsync cannot be \"no\". It takes everysec, always.",
		`{"settings": {"timeout": -1}}`:                "It takes 0 to 31536000.",
		`{"settings": {"lazyfree-lazy-expire": "no"}}`: "It takes true or false.",
	} {
		n.Settings = json.RawMessage(given)
		err := tested.Check(t.Context(), n)
		if backstay.KindOf(err) != backstay.Invalid || !strings.Contains(backstay.SentenceOf(err), words) {
			t.Errorf("%s: %v, want %q", given, err, words)
		}
	}
}

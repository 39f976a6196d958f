package postgres_test

import (
	"testing"

	"github.com/backstay/backstay/engine/postgres"
)

// TestHostedUpgrade has whoever runs the server bring its data to another major version.
func TestHostedUpgrade(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	newer := newerOf(t, h.node).Installation
	h.node.Settings = []byte(`{"collation": "en-US", "enable_extensions": ["pgcrypto", "unaccent"]}`)
	s := h.serve()
	established(t, s)
	w, r := s.bind(t), s.bindReadOnly(t)
	w.makeWhatIsHard(t)
	if err := (postgres.Engine{}).PrepareUpgrade(t.Context(), s.Node); err != nil {
		t.Fatal(err)
	}
	h.stop()
	if err := h.upgrade(newer); err != nil {
		t.Fatal(err)
	}
	s = h.serve()
	for range 2 {
		if err := (postgres.Engine{}).FinishUpgrade(t.Context(), s.Node); err != nil {
			t.Fatal(err)
		}
	}
	established(t, s)
	testBroughtOver(t, w.of(s), r.of(s))
}

func established(t *testing.T, s server) {
	t.Helper()
	if err := (postgres.Engine{}).Establish(t.Context(), s.Node); err != nil {
		t.Fatalf("Establish: %v", err)
	}
	if err := (postgres.Engine{}).Configure(t.Context(), s.Node); err != nil {
		t.Fatalf("Configure: %v", err)
	}
}

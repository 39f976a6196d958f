package state

import (
	"log/slog"
	"testing"
	"time"

	"github.com/backstay/backstay/market"
)

// TestUsageBeginsWithWhatIsThere upgrades a database that knew no usage: instances that are up have cost
// since they were made, and of what was before nothing more can be known.
func TestUsageBeginsWithWhatIsThere(t *testing.T) {
	t.Parallel()
	pool := migratedBefore(t, "0009")
	mustExec(t, pool, `
		INSERT INTO market.organizations (id, name) VALUES ('o', 'acme');
		INSERT INTO market.spaces (id, organization_id, name) VALUES ('s', 'o', 'dev');
		INSERT INTO market.offerings (id, name, description, documentation_url, tags, shareable, available)
			VALUES ('f', 'postgres', '', '', '{}', true, true);
		INSERT INTO market.plans (id, offering_id, position, name, description, free, costs, schemas, available)
			VALUES ('p', 'f', 0, 'S', '', false, '[{"Amount": 30, "Currency": "GBP", "Unit": "MONTHLY"}]', '{}', true);
		INSERT INTO market.instances (id, space_id, plan_id, name, tags, op_type, op_state, op_description, created_at)
			VALUES
			('up', 's', 'p', 'up', '{}', 'create', 'succeeded', '', '2026-06-01Z'),
			('renamed', 's', 'p', 'renamed', '{}', 'update', 'succeeded', '', '2026-06-01Z'),
			('going', 's', 'p', 'going', '{}', 'delete', 'in progress', '', '2026-06-01Z'),
			('coming', 's', 'p', 'coming', '{}', 'create', 'in progress', '', '2026-06-01Z'),
			('failed', 's', 'p', 'failed', '{}', 'create', 'failed', '', '2026-06-01Z'),
			('failing', 's', 'p', 'failing', '{}', 'delete', 'in progress', '', '2026-06-01Z');
		INSERT INTO market.jobs (id, operation, resource, state, sentence)
			VALUES ('j', 'service_instance.create', 'failing', 'FAILED', 'no')`)
	before := time.Now()
	s, err := Open(t.Context(), pool.Config().ConnString(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l, err := s.UsageEvents(t.Context(), market.UsageFilter{})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, u := range l.Items {
		found[u.InstanceName] = true
		if !u.CreatedAt.Equal(time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)) || u.Costs[0].Amount != 30 ||
			u.OrganizationName != "acme" {
			t.Errorf("seeded as %+v", u)
		}
	}
	if len(found) != 3 || !found["up"] || !found["renamed"] || !found["going"] {
		t.Errorf("seeded with %v; want up, renamed and going", found)
	}
	known, err := s.UsageHorizon(t.Context())
	if err != nil || known.Before(before.Add(-time.Second)) {
		t.Errorf("usage is known since %v, %v; want since the upgrade at %v", known, err, before)
	}
}

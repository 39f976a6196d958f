package state_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/state"
)

// TestUsageBeginsWithWhatIsThere upgrades a database that knew no usage: instances that are up have cost
// since they were made, and of what was before nothing more can be known.
func TestUsageBeginsWithWhatIsThere(t *testing.T) {
	t.Parallel()
	dsn := testkit.Postgres(t)
	open := func() *state.Store {
		s, err := state.Open(t.Context(), dsn, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	open().Close()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), `
		DROP TABLE market.usage_events, market.usage_horizon;
		DROP INDEX audit.events_by_refused_actor;
		ALTER TABLE market.jobs DROP COLUMN actor;
		DELETE FROM public.migrations WHERE name LIKE '%/0009_%';
		INSERT INTO market.organizations (id, name) VALUES ('o', 'acme');
		INSERT INTO market.spaces (id, organization_id, name) VALUES ('s', 'o', 'dev');
		INSERT INTO market.offerings (id, name, description, documentation_url, tags, shareable, available) VALUES ('f', 'postgres', '', '', '{}', true, true);
		INSERT INTO market.plans (id, offering_id, position, name, description, free, costs, schemas, available)
			VALUES ('p', 'f', 0, 'S', '', false, '[{"Amount": 30, "Currency": "GBP", "Unit": "MONTHLY"}]', '{}', true);
		INSERT INTO market.instances (id, space_id, plan_id, name, tags, op_type, op_state, op_description, created_at) VALUES
			('up', 's', 'p', 'up', '{}', 'create', 'succeeded', '', '2026-06-01Z'),
			('renamed', 's', 'p', 'renamed', '{}', 'update', 'succeeded', '', '2026-06-01Z'),
			('going', 's', 'p', 'going', '{}', 'delete', 'in progress', '', '2026-06-01Z'),
			('coming', 's', 'p', 'coming', '{}', 'create', 'in progress', '', '2026-06-01Z'),
			('failed', 's', 'p', 'failed', '{}', 'create', 'failed', '', '2026-06-01Z'),
			('failing', 's', 'p', 'failing', '{}', 'delete', 'in progress', '', '2026-06-01Z');
		INSERT INTO market.jobs (id, operation, resource, state, sentence) VALUES ('j', 'service_instance.create', 'failing', 'FAILED', 'no')`)
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	s := open()
	defer s.Close()
	l, err := s.UsageEvents(t.Context(), market.UsageFilter{})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, u := range l.Items {
		found[u.InstanceName] = true
		if !u.CreatedAt.Equal(time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)) || u.Costs[0].Amount != 30 || u.OrganizationName != "acme" {
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

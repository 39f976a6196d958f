package state

import (
	"io/fs"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/market"
)

// migratedBefore is a database as an installation left it that had not seen the migration.
func migratedBefore(t *testing.T, migration string) *pgxpool.Pool {
	t.Helper()
	ctx := t.Context()
	pool, err := pgxpool.New(ctx, testkit.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	err = pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		if _, err := conn.Exec(ctx, createMigrations); err != nil {
			return err
		}
		for _, name := range names {
			if name >= "migrations/"+migration {
				return nil
			}
			if err := apply(ctx, conn.Conn(), name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

func mustExec(t *testing.T, pool *pgxpool.Pool, sql string) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// An installation that is there already has organizations, with what they use, and may have taken Redis off sale.
func TestQuotasComeToWhatIsThere(t *testing.T) {
	t.Parallel()
	pool := migratedBefore(t, "0007")
	mustExec(t, pool, `INSERT INTO market.organizations (id, name) VALUES ('org', 'org')`)
	mustExec(t, pool, `INSERT INTO market.spaces (id, organization_id, name) VALUES ('space', 'org', 'space')`)
	mustExec(t, pool, `INSERT INTO market.offerings (id, name, description, documentation_url, tags, shareable, available)
		VALUES ('sold', 'sold', '', '', '{}', true, true), ('withdrawn', 'withdrawn', '', '', '{}', true, false)`)
	mustExec(t, pool, `INSERT INTO market.plans (id, offering_id, position, name, description, free, costs, schemas,
		available)
		VALUES ('paid', 'sold', 0, 'paid', '', false, '[]', '{}', true),
			('old', 'sold', 1, 'old', '', true, '[]', '{}', false),
			('tiny', 'withdrawn', 0, 'tiny', '', true, '[]', '{}', false)`)
	mustExec(t, pool, `INSERT INTO market.instances (id, space_id, plan_id, name, tags, op_type, op_state, op_description)
		SELECT 'i' || n, 'space', 'paid', 'i' || n, '{}', 'create', 'succeeded', '' FROM generate_series(1, 12) n`)
	if err := migrate(t.Context(), pool); err != nil {
		t.Fatal(err)
	}

	s := &Store{pool: pool}
	o, err := s.Organizations(t.Context(), market.OrganizationFilter{})
	if err != nil || len(o.Items) != 1 || o.Items[0].QuotaID != backstay.DefaultQuota {
		t.Errorf("organizations %+v, %v", o.Items, err)
	}
	for id, want := range map[backstay.PlanID]backstay.Visibility{"paid": backstay.PublicPlan,
		"old": backstay.PublicPlan, "tiny": backstay.AdminPlan} {
		p, err := s.Plans(t.Context(), market.PlanFilter{IDs: []backstay.PlanID{id}})
		if err != nil || len(p.Items) != 1 || p.Items[0].Visibility != want {
			t.Errorf("plan %+v, %v; want it %s", p.Items, err, want)
		}
	}
	if err := s.AdmitInstance(t.Context(), "space", "old"); backstay.KindOf(err) != backstay.Invalid {
		t.Errorf("a thirteenth instance: %v", err)
	}
}

// A program that is older than its database, or a command that is newer, changes nothing and says so.
func TestASchemaThatIsNotOursIsRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"newer migration": `INSERT INTO public.migrations (name) VALUES ('migrations/9999_future.sql')`,
		"newer job queue": `INSERT INTO river.river_migration (line, version) VALUES ('main', 9999)`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := migratedBefore(t, "9")
			if err := migrate(t.Context(), pool); err != nil {
				t.Fatal(err)
			}
			mustExec(t, pool, change)
			mustExec(t, pool, `DROP SCHEMA uaa CASCADE; DELETE FROM public.migrations WHERE name LIKE '%_uaa.sql'`)
			err := migrate(t.Context(), pool)
			if backstay.KindOf(err) != backstay.Unsupported || !strings.Contains(backstay.SentenceOf(err), "9999") {
				t.Errorf("it is refused with %v", err)
			}
			var made bool
			if err := pool.QueryRow(t.Context(), `SELECT to_regnamespace('uaa') IS NOT NULL`).Scan(&made); err != nil || made {
				t.Errorf("something was changed: %t, %v", made, err)
			}
		})
	}
}

func TestACommandDoesNotMigrate(t *testing.T) {
	t.Parallel()
	pool := migratedBefore(t, "0007")
	_, err := OpenBeside(t.Context(), pool.Config().ConnString(), slog.New(slog.DiscardHandler))
	if backstay.KindOf(err) != backstay.Unsupported || !strings.Contains(backstay.SentenceOf(err), "restart") {
		t.Errorf("an older schema: %v", err)
	}
	s := schemaOf(t, pool)
	if len(s.missing) == 0 || s.jobs != 0 {
		t.Errorf("it was changed to %+v", s)
	}
}

func schemaOf(t *testing.T, pool *pgxpool.Pool) schema {
	t.Helper()
	s, err := compareSchema(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What is there already is from the one broker that there was, and keeps its guids.
func TestOfferingsComeToTheirBroker(t *testing.T) {
	t.Parallel()
	pool := migratedBefore(t, "0015")
	const service, plan = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"
	mustExec(t, pool, `INSERT INTO market.offerings (id, name, description, documentation_url, tags, shareable, available)
		VALUES ('`+service+`', 'postgres', '', '', '{}', true, true)`)
	mustExec(t, pool, `INSERT INTO market.plans (id, offering_id, position, name, description, free, costs, schemas,
		available)
		VALUES ('`+plan+`', '`+service+`', 0, 'Free', '', true, '[]', '{}', true)`)
	mustExec(t, pool, `INSERT INTO market.usage_events (id, state, instance_id, instance_name, organization_id,
			organization_name, space_id, space_name, plan_id, plan_name, offering_id, offering_name, costs)
		VALUES ('u', 'CREATED', 'i', 'i', 'o', 'o', 's', 's', '`+plan+`', 'Free', '`+service+`', 'postgres', '[]')`)
	if err := migrate(t.Context(), pool); err != nil {
		t.Fatal(err)
	}

	s := &Store{pool: pool}
	brokers, err := s.ServiceBrokers(t.Context(), market.BrokerFilter{})
	must(t, err)
	own := brokers.Items[0]
	must(t, s.KeepCatalog(t.Context(), own, []backstay.CatalogOffering{{
		ID: service, Name: "postgres", Plans: []backstay.CatalogPlan{{ID: plan, Name: "Free"}},
	}}, func(market.CatalogChange) backstay.Event { return backstay.Event{} }))
	offerings, err := s.Offerings(t.Context(), market.OfferingFilter{})
	if err != nil || len(offerings.Items) != 1 || offerings.Items[0].ID != service ||
		offerings.Items[0].BrokerID != own.ID {
		t.Errorf("offerings %+v, %v", offerings.Items, err)
	}
	plans, err := s.Plans(t.Context(), market.PlanFilter{})
	if err != nil || len(plans.Items) != 1 || plans.Items[0].ID != plan || plans.Items[0].ServicePlanID != plan {
		t.Errorf("plans %+v, %v", plans.Items, err)
	}
	usage, err := s.UsageEvents(t.Context(), market.UsageFilter{})
	if err != nil || len(usage.Items) != 1 || usage.Items[0].BrokerName != own.Name {
		t.Errorf("usage %+v, %v", usage.Items, err)
	}
}

// An installation that is there already has one generation of each instance, and operations in all states.
func TestOperationsComeToWhatIsThere(t *testing.T) {
	t.Parallel()
	pool := migratedBefore(t, "0014")
	mustExec(t, pool, `INSERT INTO broker.instances (id, offering_id, plan_id, organization_id, space_id, parameters,
		spec,
			operation_id, op_type, op_state, op_description)
		SELECT n, 'service', 'plan', 'org', 'space', 'parameters', convert_to('spec of ' || n, 'UTF8'), n || '-op', type,
			state, 'It is so.'
		FROM (VALUES ('serves', 'create', 'succeeded'), ('comes', 'create', 'in progress'), ('failed', 'create', 'failed'),
			('goes', 'delete', 'in progress'), ('stays', 'delete', 'failed')) v (n, type, state)`)
	if err := migrate(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	s := Broker{&Store{pool: pool}}
	for id, want := range map[backstay.InstanceID]struct{ accepted, wanted string }{
		"serves": {accepted: "spec of serves"}, "comes": {wanted: "spec of comes"}, "failed": {},
		"goes": {accepted: "spec of goes"}, "stays": {accepted: "spec of stays"},
	} {
		in, err := s.Instance(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		op := in.Operation
		if string(in.Spec) != want.accepted || string(op.Spec) != want.wanted || string(in.Parameters) != "parameters" ||
			in.Backend != "local" || string(op.ID) != string(id)+"-op" || op.Description != "It is so." ||
			op.Cause != broker.ByUser {
			t.Errorf("%s has become %+v", id, in)
		}
		if generation := int64(min(1, len(want.accepted))); in.Generation != generation {
			t.Errorf("%s is accepted as generation %d, want %d", id, in.Generation, generation)
		}
	}
	if comes, err := s.Operation(t.Context(), "comes-op"); err != nil || comes.Generation != 1 || comes.PlanID != "plan" {
		t.Errorf("a create that was in progress goes on as %+v, %v", comes, err)
	}
}

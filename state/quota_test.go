package state

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/market"
)

// TestQuotasAndAccessLeaveEvents changes everything about them once, and reads what is recorded.
func TestQuotasAndAccessLeaveEvents(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, err := Open(ctx, testkit.Postgres(t), slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(s.Close)
	m := &market.Market{Store: s, Log: slog.New(slog.DiscardHandler)}
	admin := backstay.Actor{UserID: "admin", Username: "admin", Role: backstay.Administrator, Address: "192.0.2.7"}
	const tiny = "00000000-0000-4000-8000-0000000000f1"
	must(t, s.KeepCatalog(ctx, backstay.ServiceBroker{ID: "broker", Name: "broker"}, []backstay.CatalogOffering{{
		ID: "redis", Name: "redis", Private: true, Plans: []backstay.CatalogPlan{{ID: tiny, Name: "tiny"}},
	}}, func(market.CatalogChange) backstay.Event { return backstay.Event{} }))
	_, err = s.AddOrganization(ctx, backstay.Organization{ID: "org", Name: "org"}, backstay.Event{})
	must(t, err)
	_, err = s.AddSpace(ctx, backstay.Space{ID: "space", OrganizationID: "org", Name: "space"}, backstay.Event{})
	must(t, err)

	name, three := "small", int64(3)
	asked := market.QuotaUpdate{Name: &name, Limits: map[backstay.Limit]*int64{backstay.ServiceInstances: &three}}
	change := market.QuotaUpdate{Limits: map[backstay.Limit]*int64{backstay.ServiceInstances: nil}}
	deleted := func(forSpaces bool, id backstay.QuotaID) {
		j, err := m.DeleteQuota(ctx, admin, forSpaces, id)
		must(t, err)
		must(t, m.Work(ctx, j.ID, true))
	}
	q, err := m.CreateQuota(ctx, admin, market.NewQuota{QuotaUpdate: asked})
	must(t, err)
	_, err = m.UpdateQuota(ctx, admin, false, q.ID, change)
	must(t, err)
	_, err = m.ApplyQuota(ctx, admin, q.ID, []backstay.OrganizationID{"org"})
	must(t, err)
	_, err = m.ApplyQuota(ctx, admin, backstay.DefaultQuota, []backstay.OrganizationID{"org"})
	must(t, err)
	deleted(false, q.ID)
	q, err = m.CreateQuota(ctx, admin, market.NewQuota{QuotaUpdate: asked, OrganizationID: "org"})
	must(t, err)
	_, err = m.UpdateQuota(ctx, admin, true, q.ID, change)
	must(t, err)
	_, err = m.ApplySpaceQuota(ctx, admin, q.ID, []backstay.SpaceID{"space"})
	must(t, err)
	must(t, m.RemoveSpaceQuota(ctx, admin, q.ID, "space"))
	deleted(true, q.ID)
	must(t, m.SetVisibility(ctx, admin, tiny,
		market.NewVisibility{Type: backstay.OrganizationPlan, OrganizationIDs: []backstay.OrganizationID{"org"}}))
	must(t, m.RemoveVisibility(ctx, admin, tiny, "org"))

	rows, err := s.pool.Query(ctx, `SELECT concat_ws(' ', type, target_type, target_name, nullif(organization_id, ''),
		nullif(space_id, ''), nullif(data::text, '{}'))
		FROM audit.events WHERE actor_name = 'admin' AND address = '192.0.2.7' ORDER BY created_at, id`)
	must(t, err)
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(t, err)
	want := []string{
		`audit.organization_quota.create organization_quota small {"request": {"name": "small",` +
			` "total_service_instances": 3}}`,
		`audit.organization_quota.update organization_quota small {"request": {"total_service_instances": null}}`,
		`audit.organization_quota.apply organization_quota small org`,
		`audit.organization_quota.apply organization_quota default org`,
		`audit.organization_quota.delete organization_quota small`,
		`audit.space_quota.create space_quota small org {"request": {"name": "small", "total_service_instances": 3}}`,
		`audit.space_quota.update space_quota small org {"request": {"total_service_instances": null}}`,
		`audit.space_quota.apply space_quota small org space`,
		`audit.space_quota.remove space_quota small org space`,
		`audit.space_quota.delete space_quota small org`,
		`audit.service_plan_visibility.update service_plan_visibility  {"request": {"type": "organization",` +
			` "organizations": ["org"]}}`,
		`audit.service_plan_visibility.delete service_plan_visibility  org`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("recorded\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

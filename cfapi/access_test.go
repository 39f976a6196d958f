package cfapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
)

// TestAPlanIsForThoseItIsEnabledFor follows a plan from hidden to enabled to hidden again, with the eyes of a
// developer of two organizations, of which one has access to it.
func TestAPlanIsForThoseItIsEnabledFor(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const plan = "00000000-0000-4000-8000-00000000000c" // M-dedicated-15
	here, there := h.scene(t, ""), h.scene(t, "")
	for _, s := range []*scene{here, there} {
		s.grant("space_developer", "space_developer")
		allowPaidPlans(t, h.server.Market)
	}
	ask := func(who, method, path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Authorization", "bearer "+who)
		w := httptest.NewRecorder()
		h.handler.ServeHTTP(w, r)
		return w
	}
	create := func(who string, s *scene) string {
		return ask(
			who,
			"POST",
			"/v3/service_instances",
			s.fill(
				`{"type": "managed", "name": "<new>", "relationships": {"space": {"data": {"guid": "<space>"}}, "service_plan": {"data": {"guid": "`+plan+`"}}}}`,
			),
		).Body.String()
	}
	enable := func(body string) {
		t.Helper()
		if w := ask("admin", "POST", "/v3/service_plans/"+plan+"/visibility", here.fill(body)); w.Code != http.StatusOK {
			t.Fatalf("set visibility: %d %s", w.Code, w.Body)
		}
	}
	sees := func(who, query string, want int) {
		t.Helper()
		if got := total(ask(who, "GET", "/v3/service_plans?names=M-dedicated-15"+query, "")); got != want {
			t.Errorf("%s sees %d plans of %q, want %d", who, got, query, want)
		}
	}

	enable(`{"type": "admin"}`)
	sees("admin", "", 1)
	sees("global_auditor", "", 1)
	sees("space_developer", "", 0)
	const unknown, elsewhere = "Ensure that the service plan exists, is available, and you have access to it.", "is not enabled in this organization"
	if got := create("space_developer", here); !strings.Contains(got, unknown) {
		t.Errorf("an instance of a hidden plan: %s", got)
	}
	if got := create("admin", here); !strings.Contains(got, elsewhere) {
		t.Errorf("an administrator's instance of a hidden plan: %s", got)
	}

	enable(`{"type": "organization", "organizations": [{"guid": "<org>"}]}`)
	sees("space_developer", "", 1)
	sees("space_developer", "&space_guids="+here.thing("<space>"), 1)
	sees("space_developer", "&space_guids="+there.thing("<space>"), 0)
	sees("stranger", "", 0)
	sees("stranger", "&organization_guids="+here.thing("<org>"), 0)
	if got := create("space_developer", there); !strings.Contains(got, elsewhere) {
		t.Errorf("an instance where the plan is not enabled: %s", got)
	}
	j, err := h.server.Market.CreateInstance(t.Context(), h.people["bearer space_developer"], market.NewInstance{
		Name: "db", SpaceID: backstay.SpaceID(here.thing("<space>")), PlanID: plan,
	})
	instance, err := here.done(t.Context(), h.server.Market, j, err)
	if err != nil {
		t.Fatal(err)
	}

	// Hidden again, it is still what the instance is of.
	enable(`{"type": "admin"}`)
	sees("space_developer", "", 0)
	if w := ask("space_developer", "GET",
		"/v3/service_instances?guids="+instance+"&fields[service_plan]=name&fields[service_plan.service_offering]=name",
		""); !strings.Contains(w.Body.String(), `"name":"M-dedicated-15"`) ||
		!strings.Contains(w.Body.String(), `"name":"postgres"`) {
		t.Errorf("an instance of a plan that was hidden: %s", w.Body)
	}
	for who, want := range map[string]int{"space_developer": http.StatusOK, "stranger": http.StatusNotFound} {
		if w := ask(who, "GET", "/v3/service_plans/"+plan, ""); w.Code != want {
			t.Errorf("%s asks for the plan and gets %d %s", who, w.Code, w.Body)
		}
	}
	if got := create("space_developer", here); !strings.Contains(got, unknown) {
		t.Errorf("another instance of a plan that was hidden: %s", got)
	}
}

func allowPaidPlans(t *testing.T, m *market.Market) {
	t.Helper()
	yes := true
	if _, err := m.UpdateQuota(t.Context(), markettest.Admin, false, backstay.DefaultQuota,
		market.QuotaUpdate{PaidPlans: &yes}); err != nil {
		t.Fatal(err)
	}
}

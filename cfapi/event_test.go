package cfapi

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
)

// TestEveryChangeLeavesAnEvent makes every change that there is a route for, and finds who made it, from
// where, and no secret.
func TestEveryChangeLeavesAnEvent(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, rt := range h.server.routes() {
		if strings.HasPrefix(rt.pattern, http.MethodGet) || rt.pattern == "POST   /v3/users" { // which changes nothing
			continue
		}
		t.Run(strings.Join(strings.Fields(rt.pattern), " "), func(t *testing.T) {
			s := h.scene(t, "")
			s.fill(recipes[rt.pattern].guid + recipes[rt.pattern].ask) // what is needed is made before
			before := s.events(t)
			if w := s.ask(rt, "admin"); w.Code >= http.StatusBadRequest {
				t.Fatalf("admin gets %d %s", w.Code, w.Body)
			}
			// By id, not by number: what began before may be recorded after, and is no newer for that.
			fresh := slices.DeleteFunc(s.events(t), func(e backstay.Event) bool {
				return slices.ContainsFunc(before, func(b backstay.Event) bool { return b.ID == e.ID })
			})
			fresh = slices.DeleteFunc(fresh, func(e backstay.Event) bool { return e.Actor.Broker }) // of what it offers
			if len(fresh) == 0 {
				t.Fatal("there is no event of it")
			}
			for _, e := range fresh {
				if e.Actor.UserID != markettest.Admin.UserID || e.Actor.Username != "admin" || e.Actor.Address != "192.0.2.1" {
					t.Errorf("%s is of %+v", e.Type, e.Actor)
				}
				if e.Type == "audit.request.refused" || e.Target.Type == "" {
					t.Errorf("%s is about %+v", e.Type, e.Target)
				}
				if secret := s.things["<secret>"]; secret != "" && strings.Contains(string(e.Data), secret) {
					t.Errorf("%s tells a secret: %s", e.Type, e.Data)
				}
			}
		})
	}
}

// events are all there are, the newest first.
func (s *scene) events(t *testing.T) []backstay.Event {
	t.Helper()
	l, err := s.server.Market.Events(t.Context(), markettest.Admin,
		market.EventFilter{Order: market.Order{Descending: true}})
	if err != nil {
		t.Fatal(err)
	}
	return l.Items
}

// TestWhatIsEndedWithASpaceIsRecorded deletes an organization: everything in it ends as whoever asked.
func TestWhatIsEndedWithASpaceIsRecorded(t *testing.T) {
	t.Parallel()
	s := newHouse(t).scene(t, "")
	bound := s.thing("<binding>") + s.thing("<app>")
	if bound == "" || s.do(http.MethodDelete, "/v3/organizations/<org>", "", "admin").Code != http.StatusAccepted {
		t.Fatal("the organization is not deleted")
	}
	for name, kind := range map[string]string{
		"<org>": "audit.organization.delete-request", "<space>": "audit.space.delete-request", "<app>": "audit.app.delete-request",
		"<instance>": "audit.service_instance.delete", "<binding>": "audit.service_key.delete",
	} {
		l, err := s.server.Market.Events(t.Context(), markettest.Admin,
			market.EventFilter{TargetIDs: []string{s.thing(name)}, Types: []string{kind}})
		if err != nil || len(l.Items) != 1 {
			t.Fatalf("%s: %d events %s, %v", name, len(l.Items), kind, err)
		}
		if e := l.Items[0]; e.Actor.Username != "admin" || e.Actor.Address != "192.0.2.1" ||
			string(e.OrganizationID) != s.thing("<org>") {
			t.Errorf("%s is of %+v in %s", e.Type, e.Actor, e.OrganizationID)
		}
	}
}

// do asks as somebody, with <things> filled in.
func (s *scene) do(method, path, body, who string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, s.fill(path), strings.NewReader(s.fill(body)))
	r.Header.Set("Authorization", "bearer "+who)
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

// TestReadingSecretsIsRecorded has two readers look at each, the first of them twice in a moment and once later.
func TestReadingSecretsIsRecorded(t *testing.T) {
	t.Parallel()
	s := newHouse(t).scene(t, "space_developer")
	var now atomic.Int64
	s.server.Market.Now = func() time.Time { return time.Now().Add(time.Duration(now.Load())) }
	for path, want := range map[string]string{
		"/v3/apps/<app>/env":                                     "audit.app.environment.show",
		"/v3/apps/<app>/environment_variables":                   "audit.app.environment_variables.show",
		"/v3/service_credential_bindings/<binding>/details":      "audit.service_key.show",
		"/v3/service_credential_bindings/<app-bound>/details":    "audit.service_binding.show",
		"/v3/service_credential_bindings/<binding-2>/parameters": "audit.service_key.show",
		"/v3/service_instances/<provided>/credentials":           "audit.user_provided_service_instance.show",
		"/v3/service_instances/<instance>/parameters":            "audit.service_instance.show",
	} {
		now.Store(0)
		for _, who := range []string{"space_developer", "space_developer", "admin", "later", "space_auditor"} {
			if who == "later" {
				now.Store(int64(time.Hour))
				who = "space_developer"
			}
			if w := s.do("GET", path, "", who); w.Code >= 400 && who != "space_auditor" {
				t.Fatalf("%s: %d %s", path, w.Code, w.Body)
			}
		}
		target := guids.FindString(s.fill(path))
		l, err := s.server.Market.Events(t.Context(), markettest.Admin,
			market.EventFilter{TargetIDs: []string{target}, Types: []string{want}})
		if err != nil {
			t.Fatal(err)
		}
		var readers []string
		for _, e := range l.Items {
			readers = append(readers, e.Actor.Username)
		}
		if got := strings.Join(readers, " "); got != "space_developer admin space_developer" {
			t.Errorf("%s is recorded of %s", path, got)
		}
	}
}

// refusals are the refused requests that an auditor of the scene's organization sees.
func (s *scene) refusals(t *testing.T, auditor string) []backstay.Event {
	t.Helper()
	l, err := s.server.Market.Events(t.Context(), s.people["bearer "+auditor],
		market.EventFilter{Types: []string{"audit.request.refused"}, Order: market.Order{Descending: true}})
	if err != nil {
		t.Fatal(err)
	}
	return l.Items
}

// TestAuditorsSeeWhatIsRefusedOnTheirs lets a stranger try.
func TestAuditorsSeeWhatIsRefusedOnTheirs(t *testing.T) {
	t.Parallel()
	s := newHouse(t).scene(t, "organization_auditor")
	for i, try := range []struct{ method, path, body, target, kind string }{
		{"DELETE", "/v3/service_instances/<instance>", "", "<instance>", "service_instance"},
		{"PATCH", "/v3/spaces/<space>", `{"name": "mine"}`, "<space>", "space"},
		{"DELETE", "/v3/roles/<role>", "", "<role>", "role"},
		{"DELETE", "/v3/service_credential_bindings/<binding>", "", "<binding>", "service_key"},
		{"POST", "/v3/apps", `{"name": "mine", "relationships": {"space": {"data": {"guid": "<space>"}}}}`, "<space>", "space"},
		{"POST", "/v3/service_credential_bindings", `{"type": "key", "name": "mine", "relationships": {"service_instance": {"data": {"guid": "<instance>"}}}}`, "<instance>", "service_instance"},
		{"POST", "/v3/spaces", `{"name": "mine", "relationships": {"organization": {"data": {"guid": "<org>"}}}}`, "<org>", "organization"},
	} {
		if w := s.do(try.method, try.path, try.body, "stranger"); w.Code < 400 || w.Code >= 500 {
			t.Fatalf("%s %s: %d %s", try.method, try.path, w.Code, w.Body)
		}
		seen := s.refusals(t, "organization_auditor")
		if len(seen) != i+1 {
			t.Fatalf("%s %s: the auditor sees %d refusals, want %d", try.method, try.path, len(seen), i+1)
		}
		e := seen[0]
		if e.Target.ID != s.thing(try.target) || e.Target.Type != try.kind || e.Actor.Username != "stranger" ||
			!strings.Contains(string(e.Data), `"`+try.method+`"`) {
			t.Errorf("%s %s: recorded as %+v", try.method, try.path, e)
		}
	}
	if seen := s.refusals(t, "organization_user"); len(seen) != 0 {
		t.Errorf("who has no such role there sees %d", len(seen))
	}
}

func TestRefusalsTellNoSecret(t *testing.T) {
	t.Parallel()
	s := newHouse(t).scene(t, "space_developer")
	for _, try := range []struct{ method, path, body string }{
		{"PATCH", "/v3/apps/<app>/environment_variables", `{"var": {"PASSWORD=<secret>": "1"}}`},
		{"POST", "/v3/service_instances", `{"name": "a", "parameters": {"<secret>": true}, "relationships": {"space": {"data": {"guid": "<space>"}}, "service_plan": {"data": {"guid": "<plan>"}}}}`},
	} {
		w := s.do(try.method, try.path, try.body, "space_developer")
		if w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), s.thing("<secret>")) {
			t.Fatalf("answered %d %s", w.Code, w.Body)
		}
		e := s.refusals(t, "space_developer")[0]
		if strings.Contains(string(e.Data), s.thing("<secret>")) ||
			!strings.Contains(string(e.Data), "CF-UnprocessableEntity") {
			t.Errorf("recorded as %s", e.Data)
		}
	}
}

func TestRefusalsAreBounded(t *testing.T) {
	t.Parallel()
	s := newHouse(t).scene(t, "organization_auditor")
	for range 5 {
		s.do("DELETE", "/v3/spaces/<space>", "", "stranger")
	}
	if n := len(s.refusals(t, "organization_auditor")); n != 1 {
		t.Errorf("the same refusal, five times in a moment, is recorded %d times; want once", n)
	}
	for i := range 100 {
		s.do("DELETE", "/v3/spaces/"+fmt.Sprint(i), "", "stranger")
	}
	if n := len(s.refusals(t, "admin")); n != 61 {
		t.Errorf("%d refusals are recorded of 100 on nothing and one on something; want 60 and one", n)
	}
	s.do("PATCH", "/v3/spaces/<space>", `{"name": "mine"}`, "stranger")
	if n := len(s.refusals(t, "organization_auditor")); n != 2 {
		t.Errorf("a flood elsewhere hides what is refused here: %d recorded, want 2", n)
	}
	s.do(
		"POST",
		"/v3/spaces",
		"{\"name\": \"a\", \"relationships\": {\"organization\": {\"data\": {\"guid\": \""+strings.Repeat("x",
			1<<19)+"\"}}}}",
		"organization_auditor",
	)
	if e := s.refusals(t, "admin")[0]; len(e.Data)+len(e.Target.ID) > 5000 {
		t.Errorf("an event of %d bytes is kept", len(e.Data)+len(e.Target.ID))
	}
}

// TestWhatExistsIsNoRefusal asks twice for the same, as cf create-space does.
func TestWhatExistsIsNoRefusal(t *testing.T) {
	t.Parallel()
	s := newHouse(t).scene(t, "")
	for _, body := range []struct{ path, body string }{
		{"/v3/roles", `{"type": "organization_user", "relationships": {"user": {"data": {"guid": "<member>"}}, "organization": {"data": {"guid": "<org>"}}}}`},
		{"/v3/apps", `{"name": "a", "relationships": {"space": {"data": {"guid": "<space>"}}}}`},
		{"/v3/spaces", `{"name": "a", "relationships": {"organization": {"data": {"guid": "<org>"}}}}`},
	} {
		s.do("POST", body.path, body.body, "admin")
		if w := s.do("POST", body.path, body.body, "admin"); w.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s again: %d %s", body.path, w.Code, w.Body)
		}
	}
	if seen := s.refusals(t, "admin"); len(seen) != 0 {
		t.Errorf("recorded as refused: %s", seen[0].Data)
	}
}

package cfapi

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
	"github.com/backstay/backstay/state"
	"github.com/backstay/backstay/uaa"
)

// recipe is how a route is asked for in a test: <org>, <space>, <app>, <instance>, <binding>, <role>, … are
// things that the scene makes when they are first named.
type recipe struct {
	guid string       // what {guid} in the path is
	ask  string       // query, or body
	sees market.Roles // who sees what the route is about
}

// recipes has one for each route that not everybody may ask for.
var recipes = map[string]recipe{
	"GET    /api/v1/read/{guid}": {"<app>", "limit=1", market.SpaceReaders},
	"GET    /v3/organizations": {
		"", "guids=<org>", market.OrganizationReaders,
	},
	"POST   /v3/organizations": {
		"", `{"name": "<new>"}`, ^market.Roles(0),
	},
	"GET    /v3/organizations/{guid}": {"<org>", "", market.OrganizationReaders},
	"PATCH  /v3/organizations/{guid}": {
		"<org>", `{"name": "<new>"}`, market.OrganizationReaders,
	},
	"DELETE /v3/organizations/{guid}": {"<org>", "", market.OrganizationReaders},
	"GET    /v3/organizations/{guid}/users": {
		"<org>", "guids=<member>", market.OrganizationReaders,
	},
	"GET    /v3/organizations/{guid}/relationships/default_isolation_segment": {"<org>", "", market.OrganizationReaders},
	"PATCH  /v3/organizations/{guid}/relationships/default_isolation_segment": {
		"<org>", `{"data": null}`, market.OrganizationReaders,
	},
	"PATCH  /v3/spaces/{guid}/relationships/isolation_segment": {"<space>", `{"data": null}`, market.SpaceReaders},
	"GET    /v3/organizations/{guid}/domains":                  {"<org>", "", market.OrganizationReaders},
	"GET    /v3/organizations/{guid}/domains/default":          {"<org>", "", market.OrganizationReaders},
	"GET    /v3/organizations/{guid}/usage_summary":            {"<org>", "", market.OrganizationReaders},
	"GET    /v3/spaces/{guid}/features":                        {"<space>", "", market.SpaceReaders},
	"GET    /v3/spaces/{guid}/features/ssh":                    {"<space>", "", market.SpaceReaders},
	"PATCH  /v3/spaces/{guid}/features/ssh": {
		"<space>", `{"enabled": false}`, market.SpaceReaders,
	},
	"PATCH  /v3/feature_flags/{name}": {
		"task_creation", `{"enabled": false}`, ^market.Roles(0),
	},
	"PATCH  /v3/environment_variable_groups/{name}": {
		"staging", `{"var": {"A": "<secret>"}}`, ^market.Roles(0),
	},
	"GET    /v3/organization_quotas": {
		"", "guids=<quota>", market.OrganizationReaders,
	},
	"POST   /v3/organization_quotas": {
		"", `{"name": "<new>"}`, ^market.Roles(0),
	},
	"GET    /v3/organization_quotas/{guid}": {
		"<quota>", "", market.OrganizationReaders,
	},
	"PATCH  /v3/organization_quotas/{guid}": {
		"<quota>", `{"name": "<new>"}`, market.OrganizationReaders,
	},
	"DELETE /v3/organization_quotas/{guid}": {
		"<spare-quota>", "", market.GlobalReaders,
	},
	"POST   /v3/organization_quotas/{guid}/relationships/organizations": {
		"<quota>", `{"data": [{"guid": "<org>"}]}`, market.OrganizationReaders,
	},
	"GET    /v3/space_quotas": {
		"", "guids=<space-quota>", market.SpaceReaders,
	},
	"POST   /v3/space_quotas": {
		"", `{"name": "<new>", "relationships": {"organization": {"data": {"guid": "<org>"}}}}`, market.OrganizationReaders,
	},
	"GET    /v3/space_quotas/{guid}": {"<space-quota>", "", market.SpaceReaders},
	"PATCH  /v3/space_quotas/{guid}": {
		"<space-quota>", `{"name": "<new>"}`, market.SpaceReaders,
	},
	"DELETE /v3/space_quotas/{guid}": {
		"<spare-space-quota>", "", market.GlobalReaders | market.OrganizationManagers,
	},
	"POST   /v3/space_quotas/{guid}/relationships/spaces": {
		"<space-quota>", `{"data": [{"guid": "<space>"}]}`, market.SpaceReaders,
	},
	"DELETE /v3/space_quotas/{guid}/relationships/spaces/{space}": {"<space-quota>", "", market.SpaceReaders},
	"POST   /v3/service_plans/{guid}/visibility": {
		"<plan>", `{"type": "public"}`, ^market.Roles(0),
	},
	"PATCH  /v3/service_plans/{guid}/visibility": {
		"<plan>", `{"type": "public"}`, ^market.Roles(0),
	},
	"DELETE /v3/service_plans/{guid}/visibility/{organization}": {
		"<org-plan>", "", market.OrganizationReaders,
	},
	"GET    /v3/spaces": {"", "guids=<space>", market.SpaceReaders},
	"POST   /v3/spaces": {
		"", `{"name": "<new>", "relationships": {"organization": {"data": {"guid": "<org>"}}}}`, market.OrganizationReaders,
	},
	"GET    /v3/spaces/{guid}": {"<space>", "", market.SpaceReaders},
	"PATCH  /v3/spaces/{guid}": {
		"<space>", `{"name": "<new>"}`, market.SpaceReaders,
	},
	"DELETE /v3/spaces/{guid}": {"<space>", "", market.SpaceReaders},
	"GET    /v3/spaces/{guid}/users": {
		"<space>", "guids=<auditor>", market.SpaceReaders,
	},
	"GET    /v3/spaces/{guid}/relationships/isolation_segment": {"<space>", "", market.SpaceReaders},
	"GET    /v3/spaces/{guid}/running_security_groups":         {"<space>", "", market.SpaceReaders},
	"GET    /v3/spaces/{guid}/staging_security_groups":         {"<space>", "", market.SpaceReaders},
	"POST   /v3/users": {
		"", `{"guid": "<member>"}`, ^market.Roles(0),
	},
	"DELETE /v3/users/{guid}": {
		"<leaver>", "", market.OrganizationReaders,
	},
	"PATCH  /v3/users/{guid}": {
		"<member>", `{"metadata": {"labels": {"a": "b"}}}`, market.OrganizationReaders,
	},
	"POST   /v3/roles": {
		"",
		`{"type": "space_auditor", "relationships": {"user": {"data": {"guid": "<member>"}}, "space": {"data": {"guid": "<space>"}}}}`,
		market.SpaceReaders,
	},
	"DELETE /v3/roles/{guid}": {"<role>", "", market.SpaceReaders},
	"GET    /v3/apps":         {"", "guids=<app>", market.SpaceReaders},
	"POST   /v3/apps": {
		"", `{"name": "<new>", "relationships": {"space": {"data": {"guid": "<space>"}}}}`, market.SpaceReaders,
	},
	"GET    /v3/apps/{guid}": {"<app>", "", market.SpaceReaders},
	"PATCH  /v3/apps/{guid}": {
		"<app>", `{"name": "<new>"}`, market.SpaceReaders,
	},
	"DELETE /v3/apps/{guid}":                       {"<app>", "", market.SpaceReaders},
	"GET    /v3/apps/{guid}/env":                   {"<app>", "", market.SpaceReaders},
	"GET    /v3/apps/{guid}/environment_variables": {"<app>", "", market.SpaceReaders},
	"PATCH  /v3/apps/{guid}/environment_variables": {
		"<app>", `{"var": {"A": "<secret>"}}`, market.SpaceReaders,
	},
	"GET    /v3/apps/{guid}/permissions":      {"<app>", "", market.SpaceReaders},
	"GET    /v3/apps/{guid}/processes":        {"<app>", "", market.SpaceReaders},
	"GET    /v3/apps/{guid}/routes":           {"<app>", "", market.SpaceReaders},
	"GET    /v3/apps/{guid}/droplets/current": {"<app>", "", market.SpaceReaders},
	"GET    /v3/service_brokers":              {"", "guids=<space-broker>", market.BrokerReaders},
	"POST   /v3/service_brokers": {
		"", `{"name": "<new>", "url": "https://redis.example.org/broker", "authentication": {"type": "basic", "credentials":
			{"username": "<new>", "password": "<secret>"}}, "relationships": {"space": {"data": {"guid": "<space>"}}}}`,
		market.SpaceReaders,
	},
	"GET    /v3/service_brokers/{guid}": {"<space-broker>", "", market.BrokerReaders},
	"PATCH  /v3/service_brokers/{guid}": {
		"<space-broker>", `{"metadata": {"labels": {"a": "b"}}}`, market.BrokerReaders,
	},
	"DELETE /v3/service_brokers/{guid}": {"<space-broker>", "", market.BrokerReaders},
	"PATCH  /v3/service_offerings/{guid}": {
		"<offering>", `{"metadata": {"labels": {"a": "b"}}}`, ^market.Roles(0),
	},
	"DELETE /v3/service_offerings/{guid}": {
		"<retired-offering>?purge=true", "", market.GlobalReaders,
	},
	"PATCH  /v3/service_plans/{guid}": {
		"<plan>", `{"metadata": {"labels": {"a": "b"}}}`, ^market.Roles(0),
	},
	"GET    /v3/service_instances": {
		"", "guids=<instance>", market.SpaceReaders,
	},
	"POST   /v3/service_instances": {
		"",
		`{"type": "managed", "name": "<new>", "relationships": {"space": {"data": {"guid": "<space>"}}, "service_plan": {"data": {"guid": "<plan>"}}}, "parameters": {"enable_extensions": ["<secret>"]}}`,
		market.SpaceReaders,
	},
	"GET    /v3/service_instances/{guid}": {"<instance>", "", market.SpaceReaders},
	"PATCH  /v3/service_instances/{guid}": {
		"<instance>", `{"name": "<new>"}`, market.SpaceReaders,
	},
	"DELETE /v3/service_instances/{guid}":                             {"<instance>", "", market.SpaceReaders},
	"GET    /v3/service_instances/{guid}/permissions":                 {"<instance>", "", market.SpaceReaders},
	"GET    /v3/service_instances/{guid}/parameters":                  {"<instance>", "", market.SpaceReaders},
	"GET    /v3/service_instances/{guid}/relationships/shared_spaces": {"<instance>", "", market.SpaceReaders},
	"GET    /v3/service_credential_bindings": {
		"", "guids=<binding>", market.SpaceReaders,
	},
	"POST   /v3/service_credential_bindings": {
		"", `{"type": "key", "name": "<new>", "relationships": {"service_instance": {"data": {"guid": "<instance>"}}}}`,
		market.SpaceReaders,
	},
	"GET    /v3/service_credential_bindings/{guid}": {"<binding>", "", market.SpaceReaders},
	"PATCH  /v3/service_credential_bindings/{guid}": {
		"<binding>", `{"metadata": {"labels": {"a": "b"}}}`, market.SpaceReaders,
	},
	"DELETE /v3/service_credential_bindings/{guid}":            {"<binding>", "", market.SpaceReaders},
	"GET    /v3/service_credential_bindings/{guid}/parameters": {"<binding>", "", market.SpaceReaders},
	"GET    /v3/service_credential_bindings/{guid}/details":    {"<binding>", "", market.SpaceReaders},

	"GET    /v3/service_instances/{guid}/credentials": {
		"<provided>", "", market.SpaceReaders,
	},
	"POST   /v3/service_instances/{guid}/relationships/shared_spaces": {
		"<instance>", `{"data": [{"guid": "<borrower>"}]}`, market.SpaceReaders,
	},
	"DELETE /v3/service_instances/{guid}/relationships/shared_spaces/{space_guid}":  {"<lent>", "", market.SpaceReaders},
	"GET    /v3/service_instances/{guid}/relationships/shared_spaces/usage_summary": {"<lent>", "", market.SpaceReaders},
	"GET    /v3/audit_events":                {"", "target_guids=<space>", market.EventReaders},
	"GET    /v3/audit_events/{guid}":         {"<event>", "", market.EventReaders},
	"GET    /v3/service_usage_events":        {"", "guids=<usage>", market.GlobalReaders},
	"GET    /v3/service_usage_events/{guid}": {"<usage>", "", market.GlobalReaders},

	"POST   /v3/service_usage_events/actions/destructively_purge_all_and_reseed": {"", "", ^market.Roles(0)},
}

// TestEveryRoleAtEveryRoute asks every route, as everybody who can be told apart, and compares the answer
// with what the table of routes says of it.
func TestEveryRoleAtEveryRoute(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, rt := range h.server.routes() {
		t.Run(strings.Join(strings.Fields(rt.pattern), " "), func(t *testing.T) {
			t.Parallel()
			if w := h.scene(t, "").ask(rt, "nobody"); (w.Code == http.StatusUnauthorized) == rt.access.anonymous {
				t.Errorf("nobody gets %d %s", w.Code, w.Body)
			}
			if rt.access.roles == 0 {
				return // everybody gets an answer; what is in it, other tests tell
			}
			want := h.scene(t, "admin").ask(rt, "admin")
			if want.Code >= http.StatusBadRequest && !absent.MatchString(want.Body.String()) {
				t.Fatalf("admin gets %d %s", want.Code, want.Body)
			}
			for _, role := range append((^market.Roles(0)).Names(), "stranger") {
				held := market.RolesOf(strings.Fields(role + " " + companion(role))...)
				got := h.scene(t, role).ask(rt, role)
				if status, found := expected(rt, held, want); got.Code != status || found >= 0 && found != total(got) {
					t.Errorf("%s gets %d %s\nwant %d, %d found", role, got.Code, got.Body, status, found)
				}
			}
		})
	}
}

// absent is what those are told who see where there might be something.
var absent = regexp.MustCompile("(Droplet|Domain) not found")

// companion is the role that another cannot do without: of all in the organization the one that shows least.
func companion(role string) string {
	if strings.HasPrefix(role, "space_") {
		return "organization_user"
	}
	return ""
}

// expected is the status for somebody who holds these roles, and how many resources a list holds; -1 if
// the answer is no list.
func expected(rt route, held market.Roles, admin *httptest.ResponseRecorder) (status, found int) {
	words, sees := strings.Fields(rt.pattern), recipes[rt.pattern].sees
	named := strings.Contains(rt.pattern, "{guid}")
	switch {
	case held&rt.access.roles != 0:
		return admin.Code, total(admin)
	case words[0] == http.MethodGet && !named:
		return http.StatusOK, 0
	case held&sees != 0 || sees == ^market.Roles(0):
		return http.StatusForbidden, -1
	case named:
		return http.StatusNotFound, -1
	}
	return http.StatusUnprocessableEntity, -1
}

func total(w *httptest.ResponseRecorder) int {
	var l struct {
		Pagination *struct {
			Total int `json:"total_results"`
		}
	}
	if json.Unmarshal(w.Body.Bytes(), &l) != nil || l.Pagination == nil {
		return -1
	}
	return l.Pagination.Total
}

// house is an API with somebody for every role; a stranger has all roles, in an organization apart.
type house struct {
	server  *Server
	store   *state.Store
	handler http.Handler
	people  people
	broker  *brokertest.Memory
}

func newHouse(t testing.TB) *house { return newHouseAt(t, testkit.Postgres(t)) }

// newHouseAt keeps it all in the database that dsn names.
func newHouseAt(t testing.TB, dsn string) *house {
	b := brokertest.NewMemory()
	h := &house{server: newServerAt(t, b, dsn), people: people{}, broker: b}
	h.store = h.server.Market.Store.(*state.Store)
	for _, name := range append((^market.Roles(0)).Names(), "stranger", "member") {
		by := backstay.Actor{UserID: backstay.UserID(uuid.NewString()), Username: name}
		if role := backstay.GlobalRole(name); slices.Contains(market.GlobalReaders.Names(), name) {
			by.Role = role
		}
		user := uaa.User{ID: by.UserID, Username: by.Username, Role: by.Role, PasswordHash: "none"}
		if name == "admin" {
			by = markettest.Admin
		} else if err := h.store.AddUser(t.Context(), user, backstay.Event{}); err != nil {
			t.Fatal(err)
		}
		h.people["bearer "+name] = by
	}
	h.server.Authenticator = h.people
	h.server.Log = slog.New(slog.DiscardHandler)
	h.handler = h.server.Handler()
	unlimited := market.QuotaUpdate{Limits: map[backstay.Limit]*int64{backstay.ServiceInstances: nil}}
	if _, err := h.server.Market.UpdateQuota(t.Context(), markettest.Admin, false, backstay.DefaultQuota,
		unlimited); err != nil {
		t.Fatal(err)
	}
	s := h.scene(t, "")
	for _, role := range (^market.Roles(0) &^ market.GlobalReaders).Names() {
		s.grant("stranger", role)
	}
	return h
}

// scene is an organization with a space, in which at most one user has a role, and what else is needed.
type scene struct {
	*house
	t      testing.TB
	role   string // of the one user, and their name
	things map[string]string
}

func (h *house) scene(t testing.TB, role string) *scene {
	s := &scene{
		house: h,
		t:     t,
		role:  role,
		things: map[string]string{
			"<broker>": string(markettest.Broker.ID), "<offering>": "00000000-0000-4000-8000-00000000000a",
			"<plan>": "00000000-0000-4000-8000-00000000000b",
		},
	}
	if market.RolesOf(role)&^market.GlobalReaders != 0 {
		s.grant(role, role)
	}
	return s
}

// grant gives a user a role, with its companion.
func (s *scene) grant(user, role string) {
	by := s.people["bearer "+user]
	n := market.NewRole{Type: role, UserID: by.UserID, OrganizationID: backstay.OrganizationID(s.thing("<org>"))}
	if first := companion(role); first != "" {
		n.Type = first
		s.addRole(n)
		n = market.NewRole{Type: role, UserID: by.UserID, SpaceID: backstay.SpaceID(s.thing("<space>"))}
	}
	s.addRole(n)
}

func (s *scene) addRole(n market.NewRole) backstay.Role {
	r, err := s.server.Market.CreateRole(s.t.Context(), markettest.Admin, n)
	if err != nil && backstay.KindOf(err) != backstay.Taken {
		s.t.Fatal(err)
	}
	return r
}

// ask sends the route's request as somebody.
func (s *scene) ask(rt route, who string) *httptest.ResponseRecorder {
	words, how := strings.Fields(rt.pattern), recipes[rt.pattern]
	if rt.access.roles != 0 && how == (recipe{}) {
		s.t.Fatalf("say in recipes how to ask for %s", rt.pattern)
	}
	target := strings.NewReplacer("{$}", "", "{guid}", cmp.Or(how.guid, "x"), "{space_guid}", "<borrower>", "{name}", cmp.Or(how.guid, "x"), "{space}", "<space>", "{organization}", "<org>").
		Replace(words[1])
	body := how.ask
	if words[0] == http.MethodGet {
		target, body = target+"?"+how.ask, ""
	}
	r := httptest.NewRequest(words[0], s.fill(target), strings.NewReader(s.fill(body)))
	if who != "nobody" {
		r.Header.Set("Authorization", "bearer "+who)
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

func (s *scene) fill(text string) string { return holes.ReplaceAllStringFunc(text, s.thing) }

func (s *scene) thing(name string) string {
	if s.things[name] == "" {
		id, err := s.make(s.t.Context(), s.server.Market, name)
		if err != nil {
			s.t.Fatalf("make %s: %v", name, err)
		}
		s.things[name] = id
	}
	return s.things[name]
}

// numbers tell things of one kind apart, as in <app-1>.
var numbers = regexp.MustCompile(`-\d+`)

var noMetadata backstay.MetadataUpdate

func (s *scene) make(ctx context.Context, m *market.Market, name string) (id string, err error) {
	fresh := strings.Trim(name, "<>") + "-" + uuid.NewString()[:13]
	switch numbers.ReplaceAllString(name, "") {
	case "<new>", "<secret>":
		return fresh, nil
	case "<member>":
		s.grant("member", "organization_user")
		return string(s.people["bearer member"].UserID), nil
	case "<leaver>": // whom no other scene knows
		u := uaa.User{ID: backstay.UserID(uuid.NewString()), Username: fresh, PasswordHash: "none"}
		if err := s.store.AddUser(ctx, u, backstay.Event{}); err != nil {
			return "", err
		}
		s.addRole(
			market.NewRole{Type: "organization_user", UserID: u.ID, OrganizationID: backstay.OrganizationID(s.thing("<org>"))},
		)
		return string(u.ID), nil
	case "<org>":
		o, err := m.CreateOrganization(ctx, markettest.Admin, market.NewOrganization{Name: fresh})
		return string(o.ID), err
	case "<space>":
		sp, err := m.CreateSpace(ctx, markettest.Admin, backstay.OrganizationID(s.thing("<org>")), fresh, noMetadata)
		return string(sp.ID), err
	case "<auditor>":
		s.thing("<role>")
		return s.thing("<member>"), nil
	case "<role>":
		s.thing("<member>")
		return string(
			s.addRole(
				market.NewRole{Type: "space_auditor", Username: "member", SpaceID: backstay.SpaceID(s.thing("<space>"))},
			).ID,
		), nil
	case "<event>":
		l, err := m.Events(ctx, markettest.Admin, market.EventFilter{TargetIDs: []string{s.thing("<space>")}})
		return string(l.Items[0].ID), err
	case "<usage>":
		return s.thing("<instance>"), nil // the first event of an instance has its id
	case "<space-broker>":
		j, err := m.CreateBroker(ctx, markettest.Admin, market.NewBroker{
			Name: fresh, URL: "https://redis.example.org/broker", SpaceID: backstay.SpaceID(s.thing("<space>")),
			Login: backstay.BrokerLogin{Username: "user", Password: "password"},
		})
		return s.done(ctx, m, j, err)
	case "<retired-offering>":
		broker := backstay.ServiceBroker{ID: backstay.BrokerID(uuid.NewString()), Name: fresh}
		retired := backstay.CatalogOffering{
			ID: "retired", Name: fresh, Private: true, Plans: []backstay.CatalogPlan{{ID: "retired", Name: fresh}},
		}
		unrecorded := func(market.CatalogChange) backstay.Event { return backstay.Event{} }
		if err := m.Store.KeepCatalog(ctx, broker, []backstay.CatalogOffering{retired}, unrecorded); err != nil {
			return "", err
		}
		l, err := m.Store.Offerings(ctx, market.OfferingFilter{BrokerIDs: []backstay.BrokerID{broker.ID}})
		return string(l.Items[0].ID), err
	case "<quota>", "<spare-quota>":
		n := market.NewQuota{QuotaUpdate: market.QuotaUpdate{Name: &fresh}}
		if name == "<quota>" {
			n.OrganizationIDs = []backstay.OrganizationID{backstay.OrganizationID(s.thing("<org>"))}
		}
		q, err := m.CreateQuota(ctx, markettest.Admin, n)
		return string(q.ID), err
	case "<space-quota>", "<spare-space-quota>":
		n := market.NewQuota{
			QuotaUpdate: market.QuotaUpdate{Name: &fresh}, OrganizationID: backstay.OrganizationID(s.thing("<org>")),
		}
		if name == "<space-quota>" {
			n.SpaceIDs = []backstay.SpaceID{backstay.SpaceID(s.thing("<space>"))}
		}
		q, err := m.CreateQuota(ctx, markettest.Admin, n)
		return string(q.ID), err
	case "<org-plan>":
		const plan = "00000000-0000-4000-8000-00000000000c"
		return plan, m.SetVisibility(ctx, markettest.Admin, plan, market.NewVisibility{
			Type:            backstay.OrganizationPlan,
			OrganizationIDs: []backstay.OrganizationID{backstay.OrganizationID(s.thing("<org>"))},
			More:            true,
		})
	case "<app>":
		a, err := m.CreateApp(ctx, markettest.Admin, backstay.SpaceID(s.thing("<space>")), fresh, noMetadata)
		return string(a.ID), err
	case "<instance>":
		j, err := m.CreateInstance(ctx, markettest.Admin, market.NewInstance{
			Name: fresh, SpaceID: backstay.SpaceID(s.thing("<space>")), PlanID: backstay.PlanID(s.thing("<plan>")),
		})
		return s.done(ctx, m, j, err)
	case "<provided>":
		in, err := m.CreateUserProvided(ctx, markettest.Admin,
			market.NewUserProvided{Name: fresh, SpaceID: backstay.SpaceID(s.thing("<space>"))})
		return string(in.ID), err
	case "<borrower>":
		return s.makeBorrower(ctx, m, fresh)
	case "<lent>":
		in := backstay.InstanceID(s.thing("<instance>"))
		return string(
			in,
		), m.ShareInstance(ctx, markettest.Admin, in, []backstay.SpaceID{backstay.SpaceID(s.thing("<borrower>"))})
	case "<app-bound>":
		_, j, err := m.CreateBinding(ctx, markettest.Admin, market.NewBinding{
			Type: backstay.AppBinding, AppID: backstay.AppID(s.thing("<app>")),
			InstanceID: backstay.InstanceID(s.thing("<instance>")),
		})
		return s.done(ctx, m, j, err)
	case "<binding>":
		_, j, err := m.CreateBinding(ctx, markettest.Admin, market.NewBinding{
			Type: backstay.KeyBinding, Name: fresh, InstanceID: backstay.InstanceID(s.thing("<instance>")),
		})
		return s.done(ctx, m, j, err)
	}
	return "", fmt.Errorf("the scene has no %s", name)
}

// makeBorrower makes another space, in which a developer is a developer too.
func (s *scene) makeBorrower(ctx context.Context, m *market.Market, name string) (string, error) {
	sp, err := m.CreateSpace(ctx, markettest.Admin, backstay.OrganizationID(s.thing("<org>")), name, noMetadata)
	if err == nil && s.role == "space_developer" {
		s.addRole(market.NewRole{Type: s.role, Username: s.role, SpaceID: sp.ID})
	}
	return string(sp.ID), err
}

// done waits for a job, and returns the id of what it was about.
func (s *scene) done(ctx context.Context, m *market.Market, j backstay.Job, err error) (string, error) {
	if err != nil {
		return "", err
	}
	j, err = m.AwaitJob(ctx, j.ID, time.Minute)
	if err == nil && j.State != backstay.JobComplete {
		err = fmt.Errorf("the job is %s: %s", j.State, j.Sentence)
	}
	return j.Resource, err
}

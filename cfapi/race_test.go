package cfapi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay"
)

// contest is a request that many send at once, of which one is granted.
type contest struct {
	name   string
	before string             // things that are there before, one for each racer if they are numbered: "<app-%d>"
	ask    func(i int) string // METHOD PATH BODY of racer i
	won    int                // the winner's status
	lost   map[string]int     // what losers may be told, as expressions, with the status
	after  map[string]int     // lists, and how many they hold in the end
	many   bool               // all may win: the second delete of what is going is granted, too
}

const racers = 100

func always(text string) func(int) string { return func(int) string { return text } }

var contests = []contest{
	{
		name: "create organization", ask: always(`POST /v3/organizations {"name": "<new>"}`), won: http.StatusCreated,
		lost:  map[string]int{`Organization '.*' already exists\.`: http.StatusUnprocessableEntity},
		after: map[string]int{"/v3/organizations?names=<new>": 1},
	},
	{
		name:  "create space",
		ask:   always(`POST /v3/spaces {"name": "<new>", "relationships": {"organization": {"data": {"guid": "<org>"}}}}`),
		won:   http.StatusCreated,
		lost:  map[string]int{`Name must be unique per organization`: http.StatusUnprocessableEntity},
		after: map[string]int{"/v3/spaces?organization_guids=<org>": 1},
	},
	{
		name:  "create app",
		ask:   always(`POST /v3/apps {"name": "<new>", "relationships": {"space": {"data": {"guid": "<space>"}}}}`),
		won:   http.StatusCreated,
		lost:  map[string]int{`App with the name '.*' already exists\.`: http.StatusUnprocessableEntity},
		after: map[string]int{"/v3/apps?space_guids=<space>": 1},
	},
	{
		name: "create instance",
		ask: always(
			`POST /v3/service_instances {"type": "managed", "name": "<new>", "relationships": {"space": {"data": {"guid": "<space>"}}, "service_plan": {"data": {"guid": "<plan>"}}}}`,
		),
		won:   http.StatusAccepted,
		lost:  map[string]int{`The service instance name is taken: .*\.`: http.StatusUnprocessableEntity},
		after: map[string]int{"/v3/service_instances?space_guids=<space>": 1},
	},
	{
		name:   "create key",
		before: "<instance>",
		ask: always(
			`POST /v3/service_credential_bindings {"type": "key", "name": "k", "relationships": {"service_instance": {"data": {"guid": "<instance>"}}}}`,
		),
		won: http.StatusCreated,
		lost: map[string]int{
			`The binding name is invalid\. Key binding names must be unique\. The service instance already has a key binding with name 'k'\.`: http.StatusUnprocessableEntity,
		},
		after: map[string]int{"/v3/service_credential_bindings?service_instance_guids=<instance>": 1},
	},
	{
		name:   "bind app",
		before: "<instance>",
		ask: always(
			`POST /v3/service_credential_bindings {"type": "app", "relationships": {"app": {"data": {"guid": "<app>"}}, "service_instance": {"data": {"guid": "<instance>"}}}}`,
		),
		won:   http.StatusCreated,
		lost:  map[string]int{`The app is already bound to the service instance\.`: http.StatusUnprocessableEntity},
		after: map[string]int{"/v3/service_credential_bindings?app_guids=<app>": 1},
	},
	{
		name: "create organization role",
		ask: always(
			`POST /v3/roles {"type": "organization_manager", "relationships": {"user": {"data": {"guid": "<member>"}}, "organization": {"data": {"guid": "<org>"}}}}`,
		),
		won: http.StatusCreated,
		lost: map[string]int{
			`User 'member' already has 'organization_manager' role in organization '.*'\.`: http.StatusUnprocessableEntity,
		},
		after: map[string]int{"/v3/roles?types=organization_manager&organization_guids=<org>": 1},
	},
	{
		name: "create space role",
		ask: always(
			`POST /v3/roles {"type": "space_manager", "relationships": {"user": {"data": {"guid": "<member>"}}, "space": {"data": {"guid": "<space>"}}}}`,
		),
		won: http.StatusCreated,
		lost: map[string]int{
			`User 'member' already has 'space_manager' role in space '.*'\.`: http.StatusUnprocessableEntity,
		},
		after: map[string]int{"/v3/roles?space_guids=<space>": 1},
	},
	{
		name: "rename organization", ask: rename("organizations", "org"), before: "<org-%d>", won: http.StatusOK,
		lost:  map[string]int{`Organization '.*' already exists\.`: http.StatusUnprocessableEntity},
		after: map[string]int{"/v3/organizations?names=<new>": 1},
	},
	{
		name: "rename space", ask: rename("spaces", "space"), before: "<space-%d>", won: http.StatusOK,
		lost:  map[string]int{`Name must be unique per organization`: http.StatusUnprocessableEntity},
		after: map[string]int{"/v3/spaces?names=<new>": 1, "/v3/spaces?per_page=1&organization_guids=<org>": racers},
	},
	{
		name: "rename app", ask: rename("apps", "app"), before: "<app-%d>", won: http.StatusOK,
		lost:  map[string]int{`App with the name '.*' already exists\.`: http.StatusUnprocessableEntity},
		after: map[string]int{"/v3/apps?names=<new>": 1, "/v3/apps?per_page=1&space_guids=<space>": racers},
	},
	{
		name: "rename instance", ask: rename("service_instances", "instance"), before: "<instance-%d>", won: http.StatusOK,
		lost:  map[string]int{`The service instance name is taken: .*\.`: http.StatusUnprocessableEntity},
		after: map[string]int{"/v3/service_instances?names=<new>": 1},
	},
	{
		name:   "delete organization",
		before: "<instance>",
		ask:    always(`DELETE /v3/organizations/<org> `),
		won:    http.StatusAccepted,
		many:   true,
		lost:   map[string]int{`Organization not found`: http.StatusNotFound},
		after: map[string]int{
			"/v3/organizations?guids=<org>": 0, "/v3/spaces?guids=<space>": 0,
			"/v3/service_instances?guids=<instance>": 0,
		},
	},
	{
		name: "delete space", before: "<instance>", ask: always(`DELETE /v3/spaces/<space> `), won: http.StatusAccepted,
		many: true, lost: map[string]int{`Space not found`: http.StatusNotFound},
		after: map[string]int{"/v3/spaces?guids=<space>": 0, "/v3/service_instances?guids=<instance>": 0},
	},
	{
		name: "delete app", before: "<app>", ask: always(`DELETE /v3/apps/<app> `), won: http.StatusAccepted, many: true,
		lost:  map[string]int{`App not found`: http.StatusNotFound},
		after: map[string]int{"/v3/apps?guids=<app>": 0},
	},
	{
		name:   "delete instance",
		before: "<instance>",
		ask:    always(`DELETE /v3/service_instances/<instance> `),
		won:    http.StatusAccepted,
		lost: map[string]int{
			`Service instance not found`: http.StatusNotFound,
			// and what the deletion waits for, if the broker has told that by now
			`An operation for service instance .* is in progress\.( delete is on its way)?`: http.StatusConflict,
		},
	},
	{
		name:   "delete binding",
		before: "<binding>",
		ask:    always(`DELETE /v3/service_credential_bindings/<binding> `),
		won:    http.StatusNoContent,
		lost: map[string]int{
			`Service credential binding not found`:                                       http.StatusNotFound,
			`An operation for a service binding of service instance .* is in progress\.`: http.StatusConflict,
		},
		after: map[string]int{"/v3/service_credential_bindings?guids=<binding>": 0},
	},
	{
		name: "delete role", before: "<role>", ask: always(`DELETE /v3/roles/<role> `), won: http.StatusAccepted, many: true,
		lost:  map[string]int{`Role not found`: http.StatusNotFound},
		after: map[string]int{"/v3/roles?guids=<role>": 0},
	},
}

// rename lets each racer give a resource of its own the one name.
func rename(collection, thing string) func(int) string {
	return func(i int) string { return fmt.Sprintf(`PATCH /v3/%s/<%s-%d> {"name": "<new>"}`, collection, thing, i) }
}

// TestRaces has a hundred ask for the same at once: one gets it, and the others are told why not as if they
// had come later.
func TestRaces(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, c := range contests {
		t.Run(c.name, func(t *testing.T) {
			s := h.scene(t, "admin")
			answers := s.race(c)
			won := 0
			for _, w := range answers {
				if w.Code == c.won {
					won++
					s.completes(w)
				} else if !c.expects(w) {
					t.Errorf("a loser is told %d %s", w.Code, w.Body)
				}
			}
			if won != 1 && !(c.many && won > 1) {
				t.Errorf("%d won, want 1", won)
			}
			for path, want := range c.after {
				w := s.send("admin", "GET "+s.fill(path))
				if got := total(w); got != want {
					t.Errorf("%s: %d, want %d: %s", path, got, want, w.Body)
				}
			}
		})
	}
}

// completes checks that what was accepted succeeds.
func (s *scene) completes(w *httptest.ResponseRecorder) {
	job := backstay.JobID(guids.FindString(w.Header().Get("Location")))
	if job == "" {
		return
	}
	j, err := s.server.Market.AwaitJob(s.t.Context(), job, time.Minute)
	if err != nil || j.State != backstay.JobComplete {
		s.t.Errorf("%s is %s: %s %v", j.Operation, j.State, j.Sentence, err)
	}
}

// TestRacesOfEverything has a hundred create, rename and delete at once, all about one name.
func TestRacesOfEverything(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for collection, create := range map[string]string{
		"organization":     `{"name": "<new>"}`,
		"space":            `{"name": "<new>", "relationships": {"organization": {"data": {"guid": "<org>"}}}}`,
		"app":              `{"name": "<new>", "relationships": {"space": {"data": {"guid": "<space>"}}}}`,
		"service_instance": `{"type": "managed", "name": "<new>", "relationships": {"space": {"data": {"guid": "<space>"}}, "service_plan": {"data": {"guid": "<plan>"}}}}`,
	} {
		t.Run(collection, func(t *testing.T) {
			thing := map[string]string{"organization": "org", "service_instance": "instance"}[collection]
			c := contest{before: "<" + cmp.Or(thing, collection) + "-%d>", ask: func(i int) string {
				other := fmt.Sprintf("/v3/%ss/<%s-%d> ", collection, cmp.Or(thing, collection), i/3)
				return []string{"POST /v3/" + collection + "s " + create, "PATCH " + other + `{"name": "<new>"}`, "DELETE " + other}[i%3]
			}}
			s := h.scene(t, "admin")
			for i, w := range s.race(c) {
				switch w.Code {
				case http.StatusOK, http.StatusCreated, http.StatusAccepted:
					s.completes(w)
				case http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusConflict:
				default:
					t.Errorf("%s: %d %s", s.fill(c.ask(i)), w.Code, w.Body)
				}
			}
			if w := s.send("admin", s.fill("GET /v3/"+collection+"s?names=<new>")); total(w) > 1 {
				t.Errorf("more than one has the name: %s", w.Body)
			}
		})
	}
}

// expects tells whether a loser may be answered so.
func (c contest) expects(w *httptest.ResponseRecorder) bool {
	var body errorList
	if json.Unmarshal(w.Body.Bytes(), &body) != nil || len(body.Errors) != 1 {
		return false
	}
	for said, status := range c.lost {
		if status == w.Code && regexp.MustCompile("^"+said+"$").MatchString(body.Errors[0].Detail) {
			return true
		}
	}
	return false
}

// race sends the requests when all racers are ready.
func (s *scene) race(c contest) []*httptest.ResponseRecorder {
	asks, answers := make([]string, racers), make([]*httptest.ResponseRecorder, racers)
	for i := range asks {
		before := c.before
		if strings.Contains(before, "%d") {
			before = fmt.Sprintf(before, i)
		}
		s.fill(before)
		asks[i] = s.fill(c.ask(i))
	}
	var all, ready sync.WaitGroup
	ready.Add(racers)
	for i := range racers {
		all.Go(func() {
			ready.Done()
			ready.Wait()
			answers[i] = s.send("admin", asks[i])
		})
	}
	all.Wait()
	return answers
}

// send asks METHOD PATH [BODY] as somebody.
func (h *house) send(who, ask string) *httptest.ResponseRecorder {
	method, rest, _ := strings.Cut(ask, " ")
	path, body, _ := strings.Cut(rest, " ")
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "bearer "+who)
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	return w
}

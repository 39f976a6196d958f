package osb_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/osb"
	"github.com/backstay/backstay/osb/osbtest"
)

// wary is a broker that tells whether it would refuse a request, and fails the test if it is asked for one in earnest.
type wary struct {
	*told
	t       *testing.T
	refusal error
	asked   []any
}

func (w *wary) AdmitProvision(_ context.Context, r backstay.ProvisionRequest) error {
	w.asked = append(w.asked, r)
	return w.refusal
}

func (w *wary) AdmitUpdate(_ context.Context, r backstay.UpdateRequest) error {
	w.asked = append(w.asked, r)
	return w.refusal
}

func (w *wary) AdmitBind(_ context.Context, r backstay.BindRequest) error {
	w.asked = append(w.asked, r)
	return w.refusal
}

func (w *wary) Provision(context.Context, backstay.ProvisionRequest) (backstay.Provisioned, error) {
	w.t.Error("an instance is made")
	return backstay.Provisioned{}, nil
}

func (w *wary) Update(context.Context, backstay.UpdateRequest) (backstay.Updated, error) {
	w.t.Error("an instance is changed")
	return backstay.Updated{}, nil
}

func (w *wary) Bind(context.Context, backstay.BindRequest) (backstay.Bound, error) {
	w.t.Error("a binding is made")
	return backstay.Bound{}, nil
}

// LastOperation knows no instance: of one that it knows it would not be asked whether there is room for it.
func (w *wary) LastOperation(context.Context, backstay.LastOperationRequest) (backstay.Operation, error) {
	return backstay.Operation{}, backstay.Errorf(backstay.NotFound, "There is none.")
}

// TestAdmissionTable is the extension as it goes over the wire: the answers that the real requests would get.
func TestAdmissionTable(t *testing.T) {
	t.Parallel()
	const (
		newInstance = "PUT /v2/backstay/admission/service_instances/i?" + async
		newPlan     = "PATCH /v2/backstay/admission/service_instances/i?" + async
		newBinding  = "PUT /v2/backstay/admission/service_instances/i/service_bindings/b?" + async
	)
	for _, c := range []struct {
		name, request, body string
		refusal             error
		status              int
		want                string
		marked              bool // as the extension's answer
	}{
		{"instance", newInstance, body, nil, 200, `{}`, true},
		{"update", newPlan, body, nil, 200, `{}`, true},
		{"binding", newBinding, body, nil, 200, `{}`, true},
		{"no instance", newInstance, body, failing(backstay.Invalid).err, 400, because, true},
		{"no room", newInstance, body, failing(backstay.Unavailable).err, 503, because, true},
		{"no plan of ours", newInstance, `{"service_id":"s","plan_id":"p"}`, nil, 400,
			`{"description":"service-id not in the catalog"}`, true},
		{"no update", newPlan, body, failing(backstay.Unsupported).err, 422, because, true},
		{"no such version", newPlan, body, coded(backstay.Invalid, backstay.MaintenanceInfoConflict).err, 422,
			`{"error":"MaintenanceInfoConflict","description":"Because."}`, true},
		{"update of nothing", newPlan, body, failing(backstay.NotFound).err, 404, because, true},
		{"no binding", newBinding, body, failing(backstay.Invalid).err, 400, because, true},
		{"no object", newBinding, `[]`, nil, 400, `{"description":"The request is not a JSON object."}`, false},
		{"no such request", strings.Replace(newInstance, "PUT", "DELETE", 1), body, nil, 404,
			`{"description":"The Open Service Broker API has no such request."}`, false},
		{"the end of one", "DELETE /v2/backstay/admission/service_instances/i/service_bindings/b?" + of, "", nil, 404,
			`{"description":"The Open Service Broker API has no such request."}`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			status, header, got := ask(t, &wary{told: &told{}, t: t, refusal: c.refusal}, c.request, c.body, nil)
			if status != c.status || !sameJSON(t, got, c.want) {
				t.Errorf("%d %s; want %d %s", status, got, c.status, c.want)
			}
			if marked := header.Get("X-Backstay-Extension") == "admission"; marked != c.marked {
				t.Errorf("it is marked as the extension's: %t", marked)
			}
		})
	}
	if status, _, got := ask(t, &told{}, newInstance, body, nil); status != 404 {
		t.Errorf("a broker that cannot tell answers %d %s", status, got)
	}
	var catalog struct {
		Extensions []string `json:"backstay_extensions"`
	}
	_, _, got := ask(t, &wary{told: &told{}, t: t}, "GET /v2/catalog", "", nil)
	if err := json.Unmarshal(got, &catalog); err != nil || !slices.Equal(catalog.Extensions, []string{"admission"}) {
		t.Errorf("%+v, %v: %s", catalog, err, got)
	}
}

func sameJSON(t *testing.T, got []byte, want string) bool {
	t.Helper()
	var a, b any
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatal(err)
	}
	return json.Unmarshal(got, &a) == nil && reflect.DeepEqual(a, b)
}

// The requests that can be asked about.
var (
	wantedInstance = backstay.ProvisionRequest{
		InstanceID: "a/b", ServiceID: brokertest.MemoryOffering, PlanID: brokertest.MemoryFree,
		Context:    backstay.Context{Platform: "cloudfoundry", OrganizationID: "o", SpaceID: "s", InstanceName: "db"},
		Parameters: json.RawMessage(`{"a":1}`), MaintenanceInfo: &backstay.MaintenanceInfo{Version: "1.0.0"},
	}
	wantedUpdate = backstay.UpdateRequest{
		InstanceID: "..", ServiceID: brokertest.MemoryOffering, PlanID: brokertest.MemoryFree,
		Context: backstay.Context{OrganizationID: "o", SpaceID: "s"}, Parameters: json.RawMessage(`{"a":1}`),
		Previous: backstay.PreviousValues{PlanID: brokertest.MemoryMedium, OrganizationID: "o", SpaceID: "s"},
	}
	wantedBinding = backstay.BindRequest{
		InstanceID: "i", BindingID: "a?b", ServiceID: brokertest.MemoryOffering, PlanID: brokertest.MemoryFree, AppID: "app",
		Parameters: json.RawMessage(`{"a":1}`),
	}
)

var admissions = map[string]call{
	"instance": func(ctx context.Context, c *osb.Client) error { return c.AdmitProvision(ctx, wantedInstance) },
	"update":   func(ctx context.Context, c *osb.Client) error { return c.AdmitUpdate(ctx, wantedUpdate) },
	"binding":  func(ctx context.Context, c *osb.Client) error { return c.AdmitBind(ctx, wantedBinding) },
}

// TestAdmission asks a broker behind HTTP whether it would refuse something: it hears what it would hear in earnest, and
// the platform reads its sentence.
func TestAdmission(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]any{"instance": wantedInstance, "update": wantedUpdate, "binding": wantedBinding} {
		for _, kind := range []backstay.Kind{backstay.Invalid, backstay.Unsupported, backstay.Unavailable, backstay.Busy} {
			w := &wary{told: &told{}, t: t}
			c := osbtest.Serve(t, w)
			if err := admissions[name](t.Context(), c); err != nil {
				t.Errorf("%s: what is admitted is refused: %v", name, err)
			}
			if len(w.asked) != 1 || !reflect.DeepEqual(w.asked[0], want) {
				t.Errorf("%s: asked is\n%+v; want\n%+v", name, w.asked, want)
			}
			w.refusal = failing(kind).err
			err := admissions[name](t.Context(), c)
			if err == nil || backstay.KindOf(err) != kind || backstay.FailureOf(err).Orphan {
				t.Errorf("%s: %v is %v, %+v; want %v", name, err, backstay.KindOf(err), backstay.FailureOf(err), kind)
			}
			if got := backstay.SentenceOf(err); got != "Service broker error: Because." && kind != backstay.Busy {
				t.Errorf("%s: the sentence is %q", name, got)
			}
		}
	}
	w := &wary{told: &told{}, t: t, refusal: coded(backstay.Invalid, backstay.MaintenanceInfoConflict).err}
	err := osbtest.Serve(t, w).AdmitProvision(t.Context(), wantedInstance)
	if backstay.FailureOf(err).Code != backstay.MaintenanceInfoConflict {
		t.Errorf("%v, %+v", err, backstay.FailureOf(err))
	}
	w = &wary{told: &told{}, t: t, refusal: failing(backstay.Internal).err}
	if err := osbtest.Serve(t, w).AdmitUpdate(t.Context(), wantedUpdate); err != nil {
		t.Errorf("a bug of the broker refuses: %v", err)
	}
}

// TestOthersAreNotAsked whether they would refuse a request: a broker without the extension sees its catalog read, once.
func TestOthersAreNotAsked(t *testing.T) {
	t.Parallel()
	for name, catalog := range map[string]http.HandlerFunc{
		"none": says(200, `{"services":[]}`), "empty": says(200, `{"services":[],"backstay_extensions":[]}`),
		"another": says(200, `{"services":[],"backstay_extensions":["telepathy"]}`),
		"a text":  says(200, `{"services":[],"backstay_extensions":"admission"}`),
		"numbers": says(200, `{"services":[],"backstay_extensions":[1]}`), "an array": says(200, `[]`),
		"failed": says(500, `{"backstay_extensions":["admission"]}`), "broken off": breaksOff("HTTP/1.1 200 OK\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var asked []string
			c := osbtest.Ask(t, httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				asked = append(asked, r.Method+" "+r.URL.Path)
				mu.Unlock()
				catalog(w, r)
			})))
			var wait sync.WaitGroup
			for range 3 {
				for what, admit := range admissions {
					wait.Go(func() {
						if err := admit(t.Context(), c); err != nil {
							t.Errorf("%s: %v", what, err)
						}
					})
				}
			}
			wait.Wait()
			mu.Lock()
			defer mu.Unlock()
			if asked = slices.Compact(asked); !slices.Equal(asked, []string{"GET /v2/catalog"}) {
				t.Errorf("asked is %q", asked)
			}
		})
	}
}

// TestHostileAdmission is what a broker can do that says it has the extension: refuse with any words, and no more. What
// is no refusal of the extension's admits, within the time that the client has.
func TestHostileAdmission(t *testing.T) {
	t.Parallel()
	marked := func(next http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Backstay-Extension", "admission")
			next(w, r)
		}
	}
	for _, c := range []struct {
		name     string
		broker   http.HandlerFunc
		kind     backstay.Kind
		sentence string // empty: it admits
	}{
		{"refuses", marked(says(400, sorry)), backstay.Invalid, saysSorry},
		{"refuses with colours", marked(says(422, `{"description":"out \u001b[31mof\u202e spoons"}`)), backstay.Unsupported,
			"Service broker error: out [31mof spoons"},
		{"refuses without a word", marked(says(400, "no")), backstay.Invalid,
			"The service broker rejected the request. Status Code: 400 Bad Request, Body: no"},
		{"refuses with a secret code", marked(says(422, `{"error":7}`)), backstay.Unsupported,
			`The service broker rejected the request. Status Code: 422 Unprocessable Entity, Body: {"error":7}`},
		{"has no room", marked(says(503, sorry)), backstay.Unavailable, saysSorry},
		{"fails", marked(says(500, sorry)), 0, ""},
		{"admits with anything", marked(says(204, "")), 0, ""},
		{"admits with credentials", marked(says(201, `{"credentials":{"password":"s3cret"}}`)), 0, ""},
		{"a proxy has no room", says(503, sorry), 0, ""},
		{"a proxy knows nobody", says(401, sorry), 0, ""},
		{"a proxy finds nothing", says(404, sorry), 0, ""},
		{"too many at once", says(429, sorry), 0, ""},
		{"another extension", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Backstay-Extension", "telepathy")
			says(400, sorry)(w, r)
		}, 0, ""},
		{"huge", marked(says(400, huge)), 0, ""},
		{"a bomb", marked(bomb), 0, ""},
		{"redirects", marked(redirects), 0, ""},
		{"closes", breaksOff(""), 0, ""},
		{"says nothing", marked(stalls(false)), 0, ""},
		{"drips", marked(stalls(true)), 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			mux := http.NewServeMux()
			mux.HandleFunc("/v2/catalog", says(200, `{"services":[],"backstay_extensions":["admission"]}`))
			mux.HandleFunc("/v2/backstay/admission/", c.broker)
			mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) { t.Error("asked is " + r.URL.Path) })
			client := osbtest.Ask(t, httptest.NewServer(mux))
			client.MaxAnswer, client.Timeout = 64*backstay.KB, 30*time.Second
			if c.name == "says nothing" || c.name == "drips" {
				if _, err := client.Catalog(t.Context()); err != nil { // with all the time that it takes
					t.Fatal(err)
				}
				client.Timeout = 500 * time.Millisecond
			}
			for what, admit := range admissions {
				err := admit(t.Context(), client)
				switch {
				case c.sentence == "" && err != nil:
					t.Errorf("%s: %v", what, err)
				case c.sentence != "" && (backstay.KindOf(err) != c.kind || backstay.SentenceOf(err) != c.sentence):
					t.Errorf("%s: %v is %v", what, err, backstay.KindOf(err))
				case backstay.FailureOf(err).Orphan:
					t.Errorf("%s: an orphan may be left of nothing", what)
				}
			}
		})
	}
}

// TestNobodyWaitsForAdmission any longer is no answer of the broker's.
func TestNobodyWaitsForAdmission(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := osbtest.Ask(t, httptest.NewServer(says(200, `{}`))).AdmitBind(ctx, wantedBinding); err == nil {
		t.Error("it is admitted by nobody")
	}
}

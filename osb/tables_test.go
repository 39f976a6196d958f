package osb_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/osb/osbtest"
)

// told is a broker that answers each request as it was told to, or with the error.
type told struct {
	err           error
	provisioned   backstay.Provisioned
	updated       backstay.Updated
	deprovisioned backstay.Deprovisioned
	bound         backstay.Bound
	unbound       backstay.Unbound
	instance      backstay.FetchedInstance
	binding       backstay.FetchedBinding
	operation     backstay.Operation
	call          backstay.Call // of the last request
	provision     backstay.ProvisionRequest
	bind          backstay.BindRequest
}

// Catalog is that of the memory broker, with what that has none of.
func (b *told) Catalog(ctx context.Context) ([]backstay.CatalogOffering, error) {
	m := brokertest.NewMemory()
	m.Updateable = true
	all, err := m.Catalog(ctx)
	o := &all[0]
	o.Requires, o.BindingsRetrievable, o.AllowContextUpdates = []string{"syslog_drain"}, true, true
	o.Plans[0].Bindable, o.Plans[0].PlanUpdateable = new(false), new(false)
	o.Plans[0].MaximumPollingDuration = 90 * time.Second
	o.Plans[0].Schemas = backstay.Schemas{CreateBinding: json.RawMessage(`{"$schema":"s","type":"object"}`)}
	o.Plans[1].Schemas = backstay.Schemas{UpdateInstance: json.RawMessage(`{}`)}
	return all, err
}

func (b *told) Provision(_ context.Context, r backstay.ProvisionRequest) (backstay.Provisioned, error) {
	b.call, b.provision = r.Call, r
	return b.provisioned, b.err
}

func (b *told) Update(context.Context, backstay.UpdateRequest) (backstay.Updated, error) {
	return b.updated, b.err
}

func (b *told) Deprovision(context.Context, backstay.DeprovisionRequest) (backstay.Deprovisioned, error) {
	return b.deprovisioned, b.err
}

func (b *told) FetchInstance(context.Context, backstay.FetchInstanceRequest) (backstay.FetchedInstance, error) {
	return b.instance, b.err
}

func (b *told) LastOperation(context.Context, backstay.LastOperationRequest) (backstay.Operation, error) {
	return b.operation, b.err
}

func (b *told) Bind(_ context.Context, r backstay.BindRequest) (backstay.Bound, error) {
	b.bind = r
	return b.bound, b.err
}

func (b *told) Unbind(context.Context, backstay.UnbindRequest) (backstay.Unbound, error) {
	return b.unbound, b.err
}

func (b *told) FetchBinding(context.Context, backstay.FetchBindingRequest) (backstay.FetchedBinding, error) {
	return b.binding, b.err
}

func (b *told) LastBindingOperation(
	context.Context, backstay.LastBindingOperationRequest,
) (backstay.Operation, error) {
	return b.operation, b.err
}

// The requests of the specification, with what each must have.
const (
	of           = "service_id=00000000-0000-4000-8000-00000000000a&plan_id=00000000-0000-4000-8000-00000000000b"
	async        = "accepts_incomplete=true"
	putInstance  = "PUT /v2/service_instances/i?" + async
	patch        = "PATCH /v2/service_instances/i?" + async
	del          = "DELETE /v2/service_instances/i?" + async + "&" + of
	getInstance  = "GET /v2/service_instances/i"
	pollInstance = "GET /v2/service_instances/i/last_operation"
	putBinding   = "PUT /v2/service_instances/i/service_bindings/b?" + async
	delBinding   = "DELETE /v2/service_instances/i/service_bindings/b?" + async + "&" + of
	getBinding   = "GET /v2/service_instances/i/service_bindings/b"
	pollBindings = "GET /v2/service_instances/i/service_bindings/b/last_operation"

	ids  = `"service_id":"00000000-0000-4000-8000-00000000000a","plan_id":"00000000-0000-4000-8000-00000000000b"`
	body = `{` + ids + `,"organization_guid":"o","space_guid":"s"}`
)

func failing(kind backstay.Kind) *told { return &told{err: backstay.Errorf(kind, "Because.")} }

func coded(kind backstay.Kind, code backstay.ErrorCode) *told {
	return &told{err: backstay.WithFailure(backstay.Errorf(kind, "Because."), backstay.Failure{Code: code})}
}

const because = `{"description":"Because."}`

// TestTables is every table of responses in the specification: which status there is for what, and with which body.
func TestTables(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, request, body string
		broker              *told
		status              int
		want                string // the body; empty: any object
	}{
		// "Provisioning".
		{"created", putInstance, body, &told{provisioned: backstay.Provisioned{DashboardURL: "https://d"}}, 201,
			`{"dashboard_url":"https://d"}`},
		{"exists", putInstance, body, &told{provisioned: backstay.Provisioned{Existed: true}}, 200, `{}`},
		{"accepted", putInstance, body, &told{provisioned: backstay.Provisioned{Async: true, Operation: "k"}}, 202,
			`{"operation":"k"}`},
		{"conflict", putInstance, body, failing(backstay.Taken), 409, because},
		{"refused", putInstance, body, failing(backstay.Invalid), 400, because},
		{"another version", putInstance, body, coded(backstay.Invalid, backstay.MaintenanceInfoConflict), 422,
			`{"error":"MaintenanceInfoConflict","description":"Because."}`},
		{"nobody waits", "PUT /v2/service_instances/i", body, &told{}, 422, `{"error":"AsyncRequired","description":` +
			`"This service plan requires client support for asynchronous service operations."}`},
		{"waits for no", "PUT /v2/service_instances/i?accepts_incomplete=false", body, &told{}, 422, ""},
		{"no service", putInstance, `{"plan_id":"p"}`, &told{}, 400, `{"description":"service_id missing"}`},
		{"no plan", putInstance, `{"service_id":"s"}`, &told{}, 400, `{"description":"plan_id missing"}`},
		{"another service", putInstance, `{"service_id":"s","plan_id":"p"}`, &told{}, 400,
			`{"description":"service-id not in the catalog"}`},
		{"another plan", putInstance, strings.Replace(body, "00000000000b", "00000000000f", 1), &told{}, 400,
			`{"description":"plan-id not in the catalog"}`},
		{"no body", putInstance, "", &told{}, 400, `{"description":"The request is not a JSON object."}`},
		{"an array", putInstance, "[]", &told{}, 400, `{"description":"The request is not a JSON object."}`},
		{"null", putInstance, "null", &told{}, 400, `{"description":"The request is not a JSON object."}`},
		{"half of one", putInstance, body[:20], &told{}, 400, `{"description":"The request is not a JSON object."}`},
		{"a number for an id", putInstance, `{"service_id":7}`, &told{}, 400,
			`{"description":"The field service_id is of another type than number."}`},
		{"parameters that are none", putInstance, `{"parameters":[]}`, &told{}, 400,
			`{"description":"Parameters must be a JSON object"}`},
		{"a context that is none", putInstance, `{"context":"here"}`, &told{}, 400, ""},
		{"a name that is none", putInstance, `{"context":{"instance_name":"a\u0000b"}}`, &told{}, 400, ""},
		{"unknown fields", putInstance, `{"x_more":{},` + body[1:], &told{}, 201, `{}`},

		// "Updating a Service Instance".
		{"updated", patch, body, &told{updated: backstay.Updated{DashboardURL: "https://d", Operation: "ended"}}, 200,
			`{"dashboard_url":"https://d"}`},
		{"update accepted", patch, body, &told{updated: backstay.Updated{Async: true, Operation: "k"}}, 202,
			`{"operation":"k"}`},
		{"update refused", patch, body, failing(backstay.Invalid), 400, because},
		{"update that cannot be", patch, body, failing(backstay.Unsupported), 422, because},
		{"update while another", patch, body, failing(backstay.Busy), 422,
			`{"error":"ConcurrencyError","description":"Because."}`},
		{"update to another version", patch, body, coded(backstay.Invalid, backstay.MaintenanceInfoConflict), 422,
			`{"error":"MaintenanceInfoConflict","description":"Because."}`},
		{"update of nothing", patch, body, failing(backstay.NotFound), 404, because},
		{"update nobody waits for", "PATCH /v2/service_instances/i", body, &told{}, 422, ""},
		{"update without service", patch, `{}`, &told{}, 400, `{"description":"service_id missing"}`},

		// "Deprovisioning".
		{"deleted", del, "", &told{}, 200, `{}`},
		{"delete accepted", del, "", &told{deprovisioned: backstay.Deprovisioned{Async: true, Operation: "k"}}, 202,
			`{"operation":"k"}`},
		{"delete of nothing", del, "", failing(backstay.NotFound), 410, because},
		{"delete while another", del, "", failing(backstay.Busy), 422,
			`{"error":"ConcurrencyError","description":"Because."}`},
		{"delete nobody waits for", "DELETE /v2/service_instances/i?" + of, "", &told{}, 422, ""},
		{"delete without ids", "DELETE /v2/service_instances/i?" + async, "", &told{}, 400,
			`{"description":"service_id missing"}`},

		// "Fetching a Service Instance".
		{"fetched", getInstance, "", &told{instance: backstay.FetchedInstance{
			ServiceID: "s", PlanID: "p", DashboardURL: "https://d", Parameters: json.RawMessage(`{"a":1}`),
			MaintenanceInfo: &backstay.MaintenanceInfo{Version: "1.2.3"},
		}}, 200, `{"service_id":"s","plan_id":"p","dashboard_url":"https://d","parameters":{"a":1},` +
			`"maintenance_info":{"version":"1.2.3"}}`},
		{"fetch of nothing", getInstance, "", failing(backstay.NotFound), 404, because},
		{"fetch while another", getInstance, "", failing(backstay.Busy), 422,
			`{"error":"ConcurrencyError","description":"Because."}`},

		// "Polling Last Operation".
		{"in progress", pollInstance, "", &told{operation: backstay.Operation{
			State: backstay.InProgress, Description: "d",
		}}, 200, `{"state":"in progress","description":"d"}`},
		{"succeeded", pollInstance, "", &told{operation: backstay.Operation{State: backstay.Succeeded}}, 200,
			`{"state":"succeeded"}`},
		{"failed", pollInstance, "", &told{operation: backstay.Operation{
			State: backstay.Failed, Description: "d", Unusable: true, Unrepeatable: true,
		}}, 200, `{"state":"failed","description":"d","instance_usable":false,"update_repeatable":false}`},
		{"gone", pollInstance, "", failing(backstay.NotFound), 410, because},
		{"a key that is none", pollInstance + "?operation=%00", "", &told{}, 400, ""},
		{"a binding in progress", pollBindings, "", &told{operation: backstay.Operation{State: backstay.InProgress}}, 200,
			`{"state":"in progress"}`},
		{"a binding is gone", pollBindings, "", failing(backstay.NotFound), 410, because},

		// "Binding".
		{"bound", putBinding, body, &told{bound: backstay.Bound{BindingDetails: backstay.BindingDetails{
			Credentials: backstay.Credentials{"uri": "u"}, SyslogDrainURL: "syslog://l", RouteServiceURL: "https://r",
			VolumeMounts: json.RawMessage(`[{"driver":"nfs","container_dir":"/d","mode":"rw","device_type":"shared",` +
				`"device":{"volume_id":"v","mount_config":{"k":1}}}]`),
		}}}, 201, `{"credentials":{"uri":"u"},"syslog_drain_url":"syslog://l","route_service_url":"https://r",` +
			`"volume_mounts":[{"driver":"nfs","container_dir":"/d","mode":"rw","device_type":"shared",` +
			`"device":{"volume_id":"v","mount_config":{"k":1}}}]}`},
		{"binding exists", putBinding, body, &told{bound: backstay.Bound{
			Existed: true, BindingDetails: backstay.BindingDetails{Credentials: backstay.Credentials{"uri": "u"}},
		}}, 200, `{"credentials":{"uri":"u"}}`},
		{"binding accepted", putBinding, body, &told{bound: backstay.Bound{Async: true, Operation: "k"}}, 202,
			`{"operation":"k"}`},
		{"binding conflict", putBinding, body, failing(backstay.Taken), 409, because},
		{"binding refused", putBinding, body, failing(backstay.Invalid), 400, because},
		{"binding lacks an app", putBinding, body, coded(backstay.Invalid, backstay.RequiresApp), 422,
			`{"error":"RequiresApp","description":"Because."}`},
		{"binding while another", putBinding, body, failing(backstay.Busy), 422,
			`{"error":"ConcurrencyError","description":"Because."}`},
		{"binding nobody waits for", "PUT /v2/service_instances/i/service_bindings/b", body, &told{}, 422, ""},

		// "Unbinding" and "Fetching a Service Binding".
		{"unbound", delBinding, "", &told{}, 200, `{}`},
		{"unbind accepted", delBinding, "", &told{unbound: backstay.Unbound{Async: true, Operation: "k"}}, 202,
			`{"operation":"k"}`},
		{"unbind of nothing", delBinding, "", failing(backstay.NotFound), 410, because},
		{"unbind while another", delBinding, "", failing(backstay.Busy), 422,
			`{"error":"ConcurrencyError","description":"Because."}`},
		{"unbind without ids", "DELETE /v2/service_instances/i/service_bindings/b?" + async, "", &told{}, 400, ""},
		{"binding fetched", getBinding, "", &told{binding: backstay.FetchedBinding{
			BindingDetails: backstay.BindingDetails{Credentials: backstay.Credentials{"uri": "u"}},
			Parameters:     json.RawMessage(`{"a":1}`),
		}}, 200, `{"credentials":{"uri":"u"},"parameters":{"a":1}}`},
		{"fetch of no binding", getBinding, "", failing(backstay.NotFound), 404, because},

		// "Service Broker Errors".
		{"our bug", putInstance, body, failing(backstay.Internal), 500, `{"description":"An unknown error occurred."}`},
		{"no room", putInstance, body, failing(backstay.Unavailable), 503, because},
		{"no such request", "GET /v2/nothing", "", &told{}, 404, ""},
		{"no such method", "POST /v2/service_instances/i", body, &told{}, 404, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			status, _, got := ask(t, c.broker, c.request, c.body, nil)
			if status != c.status {
				t.Errorf("the status is %d; want %d: %s", status, c.status, got)
			}
			var want, is any
			if err := json.Unmarshal(got, &is); err != nil {
				t.Fatalf("%s: %v", got, err)
			}
			if _, ok := is.(map[string]any); !ok {
				t.Errorf("the body is no object: %s", got)
			}
			if c.want != "" && (json.Unmarshal([]byte(c.want), &want) != nil || !reflect.DeepEqual(is, want)) {
				t.Errorf("the body is\n%s; want\n%s", got, c.want)
			}
		})
	}
}

// ask sends a request, "METHOD path", with more headers, or without those that are empty.
func ask(
	t *testing.T, b backstay.Broker, request, body string, headers map[string]string,
) (status int, header http.Header, got []byte) {
	t.Helper()
	method, path, _ := strings.Cut(request, " ")
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.SetBasicAuth(osbtest.Username, osbtest.Password.Reveal())
	r.Header.Set("X-Broker-API-Version", "2.17")
	for name, value := range headers {
		if r.Header.Set(name, value); value == "" {
			r.Header.Del(name)
		}
	}
	w := httptest.NewRecorder()
	osbtest.Handler(t, b).Handler().ServeHTTP(w, r)
	got, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, w.Header(), got
}

// TestEveryKindHasAStatus: an error of no Kind is answered with anything but a failure.
func TestEveryKindHasAStatus(t *testing.T) {
	t.Parallel()
	for _, k := range backstay.Kinds() {
		if status, _, got := ask(t, failing(k), putInstance, body, nil); status < 400 || status > 599 {
			t.Errorf("%v is %d %s", k, status, got)
		}
	}
}

// TestHeaders is who may ask, in which version, and what is answered besides the body.
func TestHeaders(t *testing.T) {
	t.Parallel()
	identity := func(platform, value string) string {
		return platform + " " + base64.StdEncoding.EncodeToString([]byte(value))
	}
	for _, c := range []struct {
		name    string
		request string
		headers map[string]string
		status  int
	}{
		{"nobody", getInstance, map[string]string{"Authorization": ""}, 401},
		{"a stranger", getInstance, map[string]string{"Authorization": "Basic YTpi"}, 401},
		{"a token", getInstance, map[string]string{"Authorization": "Bearer x"}, 401},
		{"no version", getInstance, map[string]string{"X-Broker-API-Version": ""}, 412},
		{"version 1", getInstance, map[string]string{"X-Broker-API-Version": "1.17"}, 412},
		{"version 3", getInstance, map[string]string{"X-Broker-API-Version": "3.0"}, 412},
		{"no number", getInstance, map[string]string{"X-Broker-API-Version": "two"}, 412},
		{"half a version", getInstance, map[string]string{"X-Broker-API-Version": "2."}, 412},
		{"a newer one", getInstance, map[string]string{"X-Broker-API-Version": "2.99"}, 200},
		{"an older one", "GET /v2/catalog", map[string]string{"X-Broker-API-Version": "2.3"}, 200},
		{"too old to fetch", getInstance, map[string]string{"X-Broker-API-Version": "2.13"}, 412},
		{"too old to fetch a binding", getBinding, map[string]string{"X-Broker-API-Version": "2.13"}, 412},
		{"too old to poll a binding", pollBindings, map[string]string{"X-Broker-API-Version": "2.13"}, 412},
		{"for somebody", getInstance,
			map[string]string{"X-Broker-API-Originating-Identity": identity("cloudfoundry", `{"user_id":"u"}`)}, 200},
		{"for no object", getInstance,
			map[string]string{"X-Broker-API-Originating-Identity": identity("cloudfoundry", `"u"`)}, 400},
		{"for no JSON", getInstance, map[string]string{"X-Broker-API-Originating-Identity": "cloudfoundry u"}, 400},
		{"for no platform", getInstance, map[string]string{"X-Broker-API-Originating-Identity": identity("", `{}`)}, 400},
		{"for nobody that can be kept", getInstance,
			map[string]string{"X-Broker-API-Originating-Identity": identity("p", `{"a":"\u0000"}`)}, 400},
		{"a name without end", getInstance,
			map[string]string{"X-Broker-API-Request-Identity": strings.Repeat("n", 1001)}, 400},
		{"encoded", putInstance, map[string]string{"Content-Encoding": "gzip"}, 415},
		{"a form", putInstance, map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, 201},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			status, header, got := ask(t, &told{}, c.request, body, c.headers)
			if status != c.status || header.Get("Content-Type") != "application/json" || !json.Valid(got) {
				t.Errorf("%d %s %s; want %d", status, header, got, c.status)
			}
			if status == 401 && header.Get("WWW-Authenticate") == "" {
				t.Error("nobody is told how to log in")
			}
		})
	}
}

// TestWhatReachesTheBroker of a request: whom it is for, where the instance is, and parameters of which one order is
// as good as another.
func TestWhatReachesTheBroker(t *testing.T) {
	t.Parallel()
	b := &told{}
	const given = `{` + ids + `,"organization_guid":"x","space_guid":"y","context":{"platform":"kubernetes",` +
		`"clusterid":"c","namespace":"n","instance_name":"db"},"parameters":{"b":1.0,"a":"é"},` +
		`"maintenance_info":{"version":"1.0.0","description":"d"}}`
	headers := map[string]string{
		"X-Broker-API-Originating-Identity": "kubernetes " + base64.StdEncoding.EncodeToString([]byte(`{ "uid": "u" }`)),
		"X-Broker-API-Request-Identity":     "r",
	}
	_, header, _ := ask(t, b, putInstance, given, headers)
	want := backstay.ProvisionRequest{
		Call: backstay.Call{RequestID: "r", Identity: backstay.OriginatingIdentity{
			Platform: "kubernetes", Value: json.RawMessage(`{"uid":"u"}`),
		}},
		InstanceID: "i", ServiceID: brokertest.MemoryOffering, PlanID: brokertest.MemoryFree,
		Context: backstay.Context{
			Platform: "kubernetes", OrganizationID: "c", SpaceID: "n", InstanceName: "db",
		},
		Parameters:      json.RawMessage(`{"a":"é","b":1.0}`),
		MaintenanceInfo: &backstay.MaintenanceInfo{Version: "1.0.0", Description: "d"},
	}
	if !reflect.DeepEqual(b.provision, want) {
		t.Errorf("asked is\n%+v; want\n%+v", b.provision, want)
	}
	if header.Get("X-Broker-API-Request-Identity") != "r" {
		t.Error("the request's identity is not told again")
	}
	for _, none := range []string{body, `{"parameters":{},` + body[1:], `{"parameters":null,` + body[1:]} {
		if ask(t, b, putInstance, none, nil); b.provision.Parameters != nil || b.provision.Context.SpaceID != "s" {
			t.Errorf("%s: asked is %+v", none, b.provision)
		}
	}
	ask(t, b, putBinding, `{"bind_resource":{"app_guid":"a","route":"r.example.org"},`+body[1:], nil)
	if b.bind.AppID != "a" || b.bind.Route != "r.example.org" {
		t.Errorf("asked is %+v", b.bind)
	}
	ask(t, b, putBinding, `{"app_guid":"old",`+body[1:], nil)
	if b.bind.AppID != "old" {
		t.Errorf("asked is %+v", b.bind)
	}
}

// TestCatalog reads the catalog as it goes over the wire.
func TestCatalog(t *testing.T) {
	t.Parallel()
	_, _, got := ask(t, &told{}, "GET /v2/catalog", "", nil)
	var is, want any
	const wanted = `{"services":[{"id":"00000000-0000-4000-8000-00000000000a","name":"postgres",
		"description":"PostgreSQL in memory","tags":["postgres","relational"],"requires":["syslog_drain"],"bindable":true,
		"instances_retrievable":true,"bindings_retrievable":true,"allow_context_updates":true,"plan_updateable":true,
		"metadata":{"documentationUrl":"https://www.postgresql.org/docs/","shareable":true},"plans":[
		{"id":"00000000-0000-4000-8000-00000000000c","name":"M-dedicated-15","description":"M-dedicated-15 of postgres",
		"free":false,"bindable":false,"plan_updateable":false,"metadata":{"costs":[{"amount":{"gbp":120},"unit":"MONTHLY"}]},
		"schemas":{"service_binding":{"create":{"parameters":{"$schema":"s","type":"object"}}}},
		"maximum_polling_duration":90,"maintenance_info":{"version":"15.1.0","description":"PostgreSQL 15.1"}},
		{"id":"00000000-0000-4000-8000-00000000000b","name":"Free","description":"Free of postgres","free":true,
		"metadata":{"costs":[{"amount":{"gbp":0},"unit":"MONTHLY"}]},
		"schemas":{"service_instance":{"update":{"parameters":{"$schema":"http://json-schema.org/draft-06/schema#"}}}},
		"maintenance_info":{"version":"15.1.0","description":"PostgreSQL 15.1"}}]}]}`
	if err := json.Unmarshal([]byte(wanted), &want); err != nil {
		t.Fatal(err)
	}
	if json.Unmarshal(got, &is) != nil || !reflect.DeepEqual(is, want) {
		t.Errorf("the catalog is\n%s; want\n%s", got, wanted)
	}
	c := osbtest.Serve(t, &told{})
	read, err := c.Catalog(t.Context())
	own, _ := (&told{}).Catalog(t.Context())
	own[0].Private = true // until somebody opens them
	own[0].Plans[1].Schemas.UpdateInstance = json.RawMessage(`{"$schema":"http://json-schema.org/draft-06/schema#"}`)
	if err != nil || !reflect.DeepEqual(read, own) {
		t.Errorf("read is\n%+v, %v; want\n%+v", read, err, own)
	}
}

// TestRetryAfter is how long a platform is to leave an operation alone, and that the client hears of it.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, c := range []struct {
		op   backstay.Operation
		want time.Duration
	}{
		{backstay.Operation{State: backstay.Succeeded, CreatedAt: now.Add(-time.Hour)}, 0},
		{backstay.Operation{State: backstay.InProgress}, time.Second},
		{backstay.Operation{State: backstay.InProgress, CreatedAt: now}, time.Second},
		{backstay.Operation{State: backstay.InProgress, CreatedAt: now.Add(-42 * time.Second)}, 10 * time.Second},
		{backstay.Operation{State: backstay.InProgress, CreatedAt: now.Add(-time.Hour)}, 30 * time.Second},
		{backstay.Operation{State: backstay.InProgress, RetryAfter: 5 * time.Minute}, 5 * time.Minute},
		{backstay.Operation{State: backstay.InProgress, RetryAfter: 100 * time.Hour}, time.Hour},
		{backstay.Operation{State: backstay.InProgress, RetryAfter: time.Millisecond}, time.Second},
	} {
		client := osbtest.Serve(t, &told{operation: c.op})
		op, err := client.LastOperation(t.Context(), backstay.LastOperationRequest{InstanceID: "i"})
		if err != nil || op.RetryAfter != c.want {
			t.Errorf("%+v: the client hears %s, %v; want %s", c.op, op.RetryAfter, err, c.want)
		}
	}
}

// TestTooMuch is a request that is too large, and one too many at once.
func TestTooMuch(t *testing.T) {
	t.Parallel()
	large := `{"parameters":{"a":"` + strings.Repeat("x", 1<<20) + `"},` + body[1:]
	if status, _, got := ask(t, &told{}, putInstance, large, nil); status != 413 {
		t.Errorf("%d %s", status, got)
	}
	slow := &waits{told: told{}, entered: make(chan struct{}), leave: make(chan struct{})}
	h := osbtest.Handler(t, slow)
	h.AtOnce = 1
	server := httptest.NewServer(h.Handler())
	client := osbtest.Ask(t, server)
	first := make(chan error)
	go func() { first <- fetch(context.WithoutCancel(t.Context()), client) }()
	<-slow.entered
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/v2/catalog", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(osbtest.Username, osbtest.Password.Reveal())
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != 429 || answer.Header.Get("Retry-After") != "1" {
		t.Errorf("one too many is answered with %s %v", answer.Status, answer.Header)
	}
	close(slow.leave)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if _, err := client.Catalog(t.Context()); err != nil {
		t.Errorf("after the others: %v", err)
	}
}

// waits is a broker that fetches no instance until it may.
type waits struct {
	told
	entered, leave chan struct{}
}

func (w *waits) FetchInstance(context.Context, backstay.FetchInstanceRequest) (backstay.FetchedInstance, error) {
	close(w.entered)
	<-w.leave
	return backstay.FetchedInstance{}, nil
}

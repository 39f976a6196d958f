package osb_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/osb"
	"github.com/backstay/backstay/osb/osbtest"
)

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
		`"maintenance_info":{"version":"1.0.0","description":"d"},"backstay_copy_of":"of"}`
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
		MaintenanceInfo: &backstay.MaintenanceInfo{Version: "1.0.0", Description: "d"}, CopyOf: "of",
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
	own[0].BrokerMetadata = json.RawMessage(`{"documentationUrl":"https://www.postgresql.org/docs/","shareable":true}`)
	for i, amount := range []string{"120", "0"} {
		own[0].Plans[i].BrokerMetadata = json.RawMessage(`{"costs":[{"amount":{"gbp":` + amount + `},"unit":"MONTHLY"}]}`)
	}
	own[0].Plans[1].Schemas.UpdateInstance = json.RawMessage(`{"$schema":"http://json-schema.org/draft-06/schema#"}`)
	if err != nil || !reflect.DeepEqual(read, own) {
		t.Errorf("read is\n%+v, %v; want\n%+v", read, err, own)
	}
}

// TestMetadataOfOthers is kept as it is, also where it says in another way what we know of.
func TestMetadataOfOthers(t *testing.T) {
	t.Parallel()
	const offering = `{"displayName":"Queue","documentationUrl":7,"bullets":["a\u0000b"]}`
	const plan = `{"costs":[{"amount":"free of charge"}],"displayName":"Small"}`
	all, err := (&osb.Client{}).ParseCatalog(json.RawMessage(`{"services":[{"id":"s","name":"queue","metadata":` + offering +
		`,"plans":[{"id":"p","name":"small","metadata":` + plan + `},{"id":"q","name":"large","metadata":null}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	o := all[0]
	if string(o.BrokerMetadata) != offering || o.DocumentationURL != "" {
		t.Errorf("the offering is %+v", o)
	}
	if string(o.Plans[0].BrokerMetadata) != plan || o.Plans[0].Costs != nil || o.Plans[1].BrokerMetadata != nil {
		t.Errorf("its plans are %+v", o.Plans)
	}
}

// TestRetryAfter is how long a platform is to leave an operation alone, and that the client hears of it.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		op   backstay.Operation
		age  time.Duration // zero: it is not told
		want time.Duration
	}{
		{backstay.Operation{State: backstay.Succeeded}, time.Hour, 0},
		{backstay.Operation{State: backstay.InProgress}, 0, time.Second},
		{backstay.Operation{State: backstay.InProgress}, time.Millisecond, time.Second},
		{backstay.Operation{State: backstay.InProgress}, 40 * time.Second, 10 * time.Second},
		{backstay.Operation{State: backstay.InProgress}, time.Hour, 30 * time.Second},
		{backstay.Operation{State: backstay.InProgress, RetryAfter: 5 * time.Minute}, 0, 5 * time.Minute},
		{backstay.Operation{State: backstay.InProgress, RetryAfter: 100 * time.Hour}, 0, time.Hour},
		{backstay.Operation{State: backstay.InProgress, RetryAfter: time.Millisecond}, 0, time.Second},
	} {
		if c.age != 0 {
			c.op.CreatedAt = time.Now().Add(-c.age)
		}
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
	h.AtOnce, h.Patience = 1, time.Millisecond
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

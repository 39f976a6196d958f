package market_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
	"github.com/backstay/backstay/osb"
)

// scripted is a broker over HTTP that answers as a test wants, and notes what it was asked.
type scripted struct {
	*httptest.Server
	mu      sync.Mutex
	catalog string
	answers map[string]http.HandlerFunc // by what is asked: "PUT instance", "GET binding/last_operation"
	asked   []string
	bodies  map[string]map[string]any // the last one of each
}

const soundCatalog = `{"services": [{"id": "s", "name": "queue", "description": "A queue", "bindable": true,
	"instances_retrievable": false, "requires": ["syslog_drain", "volume_mount"], "plans": [
	{"id": "p", "name": "small", "description": "A small queue", "maximum_polling_duration": 20}]}]}`

func newScripted(t *testing.T) *scripted {
	s := &scripted{catalog: soundCatalog, answers: map[string]http.HandlerFunc{}, bodies: map[string]map[string]any{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.answer))
	t.Cleanup(s.Close)
	return s
}

// status answers with a status and a body.
func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}
}

// hangUp is what a broker does that dies.
func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func (s *scripted) answer(w http.ResponseWriter, r *http.Request) {
	what := "catalog"
	if parts := strings.Split(r.URL.Path, "/"); len(parts) > 3 {
		what = map[int]string{4: "instance", 5: "instance/last_operation", 6: "binding", 7: "binding/last_operation"}[len(parts)]
	}
	what = r.Method + " " + what
	var body map[string]any
	json.NewDecoder(r.Body).Decode(&body)
	s.mu.Lock()
	s.asked, s.bodies[what] = append(s.asked, what), body
	handle, catalog := s.answers[what], s.catalog
	s.mu.Unlock()
	switch {
	case what == "GET catalog":
		fmt.Fprint(w, catalog)
	case handle != nil:
		handle(w, r)
	case r.Method == http.MethodDelete:
		status(http.StatusGone, `{}`)(w, r)
	default:
		status(http.StatusCreated, `{}`)(w, r)
	}
}

func (s *scripted) on(what string, h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[what] = h
}

func (s *scripted) count(what string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, asked := range s.asked {
		if asked == what {
			n++
		}
	}
	return n
}

// foreign is a market in which a scripted broker is registered, whose one plan is for everybody.
type foreign struct {
	*floor
	broker *scripted
	id     backstay.BrokerID
	plan   backstay.PlanID
}

func newForeign(t *testing.T) *foreign {
	b := newListener()
	m := markettest.NewAmong(t, testkit.Postgres(t), markettest.Seller{ServiceBroker: markettest.Broker, Broker: b})
	f := &foreign{floor: newFloorOf(t, m, b), broker: newScripted(t)}
	m.Open = (&osb.Pool{}).Open
	f.id = backstay.BrokerID(f.must(t, f.register(t, f.broker.URL)))
	plans, err := f.Plans(t.Context(), markettest.Admin, market.PlanFilter{BrokerIDs: []backstay.BrokerID{f.id}})
	must(t, err)
	f.plan = plans.Items[0].ID
	must(t, f.SetVisibility(t.Context(), markettest.Admin, f.plan, market.NewVisibility{Type: backstay.PublicPlan}))
	return f
}

func (f *foreign) register(t *testing.T, url string) backstay.Job {
	t.Helper()
	j, err := f.CreateBroker(t.Context(), markettest.Admin, market.NewBroker{
		Name: "queues-" + url, URL: url, Login: backstay.BrokerLogin{Username: "platform", Password: "secret"},
	})
	must(t, err)
	return f.ended(t, j)
}

func (f *foreign) ended(t *testing.T, j backstay.Job) backstay.Job {
	t.Helper()
	j, err := f.AwaitJob(t.Context(), j.ID, time.Minute)
	must(t, err)
	if j.State != backstay.JobComplete && j.State != backstay.JobFailed {
		t.Fatalf("%s is %s", j.Operation, j.State)
	}
	return j
}

func (f *foreign) must(t *testing.T, j backstay.Job) string {
	t.Helper()
	if j.State != backstay.JobComplete {
		t.Fatalf("%s is %s: %s", j.Operation, j.State, j.Sentence)
	}
	return j.Resource
}

func (f *foreign) make(t *testing.T, name string) backstay.Job {
	t.Helper()
	j, err := f.CreateInstance(t.Context(), markettest.Admin, market.NewInstance{
		Name: name, SpaceID: f.spaces[0].ID, PlanID: f.plan,
	})
	must(t, err)
	return f.ended(t, j)
}

// awaitCount waits until the broker has been asked for something so often.
func (f *foreign) awaitCount(t *testing.T, what string, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := wait.Until(ctx, wait.Every(10*time.Millisecond), func() (bool, error) {
		return f.broker.count(what) < n, nil
	}); err != nil {
		t.Fatalf("%s was asked %d times: %v", what, f.broker.count(what), err)
	}
}

// TestOrphans has a broker answer a request for an instance, and one for a binding, in all the ways that the
// specification's table has (OSB 2.17, "Orphan Mitigation").
func TestOrphans(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		left   bool
	}{
		"200 malformed":      {status(200, `[]`), false},
		"201 malformed":      {status(201, `nonsense`), true},
		"another 2xx":        {status(206, `{}`), true},
		"400":                {status(400, `{"description": "too many"}`), false},
		"408":                {status(408, `{}`), false},
		"409":                {status(409, `{}`), false},
		"422":                {status(422, `{"error": "AsyncRequired"}`), false},
		"500":                {status(500, `{}`), true},
		"the connection off": {hangUp, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newForeign(t)
			in := backstay.InstanceID(f.must(t, f.make(t, "sound")))
			f.broker.on("PUT instance", tc.answer)
			f.broker.on("PUT binding", tc.answer)
			first := true
			f.broker.on("DELETE instance", func(w http.ResponseWriter, r *http.Request) {
				if first { // it is asked until there is nothing
					first = false
					status(500, "{}")(w, r)
					return
				}
				status(410, "{}")(w, r)
			})
			j := f.make(t, "broken")
			_, bound, err := f.CreateBinding(t.Context(), markettest.Admin, market.NewBinding{
				Type: backstay.KeyBinding, Name: "key", InstanceID: in,
			})
			must(t, err)
			bound = f.ended(t, bound)
			if j.State != backstay.JobFailed || bound.State != backstay.JobFailed || j.Sentence == "" {
				t.Errorf("they are %+v and %+v", j, bound)
			}
			if tc.left {
				f.awaitCount(t, "DELETE instance", 2)
				f.awaitCount(t, "DELETE binding", 1)
				return
			}
			for _, id := range []string{j.Resource, bound.Resource} {
				if pending, err := f.Store.Pending(t.Context(), "orphan.end", id); err != nil || pending {
					t.Errorf("it is ended: %v, %v", pending, err)
				}
			}
			if n := f.broker.count("DELETE instance") + f.broker.count("DELETE binding"); n > 0 {
				t.Errorf("%d deletes", n)
			}
		})
	}
}

// TestWhatTakesTime has a broker make an instance and a binding later, and answer nonsense for a while when it is asked
// for them.
func TestWhatTakesTime(t *testing.T) {
	t.Parallel()
	f := newForeign(t)
	later := func(states ...string) http.HandlerFunc {
		var mu sync.Mutex
		return func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			if q := r.URL.Query(); q.Get("operation") != "task 1" || q.Get("service_id") != "s" || q.Get("plan_id") != "p" {
				status(400, `{}`)(w, r)
				return
			}
			now := states[0]
			if len(states) > 1 {
				states = states[1:]
			}
			if now == "" {
				hangUp(w, r)
			}
			status(200, `{"state": "`+now+`", "description": "is `+now+`"}`)(w, r)
		}
	}
	f.broker.on("PUT instance", status(202, `{"operation": "task 1", "dashboard_url": "https://queue.example.org"}`))
	f.broker.on("GET instance/last_operation", later("in progress", "", "nonsense", "succeeded"))
	in := backstay.InstanceID(f.must(t, f.make(t, "queue")))
	got, err := f.Instance(t.Context(), markettest.Admin, in)
	must(t, err)
	if got.LastOperation.Description != "is succeeded" || got.DashboardURL != "https://queue.example.org" {
		t.Errorf("it is %+v", got)
	}
	c, _ := f.broker.bodies["PUT instance"]["context"].(map[string]any)
	if c["organization_name"] != "owner" || c["space_name"] != "owner" || c["instance_name"] != "queue" {
		t.Errorf("the broker was told of %v", c)
	}

	f.broker.on("PUT binding", status(202, `{"operation": "task 1"}`))
	f.broker.on("GET binding/last_operation", later("", "in progress", "succeeded"))
	f.broker.on("GET binding", status(200, `{"credentials": {"host": "127.0.0.1", "port": 1}, "syslog_drain_url":
		"syslog://logs.example.org", "volume_mounts": [{"driver": "nfs"}]}`))
	key := f.bindKey(t, in)
	d, err := f.BindingDetails(t.Context(), markettest.Admin, key)
	must(t, err)
	if d.Credentials["host"] != "127.0.0.1" || d.SyslogDrainURL != "syslog://logs.example.org" ||
		string(d.VolumeMounts) != `[{"driver":"nfs"}]` {
		t.Errorf("it gives %v %s %s", map[string]any(d.Credentials), d.SyslogDrainURL, d.VolumeMounts)
	}
	f.wantNoTunnel(t, key)

	f.broker.on("PUT instance", status(202, `{"operation": "task 1"}`))
	f.broker.on("GET instance/last_operation", later("failed"))
	if j := f.make(t, "other"); j.Sentence != "is failed" {
		t.Errorf("it is %s: %s", j.State, j.Sentence)
	}
	f.awaitCount(t, "DELETE instance", 1)
}

func (f *foreign) bindKey(t *testing.T, in backstay.InstanceID) backstay.BindingID {
	t.Helper()
	b, j, err := f.CreateBinding(t.Context(), markettest.Admin, market.NewBinding{
		Type: backstay.KeyBinding, Name: "key", InstanceID: in,
	})
	must(t, err)
	f.must(t, f.ended(t, j))
	return b.ID
}

// wantNoTunnel asks for a tunnel to where a foreign broker's credentials lead, which an operator has to allow.
func (f *foreign) wantNoTunnel(t *testing.T, key backstay.BindingID) {
	t.Helper()
	_, err := f.Endpoint(t.Context(), markettest.Admin, key)
	if backstay.KindOf(err) != backstay.Unsupported || !strings.Contains(err.Error(), "tunnel-networks") {
		t.Errorf("a tunnel leads to a foreign broker's address: %v", err)
	}
	allowing := &market.Market{
		Store: f.Store, Brokers: f.Brokers, Key: f.Key, Log: f.Log,
		TunnelNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}
	e, err := allowing.Endpoint(t.Context(), markettest.Admin, key)
	if err != nil || e.Host != "127.0.0.1" || e.Port != 1 {
		t.Errorf("where it is allowed it leads to %v, %v", e, err)
	}
	allowing.TunnelNetworks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	if _, err := allowing.Endpoint(t.Context(), markettest.Admin, key); backstay.KindOf(err) != backstay.Unsupported {
		t.Errorf("it leads out of the network that is allowed: %v", err)
	}
}

// TestASlowBrokerKeepsNobodyWaiting has more instances wait for a broker that never ends what it has begun than jobs can
// be at work at once: ours are made meanwhile.
func TestASlowBrokerKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	f := newForeign(t)
	_, err := f.UpdateQuota(t.Context(), markettest.Admin, false, backstay.DefaultQuota,
		market.QuotaUpdate{Limits: map[backstay.Limit]*int64{backstay.ServiceInstances: nil}})
	must(t, err)
	f.broker.on("PUT instance", status(202, `{}`))
	f.broker.on("GET instance/last_operation", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "60")
		status(200, `{"state": "in progress"}`)(w, r)
	})
	for i := range 210 {
		_, err := f.CreateInstance(t.Context(), markettest.Admin, market.NewInstance{
			Name: fmt.Sprint("queue-", i), SpaceID: f.spaces[0].ID, PlanID: f.plan,
		})
		must(t, err)
	}
	f.awaitCount(t, "PUT instance", 200)
	begun := time.Now()
	f.floor.create(t, "ours")
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("ours took %s", took)
	}
}

// TestAKilledRequestLeavesNothing has us die after a broker was asked and before it answered: whatever it answers when it
// is asked again, it may have made something.
func TestAKilledRequestLeavesNothing(t *testing.T) {
	t.Parallel()
	f := newForeign(t)
	m := &market.Market{Store: markettest.OpenStore(t), Brokers: market.Brokers{}, Key: f.Key, Log: f.Log, Open: f.Open}
	ctx, admin := t.Context(), markettest.Admin
	o, err := m.CreateOrganization(ctx, admin, market.NewOrganization{Name: "org"})
	must(t, err)
	sp, err := m.CreateSpace(ctx, admin, o.ID, "space", noMetadata)
	must(t, err)
	j, err := m.CreateBroker(ctx, admin, market.NewBroker{
		Name: "queues", URL: f.broker.URL, Login: backstay.BrokerLogin{Username: "platform", Password: "secret"},
	})
	must(t, err)
	must(t, m.Work(ctx, j.ID, false))
	plans, err := m.Plans(ctx, admin, market.PlanFilter{Names: []string{"small"}})
	must(t, err)
	must(t, m.SetVisibility(ctx, admin, plans.Items[0].ID, market.NewVisibility{Type: backstay.PublicPlan}))
	j, err = m.CreateInstance(ctx, admin, market.NewInstance{Name: "q", SpaceID: sp.ID, PlanID: plans.Items[0].ID})
	must(t, err)

	dying, die := context.WithCancel(ctx)
	f.broker.on("PUT instance", func(w http.ResponseWriter, r *http.Request) { die(); <-r.Context().Done() })
	if err := m.Work(dying, j.ID, false); err == nil {
		t.Fatal("it did not die")
	}
	f.broker.on("PUT instance", status(400, `{"description": "no"}`))
	must(t, m.Work(ctx, j.ID, false))
	if pending, err := m.Store.Pending(ctx, "orphan.end", j.Resource); err != nil || !pending {
		t.Errorf("nobody ends what may have been made: %v", err)
	}
}

// TestWrongCatalogs has a broker offer what nobody can sell, and wants all that is wrong with it told.
func TestWrongCatalogs(t *testing.T) {
	t.Parallel()
	f := newForeign(t)
	for name, tc := range map[string]struct{ catalog, want string }{
		"nothing": {`{"services": []}`, "Service broker must provide at least one service\n"},
		"types": {`{"services": [{"id": 123, "name": "queue", "description": "", "bindable": "true", "tags": ["a", 1],
			"metadata": [], "plans": [{"id": "p", "name": "small", "description": "d", "metadata": ["b"], "free": "yes"},
			{"id": "p", "name": "small", "description": "d"}]}, {"id": "t", "name": "queue", "description": "d",
			"bindable": true, "requires": ["the_moon"], "plans": []}]}`,
			"Service names must be unique within a broker\n" +
				"Plan ids must be unique. Unable to register plan with id 'p' (plan name 'small', service name 'queue') because " +
				"it uses the same id as another plan in the catalog (plan name 'small', service name 'queue')\n" +
				"Service queue\n" +
				"  Service id must be a string, but has value 123\n" +
				"  Service \"bindable\" field must be a boolean, but has value \"true\"\n" +
				"  Service tags must be an array of strings, but has value [\"a\", 1]\n" +
				"  Service metadata must be a hash, but has value []\n" +
				"  Service description is required\n" +
				"  Plan ids must be unique. Service queue already has a plan with id 'p'\n" +
				"  Plan names must be unique within a service. Service queue already has a plan named small\n" +
				"  Plan small\n" +
				"    Plan free must be a boolean, but has value \"yes\"\n" +
				"    Plan metadata must be a hash, but has value [\"b\"]\n" +
				"Service queue\n" +
				"  Service \"requires\" field contains unsupported value \"the_moon\"\n" +
				"  At least one plan is required\n"},
		"escapes": {`{"services": [{"id": "s", "name": "q\u001b[2J", "description": "a\nb", "bindable": true, "tags": ["\u0000"],
			"metadata": {"a": "\\u0000"}, "plans": [{"id": "p\u0000", "name": "small", "description": "d",
			"metadata": {"bullets": ["\u0000"]}}]}]}`,
			"Service q[2J\n  Service name must not contain control characters\n" +
				"  Service tags must not contain control characters\n" +
				"  Plan small\n    Plan id must not contain control characters\n" +
				"    Plan metadata must not contain control characters\n"},
		"schemas": {`{"services": [{"id": "s", "name": "q", "description": "d", "bindable": true, "plans": [{"id": "p",
			"name": "small", "description": "d", "maintenance_info": {"version": "1"}, "schemas": {"service_instance":
			{"create": {"parameters": {"type": "array"}}, "update": {"parameters": {"type": "object", "properties":
			{"a": {"$ref": "https://elsewhere.example.org"}}}}}, "service_binding": {"create": 3}}}]}]}`,
			"Service q\n  Plan small\n    Maintenance info\n" +
				"      Maintenance info version must be a Semantic Version, but has value \"1\"\n" +
				"    Schemas\n" +
				"      Schemas service_binding.create must be a hash, but has value 3\n" +
				"      Schema service_instance.create.parameters is not valid. must have field \"type\", with value \"object\"\n" +
				"      Schema service_instance.update.parameters is not valid. No external references are allowed: " +
				"https://elsewhere.example.org\n"},
		"names": {`{"services": [{"id": "s", "name": "` + strings.Repeat("q", 256) + `", "description": "d", "bindable": true,
			"plans": [{"id": "p", "name": "small", "description": "d"}]}]}`,
			"Service " + strings.Repeat("q", 256) + "\n  Service name may not have more than 255 characters\n"},
		"plans": {manyPlans(1001), "Service broker may have at most 1000 plans, and has 1001\n"},
	} {
		t.Run(name, func(t *testing.T) {
			f.broker.mu.Lock()
			f.broker.catalog = tc.catalog
			f.broker.mu.Unlock()
			name, url := "queues", f.broker.URL
			_, j, err := f.UpdateBroker(t.Context(), markettest.Admin, f.id, market.BrokerUpdate{
				Update: market.Update{Name: &name}, URL: &url,
			})
			must(t, err)
			if j = f.ended(t, j); j.Sentence != "Service broker catalog is invalid: \n"+tc.want {
				t.Errorf("%s: %s", j.State, j.Sentence)
			}
		})
	}
	b, err := f.ServiceBroker(t.Context(), markettest.Admin, f.id)
	if err != nil || b.Name == "queues" {
		t.Errorf("it is %s after all: %v", b.Name, err)
	}
}

func manyPlans(count int) string {
	all := make([]string, count)
	for i := range all {
		all[i] = fmt.Sprintf(`{"id": "p%d", "name": "p%d", "description": "d"}`, i, i)
	}
	return `{"services": [{"id": "s", "name": "q", "description": "d", "bindable": true, "plans": [` +
		strings.Join(all, ",") + `]}]}`
}

// TestCatalogsChange has a broker offer other plans: what instances have stays, what nobody has goes, and what is new is
// hidden.
func TestCatalogsChange(t *testing.T) {
	t.Parallel()
	f := newForeign(t)
	f.must(t, f.make(t, "queue"))
	look := func(catalog string) []string {
		t.Helper()
		f.broker.mu.Lock()
		f.broker.catalog = catalog
		f.broker.mu.Unlock()
		url := f.broker.URL
		_, j, err := f.UpdateBroker(t.Context(), markettest.Admin, f.id, market.BrokerUpdate{URL: &url})
		must(t, err)
		f.must(t, f.ended(t, j))
		l, err := f.Plans(t.Context(), markettest.Admin, market.PlanFilter{BrokerIDs: []backstay.BrokerID{f.id}})
		must(t, err)
		var all []string
		for _, p := range l.Items {
			all = append(all, fmt.Sprintf("%s %v %s", p.Name, p.Available, p.Visibility))
		}
		slices.Sort(all)
		return all
	}
	got := look(strings.Replace(soundCatalog, `"plans": [`, `"plans": [{"id": "q", "name": "big", "description": "d"},`, 1))
	if want := []string{"big true admin", "small true public"}; !slices.Equal(got, want) {
		t.Errorf("there are %q", got)
	}
	got = look(strings.Replace(soundCatalog, `"id": "p", "name": "small"`, `"id": "r", "name": "other"`, 1))
	if want := []string{"other true admin", "small false public"}; !slices.Equal(got, want) {
		t.Errorf("there are %q", got)
	}
	if _, err := f.DeleteBroker(t.Context(), markettest.Admin, f.id); backstay.KindOf(err) != backstay.InUse {
		t.Errorf("a broker with instances is deleted: %v", err)
	}
	offerings, err := f.Offerings(t.Context(), markettest.Admin, market.OfferingFilter{BrokerIDs: []backstay.BrokerID{f.id}})
	must(t, err)
	must(t, f.PurgeOffering(t.Context(), markettest.Admin, offerings.Items[0].ID))
	j, err := f.DeleteBroker(t.Context(), markettest.Admin, f.id)
	must(t, err)
	f.must(t, f.ended(t, j))
}

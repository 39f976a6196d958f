package e2e

import (
	"context"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/osb"
	tenants "github.com/backstay/backstay/tenant"
)

// platformElsewhere is another platform, which has our broker over HTTP and repeats what it was not answered.
type platformElsewhere struct {
	t      *testing.T
	broker *osb.Client
	breed
	service  backstay.ServiceID
	plans    map[string]backstay.ServicePlanID
	instance backstay.InstanceID
	binding  backstay.BindingID
	current  string // its plan
}

// elsewhere lets another platform in, which is to find the broker at that address.
func elsewhere(t *testing.T, p *platform, name, address string, of breed) *platformElsewhere {
	t.Helper()
	out, err := exec.Command(p.binary, "osb-client", "create", name, "--data", p.data).Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, p.logs())
	}
	e := &platformElsewhere{t: t, breed: of, plans: map[string]backstay.ServicePlanID{}, broker: &osb.Client{
		URL: address, Username: name, Password: backstay.Secret(strings.TrimSpace(string(out))), Roots: x509.NewCertPool(),
	}}
	authority, err := os.ReadFile(filepath.Join(p.data, "authority.pem"))
	if err != nil || !e.broker.Roots.AppendCertsFromPEM(authority) {
		t.Fatal("there is no authority", err)
	}
	t.Cleanup(e.broker.Close)
	e.insist("the catalog", func() error {
		offerings, err := e.broker.Catalog(t.Context())
		for _, o := range offerings {
			wantAcceptable(t, o)
			if o.Name == of.offering {
				e.service = o.ID
				for _, plan := range o.Plans {
					e.plans[plan.Name] = plan.ID
				}
			}
		}
		return err
	})
	return e
}

// wantAcceptable holds an offering to what Cloud Controller takes of a catalog.
func wantAcceptable(t *testing.T, o backstay.CatalogOffering) {
	t.Helper()
	tags := 0
	for _, tag := range o.Tags {
		tags += len(tag)
	}
	if o.ID == "" || o.Name == "" || o.Description == "" || len(o.Description) > 10_000 || tags > 2048 {
		t.Errorf("%+v is not acceptable", o)
	}
	for _, p := range o.Plans {
		for _, schema := range [][]byte{p.Schemas.CreateInstance, p.Schemas.UpdateInstance, p.Schemas.CreateBinding} {
			if len(schema) > 64<<10 || schema != nil && !strings.Contains(string(schema), `"$schema"`) {
				t.Errorf("a schema of %s %s has %d bytes: %.80s", o.Name, p.Name, len(schema), schema)
			}
		}
		if p.ID == "" || p.Name == "" || p.Description == "" || len(p.Description) > 10_000 {
			t.Errorf("%s: %+v is not acceptable", o.Name, p)
		}
	}
}

// insist repeats a request until it is answered, as a platform does whose broker is away or at work.
func (e *platformElsewhere) insist(what string, ask func() error) {
	e.t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		err = ask()
		if k := backstay.KindOf(err); err == nil || k != backstay.Unavailable && k != backstay.Busy {
			break
		}
	}
	if err != nil {
		e.t.Fatalf("%s: %v", what, err)
	}
}

// settle returns the last operation on the instance when it has ended, and nothing of an instance that is gone.
func (e *platformElsewhere) settle() backstay.Operation {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), patience)
	defer cancel()
	ask := backstay.LastOperationRequest{InstanceID: e.instance, ServiceID: e.service, PlanID: e.plans[e.current]}
	op := backstay.Operation{State: backstay.InProgress}
	for op.State == backstay.InProgress {
		var err error
		if op, err = e.broker.AwaitOperation(ctx, ask, op); backstay.KindOf(err) == backstay.NotFound {
			return backstay.Operation{}
		} else if err != nil {
			e.t.Fatalf("%s: %v", e.instance, err)
		}
	}
	return op
}

func (e *platformElsewhere) create() {
	e.t.Helper()
	e.instance, e.current = backstay.InstanceID("instance/"+uuid.NewString()), e.plan
	r := backstay.ProvisionRequest{
		InstanceID: e.instance, ServiceID: e.service, PlanID: e.plans[e.plan],
		Context: backstay.Context{Platform: "kubernetes", OrganizationID: "cluster", SpaceID: "default", InstanceName: "db"},
	}
	e.insist("create", func() error { _, err := e.broker.Provision(e.t.Context(), r); return err })
	if op := e.settle(); op.State != backstay.Succeeded {
		e.t.Fatalf("the create ended as %+v", op)
	}
	e.insist("the same again", func() error {
		answer, err := e.broker.Provision(e.t.Context(), r)
		if err == nil && (answer.Async || !answer.Existed) {
			e.t.Errorf("it is answered with %+v", answer)
		}
		return err
	})
}

func (e *platformElsewhere) bind() session {
	e.t.Helper()
	e.binding = backstay.BindingID(uuid.NewString())
	r := backstay.BindRequest{
		InstanceID: e.instance, BindingID: e.binding, ServiceID: e.service, PlanID: e.plans[e.current],
	}
	var bound backstay.Bound
	e.insist("bind", func() (err error) { bound, err = e.broker.Bind(e.t.Context(), r); return err })
	var fetched backstay.FetchedBinding
	e.insist("fetch the binding", func() (err error) {
		fetched, err = e.broker.FetchBinding(e.t.Context(), backstay.FetchBindingRequest{
			InstanceID: e.instance, BindingID: e.binding, ServiceID: e.service, PlanID: e.plans[e.current],
		})
		return err
	})
	if !reflect.DeepEqual(map[string]any(fetched.Credentials), map[string]any(bound.Credentials)) {
		e.t.Error("a binding is fetched with other credentials than it was made with")
	}
	s, err := e.open(e.t.Context(), bound.Credentials)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { s.Close() })
	return s
}

func (e *platformElsewhere) change() {
	e.t.Helper()
	r := backstay.UpdateRequest{
		Call:       backstay.Call{RequestID: uuid.NewString()},
		InstanceID: e.instance, ServiceID: e.service, PlanID: e.plans[e.larger],
		Previous: backstay.PreviousValues{PlanID: e.plans[e.plan]},
	}
	e.insist("change", func() error { _, err := e.broker.Update(e.t.Context(), r); return err })
	if op := e.settle(); op.State != backstay.Succeeded {
		e.t.Fatalf("the change ended as %+v", op)
	}
	e.current = e.larger
	var found backstay.FetchedInstance
	e.insist("fetch", func() (err error) {
		found, err = e.broker.FetchInstance(e.t.Context(), backstay.FetchInstanceRequest{InstanceID: e.instance})
		return err
	})
	if found.PlanID != r.PlanID {
		e.t.Errorf("it has plan %s; want %s", found.PlanID, r.PlanID)
	}
}

func (e *platformElsewhere) unbind() {
	e.t.Helper()
	e.insist("unbind", func() error {
		_, err := e.broker.Unbind(e.t.Context(), backstay.UnbindRequest{
			InstanceID: e.instance, BindingID: e.binding, ServiceID: e.service, PlanID: e.plans[e.current],
		})
		return absentIsFine(err)
	})
}

func (e *platformElsewhere) remove() {
	e.t.Helper()
	e.insist("delete", func() error {
		_, err := e.broker.Deprovision(e.t.Context(), backstay.DeprovisionRequest{
			InstanceID: e.instance, ServiceID: e.service, PlanID: e.plans[e.current],
		})
		return absentIsFine(err)
	})
	if op := e.settle(); op.State != "" {
		e.t.Fatalf("the delete ended as %+v", op)
	}
}

func absentIsFine(err error) error {
	if backstay.KindOf(err) == backstay.NotFound {
		return nil
	}
	return err
}

// lead leads an instance through its life.
func (e *platformElsewhere) lead() {
	e.t.Helper()
	e.create()
	s := e.bind()
	if err := s.Keep(e.t.Context()); err != nil {
		e.t.Fatal(err)
	}
	e.change()
	if err := e.bind().Kept(e.t.Context()); err != nil {
		e.t.Errorf("after the change of plan: %v", err)
	}
	e.unbind()
	e.remove()
}

// wantNothingLeft looks for what nobody asks for any more: where instances lie, and in the list of clients.
func wantNothingLeft(t *testing.T, p *platform) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(p.data, "instances"))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 { // that of the state database
		t.Errorf("there are %v", entries)
	}
	out, err := exec.Command(p.binary, "osb-client", "list", "--data", p.data).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "elsewhere   0 ") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestBrokerAlone serves the Open Service Broker API and nothing else.
func TestBrokerAlone(t *testing.T) {
	t.Parallel()
	p := prepare(t, "backstay", "--tls")
	p.args[0] = "broker"
	p.mustServe()
	e := elsewhere(t, p, "elsewhere", p.url, redisBreed)
	e.lead()
	wantNothingLeft(t, p)
	bill, err := exec.Command(p.binary, "usage", "--data", p.data).CombinedOutput()
	if err != nil || strings.Count(string(bill), "osb-client elsewhere   elsewhere   redis") != 2 { // two plans
		t.Errorf("what the platform had is on the bill as %s, %v", bill, err)
	}
}

// TestCrashOverHTTP kills the control plane behind each step that another platform comes past, which asks again and ends
// all that it began: no orphan is left.
func TestCrashOverHTTP(t *testing.T) {
	testkit.InSomeRuns(t)
	if testing.Short() {
		t.Skip("takes minutes")
	}
	t.Parallel()
	p := prepare(t, "backstay-crash", "--osb", "/osb")
	p.mustServe()
	e := elsewhere(t, p, "elsewhere", p.url+"/osb", redisBreed)
	steps := slices.DeleteFunc(append(tenants.StepNames(), broker.StepNames()...), func(step string) bool {
		return isOfNoUser(step) || isOfFailure(step)
	})
	for _, step := range testkit.Drawn(t, steps) {
		if !t.Run(step, func(t *testing.T) { e.survive(t, p, step) }) {
			return
		}
	}
}

// survive leads a life in which the control plane dies behind a step.
func (e *platformElsewhere) survive(t *testing.T, p *platform, step string) {
	stopped := filepath.Join(testkit.Dir(t), "stopped")
	p.env = []string{"BACKSTAY_STOP_AFTER=" + step, "BACKSTAY_STOPPED=" + stopped}
	p.kill()
	p.mustServe()
	if err := os.WriteFile(stopped+".armed", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w := &ward{platform: p}
	ctx, cancel := context.WithCancel(t.Context())
	var helpers sync.WaitGroup
	helpers.Go(func() { w.revive(ctx) })
	helpers.Go(func() { w.strike(ctx, stopped, "serve") })
	life := *e
	life.t = t
	life.lead()
	w.awaitStrike(t, stopped)
	cancel()
	helpers.Wait()
	wantNothingLeft(t, p)
}

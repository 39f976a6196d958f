package e2e

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"code.cloudfoundry.org/brokerapi/v13"
	"code.cloudfoundry.org/brokerapi/v13/domain"
	"code.cloudfoundry.org/brokerapi/v13/domain/apiresponses"
)

// Who is served by that broker.
const othersUser, othersPassword = "market", "a-market's-password"

// TestBrokerOfBrokerAPI has a broker that was written with the library brokerapi sell in our marketplace, and does with
// what it sells all that cf can.
func TestBrokerOfBrokerAPI(t *testing.T) {
	t.Parallel()
	p := start(t, "backstay")
	u := &customer{t: t, home: t.TempDir(), name: "brokerapi"}
	u.must("api", p.url)
	u.must("auth", "admin", p.password)
	u.must("create-org", u.name)
	u.must("target", "-o", u.name)
	u.must("create-space", "dev")
	u.must("target", "-s", "dev")
	u.must("create-service-broker", u.name, othersUser, othersPassword, startBrokerAPI(t))
	u.must("enable-service-access", "things", "-b", u.name)
	for _, plan := range []string{"now", "later"} {
		u.buy(plan)
	}
	out, err := u.cf("create-service", "things", "now", "plaid", "-b", u.name, "-c", `{"color":"plaid"}`, "--wait")
	if err == nil || !strings.Contains(out, "plaid thing") {
		t.Errorf("what the broker refuses: %v\n%s", err, out)
	}
	u.must("delete-service", "plaid", "-f", "--wait")
	u.must("delete-service-broker", u.name, "-f")
}

// customer is somebody with the genuine cf.
type customer struct {
	t          *testing.T
	home, name string
}

func (u *customer) cf(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(u.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(repository, "bin", "cf"), args...)
	cmd.Env = append(os.Environ(), "CF_HOME="+u.home, "CF_COLOR=false")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (u *customer) must(args ...string) string {
	u.t.Helper()
	out, err := u.cf(args...)
	if err != nil {
		u.t.Fatalf("cf %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// want wants a command to say something.
func (u *customer) want(says string, args ...string) {
	u.t.Helper()
	if out := u.must(args...); !strings.Contains(out, says) {
		u.t.Errorf("cf %s does not say %q:\n%s", strings.Join(args, " "), says, out)
	}
}

// buy leads an instance of a plan through its life.
func (u *customer) buy(plan string) {
	u.t.Helper()
	thing := "thing-" + plan
	u.must("create-service", "things", plan, thing, "-b", u.name, "-c", `{"color":"blue"}`, "--wait")
	u.want("create succeeded", "service", thing)
	u.want(`"color": "blue"`, "service", thing, "--params")
	u.must("create-service-key", thing, "key", "--wait")
	u.want("thing://", "service-key", thing, "key")
	u.must("create-app", "app-"+plan)
	u.must("bind-service", "app-"+plan, thing, "--wait")
	u.want(`"nested": {`, "env", "app-"+plan)
	other := map[string]string{"now": "later", "later": "now"}[plan]
	u.must("update-service", thing, "-p", other, "--wait")
	u.want("update succeeded", "service", thing)
	u.must("unbind-service", "app-"+plan, thing, "--wait")
	u.must("delete-service-key", thing, "key", "-f", "--wait")
	u.must("delete-service", thing, "-f", "--wait")
	if out, err := u.cf("service", thing); err == nil {
		u.t.Errorf("it is there after it was deleted:\n%s", out)
	}
}

// startBrokerAPI starts a broker of the library brokerapi, as it is by itself.
func startBrokerAPI(t *testing.T) string {
	b := &thingBroker{things: map[string]*thing{}}
	s := httptest.NewServer(brokerapi.New(b, slog.New(slog.NewTextHandler(t.Output(), nil)),
		brokerapi.BrokerCredentials{Username: othersUser, Password: othersPassword}))
	t.Cleanup(s.Close)
	return s.URL
}

// thingBroker makes things and bindings of the plan "now" at once, and of "later" a moment later.
type thingBroker struct {
	mu     sync.Mutex
	things map[string]*thing // instances, and bindings
}

type thing struct {
	plan       string
	parameters any
	doing      string // what is being done to it
	until      time.Time
}

func (b *thingBroker) Services(context.Context) ([]domain.Service, error) {
	plan := func(name string) domain.ServicePlan {
		return domain.ServicePlan{ID: name + "-id", Name: name, Description: name, Free: new(true)}
	}
	return []domain.Service{{
		ID: "things-id", Name: "things", Description: "Things of brokerapi", Bindable: true, PlanUpdatable: true,
		InstancesRetrievable: true, BindingsRetrievable: true, Plans: []domain.ServicePlan{plan("now"), plan("later")},
	}}, nil
}

// begin makes or ends a thing: at once, or a moment later and in that case it names the operation.
func (b *thingBroker) begin(id string, t *thing, doing string) (operation string, later bool) {
	if later = t.plan == "later-id"; later {
		t.doing, t.until = doing, time.Now().Add(300*time.Millisecond)
		return doing + " " + id, true
	}
	if doing == "delete" {
		delete(b.things, id)
	}
	return "", false
}

func (b *thingBroker) Provision(
	_ context.Context, id string, d domain.ProvisionDetails, _ bool,
) (domain.ProvisionedServiceSpec, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if strings.Contains(string(d.RawParameters), "plaid") {
		return domain.ProvisionedServiceSpec{}, apiresponses.NewFailureResponse(errors.New("there is no plaid thing"), 400, "no")
	}
	if b.things[id] != nil {
		return domain.ProvisionedServiceSpec{AlreadyExists: true}, nil
	}
	b.things[id] = &thing{plan: d.PlanID, parameters: d.RawParameters}
	operation, later := b.begin(id, b.things[id], "create")
	return domain.ProvisionedServiceSpec{
		IsAsync: later, OperationData: operation, DashboardURL: "https://things.example.org/",
	}, nil
}

func (b *thingBroker) Deprovision(
	_ context.Context, id string, _ domain.DeprovisionDetails, _ bool,
) (domain.DeprovisionServiceSpec, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.things[id] == nil {
		return domain.DeprovisionServiceSpec{}, apiresponses.ErrInstanceDoesNotExist
	}
	operation, later := b.begin(id, b.things[id], "delete")
	return domain.DeprovisionServiceSpec{IsAsync: later, OperationData: operation}, nil
}

func (b *thingBroker) GetInstance(
	_ context.Context, id string, _ domain.FetchInstanceDetails,
) (domain.GetInstanceDetailsSpec, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.things[id] == nil {
		return domain.GetInstanceDetailsSpec{}, apiresponses.ErrInstanceDoesNotExist
	}
	return domain.GetInstanceDetailsSpec{
		ServiceID: "things-id", PlanID: b.things[id].plan, Parameters: b.things[id].parameters,
	}, nil
}

func (b *thingBroker) Update(
	_ context.Context, id string, d domain.UpdateDetails, _ bool,
) (domain.UpdateServiceSpec, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.things[id] == nil {
		return domain.UpdateServiceSpec{}, apiresponses.ErrInstanceDoesNotExist
	}
	b.things[id].plan = d.PlanID
	operation, later := b.begin(id, b.things[id], "update")
	return domain.UpdateServiceSpec{IsAsync: later, OperationData: operation}, nil
}

func (b *thingBroker) LastOperation(_ context.Context, id string, d domain.PollDetails) (domain.LastOperation, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.things[id]
	switch {
	case t == nil:
		return domain.LastOperation{}, apiresponses.ErrInstanceDoesNotExist
	case d.OperationData != t.doing+" "+id:
		return domain.LastOperation{}, apiresponses.NewFailureResponse(fmt.Errorf("no operation %q", d.OperationData), 400, "no")
	case time.Now().Before(t.until):
		return domain.LastOperation{State: domain.InProgress, Description: t.doing + " goes on"}, nil
	case t.doing == "delete":
		delete(b.things, id)
	}
	return domain.LastOperation{State: domain.Succeeded}, nil
}

func (b *thingBroker) Bind(
	_ context.Context, in, id string, d domain.BindDetails, _ bool,
) (domain.Binding, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.things[in] == nil {
		return domain.Binding{}, apiresponses.ErrInstanceDoesNotExist
	}
	if b.things[id] != nil {
		return domain.Binding{AlreadyExists: true, Credentials: credentialsOf(id)}, nil
	}
	b.things[id] = &thing{plan: d.PlanID}
	operation, later := b.begin(id, b.things[id], "create")
	if later {
		return domain.Binding{IsAsync: true, OperationData: operation}, nil
	}
	return domain.Binding{Credentials: credentialsOf(id)}, nil
}

func credentialsOf(id string) map[string]any {
	return map[string]any{"uri": "thing://" + id, "nested": map[string]any{"n": 1}}
}

func (b *thingBroker) Unbind(
	_ context.Context, _, id string, _ domain.UnbindDetails, _ bool,
) (domain.UnbindSpec, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.things[id] == nil {
		return domain.UnbindSpec{}, apiresponses.ErrBindingDoesNotExist
	}
	operation, later := b.begin(id, b.things[id], "delete")
	return domain.UnbindSpec{IsAsync: later, OperationData: operation}, nil
}

func (b *thingBroker) GetBinding(
	_ context.Context, _, id string, _ domain.FetchBindingDetails,
) (domain.GetBindingSpec, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.things[id] == nil {
		return domain.GetBindingSpec{}, apiresponses.ErrBindingNotFound
	}
	return domain.GetBindingSpec{Credentials: credentialsOf(id)}, nil
}

func (b *thingBroker) LastBindingOperation(
	ctx context.Context, _, id string, d domain.PollDetails,
) (domain.LastOperation, error) {
	return b.LastOperation(ctx, id, d)
}

package tenant_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/osb"
)

// TestClientKeepsTheContract runs the contract of brokers on the broker as one client among others has it.
func TestClientKeepsTheContract(t *testing.T) {
	t.Parallel()
	brokertest.Run(t, func(t testing.TB) backstay.Broker { return newHouse(t).client(t, "platform", 1000) })
}

// TestWalls has two clients ask for the same: each has an instance of its own, and neither sees the other's.
func TestWalls(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a, b := h.client(t, "a", 10), h.client(t, "b", 10)
	r := brokertest.MustProvision(t, a)
	_, err := b.LastOperation(t.Context(), backstay.LastOperationRequest{InstanceID: r.InstanceID})
	wantKind(t, err, backstay.NotFound)
	_, err = b.FetchInstance(t.Context(), backstay.FetchInstanceRequest{InstanceID: r.InstanceID})
	wantKind(t, err, backstay.NotFound)
	_, err = b.Update(t.Context(), backstay.UpdateRequest{InstanceID: r.InstanceID, ServiceID: r.ServiceID})
	wantKind(t, err, backstay.NotFound)
	_, err = b.Deprovision(t.Context(), backstay.DeprovisionRequest{
		InstanceID: r.InstanceID, ServiceID: r.ServiceID, PlanID: r.PlanID,
	})
	wantKind(t, err, backstay.NotFound)

	binding := backstay.BindRequest{
		InstanceID: r.InstanceID, BindingID: "one", ServiceID: r.ServiceID, PlanID: r.PlanID, AppID: "app",
	}
	_, err = a.Bind(t.Context(), binding)
	must(t, err)
	_, err = b.Bind(t.Context(), binding)
	wantKind(t, err, backstay.NotFound)
	_, err = b.Unbind(t.Context(), backstay.UnbindRequest{
		InstanceID: r.InstanceID, BindingID: "one", ServiceID: r.ServiceID, PlanID: r.PlanID,
	})
	wantKind(t, err, backstay.NotFound)

	own := r
	own.PlanID = brokertest.MemoryFree
	if own.PlanID == r.PlanID {
		own.PlanID = brokertest.MemoryMedium
	}
	answer, err := b.Provision(t.Context(), own) // the same id, and another plan: no conflict
	if err != nil || answer.Existed {
		t.Errorf("the other client's own: %+v, %v", answer, err)
	}
	for name, c := range map[string]*osb.Client{"a": a, "b": b} {
		if _, err := h.memory.LastOperation(t.Context(), backstay.LastOperationRequest{InstanceID: r.InstanceID}); err == nil {
			t.Error("the broker knows an instance by the id of a client")
		}
		if got, err := c.LastOperation(t.Context(), backstay.LastOperationRequest{InstanceID: r.InstanceID}); err != nil {
			t.Errorf("%s does not see its own: %+v, %v", name, got, err)
		}
	}
}

// TestSentencesHaveThePlatformsIDs whatever the broker calls an instance.
func TestSentencesHaveThePlatformsIDs(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.client(t, "platform", 10)
	_, err := c.FetchInstance(t.Context(), backstay.FetchInstanceRequest{InstanceID: "my-db"})
	if got := backstay.SentenceOf(err); got != "Service broker error: Service instance my-db not found" {
		t.Errorf("the sentence is %q", got)
	}
}

// TestAdmission refuses a client beforehand what the broker would, in the platform's words, and knows nothing of the
// instances of others. It leaves no trace.
func TestAdmission(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a, b := h.client(t, "a", 10), h.client(t, "b", 10)
	r := brokertest.MustProvision(t, a)
	update := backstay.UpdateRequest{InstanceID: r.InstanceID, ServiceID: r.ServiceID}
	bind := backstay.BindRequest{InstanceID: r.InstanceID, BindingID: "b", ServiceID: r.ServiceID, PlanID: r.PlanID}
	must(t, a.AdmitUpdate(t.Context(), update))
	must(t, a.AdmitBind(t.Context(), bind))
	err := b.AdmitUpdate(t.Context(), update)
	wantKind(t, err, backstay.NotFound)
	if got, want := backstay.SentenceOf(err), "Service instance "+string(r.InstanceID)+" not found"; !strings.Contains(
		got, want) {
		t.Errorf("the sentence is %q; want %q", got, want)
	}
	for _, c := range []*osb.Client{a, b} {
		other := brokertest.NewRequest(t, c)
		must(t, c.AdmitProvision(t.Context(), other))
		other.Parameters = json.RawMessage(`{"no_such_parameter":1}`)
		wantKind(t, c.AdmitProvision(t.Context(), other), backstay.Invalid)
	}
	update.Parameters = json.RawMessage(`{"no_such_parameter":1}`)
	wantKind(t, a.AdmitUpdate(t.Context(), update), backstay.Invalid)
	bind.Parameters = update.Parameters
	wantKind(t, a.AdmitBind(t.Context(), bind), backstay.Invalid)
	h.only(t)
	events, err := h.store.Events(t.Context(), market.EventFilter{})
	must(t, err)
	if len(events.Items) != 3 { // two clients and an instance
		t.Errorf("the trail is %+v", events.Items)
	}
}

// TestAnyTextIsAnID takes ids as platforms may give them, and refuses what is no text.
func TestAnyTextIsAnID(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.client(t, "platform", 100)
	r := brokertest.NewRequest(t, c)
	for _, id := range []string{
		"a/b", "../../etc/passwd", "..", ".", "%2e%2e", "a?b#c", "naïve ☃", " ", "'; DROP TABLE x; --", "-rf", "a\\b",
		"last_operation", strings.Repeat("x", 1000), "a%2Fb", "a//b", "\"", "CON",
	} {
		r.InstanceID = backstay.InstanceID(id)
		if _, err := c.Provision(t.Context(), r); err != nil {
			t.Errorf("%.40q: %v", id, err)
		}
		again, err := c.Provision(t.Context(), r)
		if err != nil || again.Async == again.Existed {
			t.Errorf("%.40q again: %+v, %v", id, again, err)
		}
	}
	for _, id := range []string{"\x00", "a\nb", "\xff\xfe", strings.Repeat("x", 10<<10), "\u0085"} {
		r.InstanceID = backstay.InstanceID(id)
		_, err := c.Provision(t.Context(), r)
		wantKind(t, err, backstay.Invalid)
	}
	all, err := h.List(t.Context())
	if err != nil || len(all) != 1 || all[0].Instances != 17 {
		t.Errorf("%+v, %v; want 17 instances", all, err)
	}
}

// TestPasswords follows a client's passwords from the first to none.
func TestPasswords(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first, err := h.Create(t.Context(), backstay.Actor{}, "platform", 1)
	must(t, err)
	good := func(p backstay.Secret) bool {
		_, err := h.as(t, "platform", p).Catalog(t.Context())
		return err == nil
	}
	second, err := h.Rotate(t.Context(), backstay.Actor{}, "platform", time.Hour)
	must(t, err)
	if first == second || !good(first) || !good(second) {
		t.Error("of the two passwords one is not good")
	}
	third, err := h.Rotate(t.Context(), backstay.Actor{}, "platform", 0)
	must(t, err)
	if good(first) || good(second) || !good(third) {
		t.Error("after a rotation without grace, another one than the newest password is good")
	}
	must(t, h.Revoke(t.Context(), backstay.Actor{}, "platform"))
	if good(third) || good("") || good("wrong") {
		t.Error("a client that was revoked is served")
	}
	for _, name := range []string{"", "nobody", "a\x00b", strings.Repeat("n", 100)} {
		if _, err := h.as(t, name, third).Catalog(t.Context()); backstay.SentenceOf(err) != "Authentication with the service "+
			"broker failed. Double-check that the username and password are correct." {
			t.Errorf("%.20q: %v", name, err)
		}
	}
	for _, name := range []string{"", "a b", "-x", strings.Repeat("n", 64), "a/b"} {
		_, err := h.Create(t.Context(), backstay.Actor{}, name, 1)
		wantKind(t, err, backstay.Invalid)
	}
}

// TestLimit refuses an instance too many, and makes room by itself when one has ended.
func TestLimit(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	now := time.Now()
	h.Now = func() time.Time { return now }
	c := h.client(t, "platform", 1)
	r := brokertest.NewRequest(t, c)
	_, err := c.Provision(t.Context(), r)
	must(t, err)
	other := r
	other.InstanceID = backstay.InstanceID(uuid.NewString())
	_, err = c.Provision(t.Context(), other)
	wantKind(t, err, backstay.Unavailable)
	if got := backstay.SentenceOf(err); !strings.Contains(got, "The client has 1 service instances, and may have no more.") {
		t.Errorf("the sentence is %q", got)
	}
	if early := c.AdmitProvision(t.Context(), other); backstay.SentenceOf(early) != backstay.SentenceOf(err) {
		t.Errorf("it is said before that %v", early)
	}
	must(t, c.AdmitProvision(t.Context(), r)) // which it has
	_, err = c.Deprovision(t.Context(), backstay.DeprovisionRequest{
		InstanceID: r.InstanceID, ServiceID: r.ServiceID, PlanID: r.PlanID,
	})
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for op := (backstay.Operation{}); err == nil; { // the memory ends it, and the platform never asks whether it has
		op, err = h.memory.AwaitOperation(ctx, backstay.LastOperationRequest{InstanceID: h.only(t)}, op)
	}
	wantKind(t, err, backstay.NotFound)
	_, err = c.Provision(t.Context(), other)
	wantKind(t, err, backstay.Unavailable) // it may have been claimed a moment ago
	now = now.Add(time.Hour)
	must(t, c.AdmitProvision(t.Context(), other))
	_, err = c.Provision(t.Context(), other)
	must(t, err)
}

// TestAnInstanceStaysItsClients although its client asks about it before the broker knows it, and is told that there is
// none.
func TestAnInstanceStaysItsClients(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.client(t, "platform", 10)
	r := brokertest.NewRequest(t, c)
	h.Broker = meanwhile{h.memory, func() {
		_, err := c.LastOperation(t.Context(), backstay.LastOperationRequest{InstanceID: r.InstanceID})
		wantKind(t, err, backstay.NotFound)
	}}
	_, err := c.Provision(t.Context(), r)
	must(t, err)
	h.only(t)
}

// meanwhile is a broker that something is asked before it takes an instance.
type meanwhile struct {
	*brokertest.Memory
	ask func()
}

func (m meanwhile) Provision(ctx context.Context, r backstay.ProvisionRequest) (backstay.Provisioned, error) {
	m.ask()
	return m.Memory.Provision(ctx, r)
}

// only is the broker's id of the one instance that there is.
func (h *house) only(t testing.TB) backstay.InstanceID {
	t.Helper()
	all, err := h.List(t.Context())
	must(t, err)
	claims, err := h.Store.Claims(t.Context(), all[0].ID, time.Now().Add(time.Hour))
	if err != nil || len(claims) != 1 {
		t.Fatalf("%+v, %v", claims, err)
	}
	return claims[0].InstanceID
}

// TestFetchingABindingIsRecorded, since whoever fetches one is told its credentials; and nobody else can.
func TestFetchingABindingIsRecorded(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.memory.AsyncBindings = false
	a, b := h.client(t, "a", 10), h.client(t, "b", 10)
	r := brokertest.MustProvision(t, a)
	_, err := a.Bind(t.Context(), backstay.BindRequest{
		InstanceID: r.InstanceID, BindingID: "my-binding", ServiceID: r.ServiceID, PlanID: r.PlanID,
	})
	must(t, err)
	fetch := backstay.FetchBindingRequest{InstanceID: r.InstanceID, BindingID: "my-binding"}
	_, err = b.FetchBinding(t.Context(), fetch)
	wantKind(t, err, backstay.NotFound)
	if _, err = a.FetchBinding(t.Context(), fetch); err != nil {
		t.Fatal(err)
	}
	all, err := h.store.Events(t.Context(), market.EventFilter{Types: []string{"audit.service_binding.show"}})
	must(t, err)
	if len(all.Items) != 1 || all.Items[0].Actor.Username != "osb-client a" || all.Items[0].Target.Name != "my-binding" {
		t.Errorf("the trail has %+v", all.Items)
	}
}

// TestTrail reads in the audit trail who asked for what, and for whom.
func TestTrail(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.client(t, "korifi", 10)
	r := brokertest.NewRequest(t, c)
	r.RequestID = "request-1"
	r.Identity = backstay.OriginatingIdentity{Platform: "kubernetes", Value: json.RawMessage(`{"username":"duke"}`)}
	_, err := c.Provision(t.Context(), r)
	must(t, err)
	all, err := h.store.Events(t.Context(), market.EventFilter{})
	must(t, err)
	var types []string
	for _, e := range all.Items {
		types = append(types, e.Type)
		if e.Type != "audit.service_instance.start_create" {
			continue
		}
		for _, want := range []string{"duke", "kubernetes", "request-1", string(r.InstanceID), string(r.PlanID)} {
			if !strings.Contains(string(e.Data), want) {
				t.Errorf("%s has no %q", e.Data, want)
			}
		}
		if e.Actor.Username != "osb-client korifi" || e.Actor.Address != "192.0.2.1" || e.Target.Name != "orders" {
			t.Errorf("it is %+v", e)
		}
	}
	if got := strings.Join(types, " "); got != "audit.osb_client.create audit.service_instance.start_create" {
		t.Errorf("the trail has %s", got)
	}
}

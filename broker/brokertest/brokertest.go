// Package brokertest is the contract of [backstay.Broker], and of the broker's store, written as
// tests. Every broker runs it: ours in process, ours behind a door, a stand-in for the market's own
// tests, and whatever is registered from elsewhere.
package brokertest

import (
	"context"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
)

// limit is how long any operation may take here.
const limit = time.Minute

// Run checks that the brokers that open returns keep the contract. One broker serves all subtests.
func Run(t *testing.T, open func(t testing.TB) backstay.Broker) {
	b := open(t)
	for _, c := range []struct {
		name string
		run  func(t *testing.T, b backstay.Broker)
	}{
		{"CatalogIsStable", catalogIsStable},
		{"LifeOfAnInstance", lifeOfAnInstance},
		{"ProvisionTwiceIsOnce", provisionTwiceIsOnce},
		{"ProvisionWithOtherAttributesIsTaken", provisionWithOtherAttributesIsTaken},
		{"PlanOfNoOfferingIsNotFound", planOfNoOfferingIsNotFound},
		{"UnknownParameterIsInvalid", unknownParameterIsInvalid},
		{"UnknownBindParameterIsInvalid", unknownBindParameterIsInvalid},
		{"UnknownInstanceIsNotFound", unknownInstanceIsNotFound},
		{"BindTwiceGivesTheSameCredentials", bindTwiceGivesTheSameCredentials},
		{"BindingsHaveTheirOwnCredentials", bindingsHaveTheirOwnCredentials},
		{"UnbindTwiceIsSuccess", unbindTwiceIsSuccess},
		{"DeprovisionTwiceIsOnce", deprovisionTwiceIsOnce},
		{"DeprovisionEndsACreate", deprovisionEndsACreate},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, b)
		})
	}
}

// NewRequest asks b for a fresh instance of its first plan.
func NewRequest(t testing.TB, b backstay.Broker) backstay.ProvisionRequest {
	t.Helper()
	offerings, err := b.Catalog(t.Context())
	if err != nil || len(offerings) == 0 || len(offerings[0].Plans) == 0 {
		t.Fatalf("Catalog: %v, %v; want an offering with a plan", offerings, err)
	}
	return backstay.ProvisionRequest{
		InstanceID: backstay.InstanceID(uuid.NewString()), OfferingID: offerings[0].ID, PlanID: offerings[0].Plans[0].ID,
		OrganizationID: "5f5b3d0e-0000-4000-8000-000000000001", SpaceID: "5f5b3d0e-0000-4000-8000-000000000002", Name: "orders",
	}
}

// MustProvision brings an instance up, and takes it away when the test ends.
func MustProvision(t testing.TB, b backstay.Broker) backstay.ProvisionRequest {
	t.Helper()
	r := NewRequest(t, b)
	must(t, b.Provision(t.Context(), r))
	t.Cleanup(func() { mustDeprovision(t, b, r.InstanceID) })
	if op := awaitEnd(t, b, r.InstanceID); op.State != backstay.Succeeded || op.Type != backstay.Create {
		t.Fatalf("create of %s ended as %+v", r.InstanceID, op)
	}
	return r
}

// mustDeprovision runs in clean-ups too, where the test's own context has ended.
func mustDeprovision(t testing.TB, b backstay.Broker, id backstay.InstanceID) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := b.Deprovision(ctx, id); err != nil && backstay.KindOf(err) != backstay.NotFound {
		t.Fatalf("Deprovision: %v", err)
	}
	for {
		op, err := b.LastOperation(ctx, id)
		if backstay.KindOf(err) == backstay.NotFound {
			return
		}
		if err != nil || op.State == backstay.Failed {
			t.Fatalf("delete of %s: %+v, %v", id, op, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// awaitEnd returns the instance's operation once it has ended.
func awaitEnd(t testing.TB, b backstay.Broker, id backstay.InstanceID) backstay.Operation {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	op, err := b.LastOperation(ctx, id)
	for err == nil && op.State == backstay.InProgress {
		op, err = next(ctx, b, id, op)
	}
	if err != nil {
		t.Fatalf("operation of %s: %v; last seen %+v", id, err, op)
	}
	return op
}

func next(ctx context.Context, b backstay.Broker, id backstay.InstanceID, seen backstay.Operation) (backstay.Operation, error) {
	if a, ok := b.(backstay.OperationAwaiter); ok {
		return a.AwaitOperation(ctx, id, seen)
	}
	time.Sleep(5 * time.Millisecond)
	return b.LastOperation(ctx, id)
}

func catalogIsStable(t *testing.T, b backstay.Broker) {
	first, err := b.Catalog(t.Context())
	must(t, err)
	again, err := b.Catalog(t.Context())
	must(t, err)
	if !reflect.DeepEqual(first, again) {
		t.Errorf("two catalogs differ:\n%+v\n%+v", first, again)
	}
	seen := map[string]bool{}
	for _, o := range first {
		for _, p := range o.Plans {
			if seen[string(p.ID)] || p.ID == "" || p.OfferingID != o.ID {
				t.Errorf("plan %s of %s: id %q is empty, used twice or of another offering", p.Name, o.Name, p.ID)
			}
			seen[string(p.ID)] = true
		}
	}
}

func lifeOfAnInstance(t *testing.T, b backstay.Broker) {
	r := MustProvision(t, b)
	c, err := b.Bind(t.Context(), newBinding(r))
	must(t, err)
	if _, err := json.Marshal(c); err != nil || len(c) == 0 {
		t.Errorf("credentials %d keys, as JSON: %v", len(c), err)
	}
	mustDeprovision(t, b, r.InstanceID)
	if _, err := b.Bind(t.Context(), newBinding(r)); backstay.KindOf(err) != backstay.NotFound {
		t.Errorf("Bind after the end: %v; want NotFound", err)
	}
}

func provisionTwiceIsOnce(t *testing.T, b backstay.Broker) {
	r := MustProvision(t, b)
	must(t, b.Provision(t.Context(), r))
	if op := awaitEnd(t, b, r.InstanceID); op.State != backstay.Succeeded {
		t.Errorf("after the second Provision: %+v", op)
	}
}

func provisionWithOtherAttributesIsTaken(t *testing.T, b backstay.Broker) {
	r := MustProvision(t, b)
	r.SpaceID = "5f5b3d0e-0000-4000-8000-000000000003"
	wantKind(t, b.Provision(t.Context(), r), backstay.Taken)
}

func planOfNoOfferingIsNotFound(t *testing.T, b backstay.Broker) {
	r := NewRequest(t, b)
	r.PlanID = backstay.PlanID(uuid.NewString())
	wantKind(t, b.Provision(t.Context(), r), backstay.NotFound)
	_, err := b.LastOperation(t.Context(), r.InstanceID)
	wantKind(t, err, backstay.NotFound)
}

func unknownParameterIsInvalid(t *testing.T, b backstay.Broker) {
	r := NewRequest(t, b)
	r.Parameters = json.RawMessage(`{"no_such_parameter": 1}`)
	wantKind(t, b.Provision(t.Context(), r), backstay.Invalid)
	_, err := b.LastOperation(t.Context(), r.InstanceID)
	wantKind(t, err, backstay.NotFound)
	if a, ok := b.(backstay.Admitter); ok {
		wantKind(t, a.AdmitProvision(t.Context(), r), backstay.Invalid)
	}
}

func unknownBindParameterIsInvalid(t *testing.T, b backstay.Broker) {
	r := newBinding(MustProvision(t, b))
	r.Parameters = json.RawMessage(`{"no_such_parameter": 1}`)
	_, err := b.Bind(t.Context(), r)
	wantKind(t, err, backstay.Invalid)
	if a, ok := b.(backstay.Admitter); ok {
		wantKind(t, a.AdmitBind(t.Context(), r), backstay.Invalid)
	}
	r.Parameters = nil // nothing is kept of it
	_, err = b.Bind(t.Context(), r)
	must(t, err)
}

func unknownInstanceIsNotFound(t *testing.T, b backstay.Broker) {
	id := backstay.InstanceID(uuid.NewString())
	_, err := b.LastOperation(t.Context(), id)
	wantKind(t, err, backstay.NotFound)
	wantKind(t, b.Deprovision(t.Context(), id), backstay.NotFound)
	_, err = b.Bind(t.Context(), backstay.BindRequest{InstanceID: id, BindingID: backstay.BindingID(uuid.NewString())})
	wantKind(t, err, backstay.NotFound)
	must(t, b.Unbind(t.Context(), id, backstay.BindingID(uuid.NewString())))
}

func newBinding(r backstay.ProvisionRequest) backstay.BindRequest {
	return backstay.BindRequest{InstanceID: r.InstanceID, BindingID: backstay.BindingID(uuid.NewString())}
}

func bindTwiceGivesTheSameCredentials(t *testing.T, b backstay.Broker) {
	r := newBinding(MustProvision(t, b))
	first, err := b.Bind(t.Context(), r)
	must(t, err)
	again, err := b.Bind(t.Context(), r)
	must(t, err)
	if !reflect.DeepEqual(first, again) {
		t.Error("the second Bind of one id gave other credentials")
	}
}

func bindingsHaveTheirOwnCredentials(t *testing.T, b backstay.Broker) {
	r := MustProvision(t, b)
	one, err := b.Bind(t.Context(), newBinding(r))
	must(t, err)
	other, err := b.Bind(t.Context(), newBinding(r))
	must(t, err)
	if reflect.DeepEqual(one, other) {
		t.Error("two bindings share their credentials")
	}
}

func unbindTwiceIsSuccess(t *testing.T, b backstay.Broker) {
	r := newBinding(MustProvision(t, b))
	_, err := b.Bind(t.Context(), r)
	must(t, err)
	must(t, b.Unbind(t.Context(), r.InstanceID, r.BindingID))
	must(t, b.Unbind(t.Context(), r.InstanceID, r.BindingID))
}

func deprovisionTwiceIsOnce(t *testing.T, b backstay.Broker) {
	r := MustProvision(t, b)
	must(t, b.Deprovision(t.Context(), r.InstanceID))
	if err := b.Deprovision(t.Context(), r.InstanceID); err != nil && backstay.KindOf(err) != backstay.NotFound {
		t.Errorf("second Deprovision: %v", err)
	}
	mustDeprovision(t, b, r.InstanceID)
}

func deprovisionEndsACreate(t *testing.T, b backstay.Broker) {
	r := NewRequest(t, b)
	must(t, b.Provision(t.Context(), r))
	mustDeprovision(t, b, r.InstanceID)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t testing.TB, err error, want backstay.Kind) {
	t.Helper()
	if err == nil || backstay.KindOf(err) != want {
		t.Errorf("error %v is %v; want %v", err, backstay.KindOf(err), want)
	}
}

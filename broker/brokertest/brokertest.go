// Package brokertest is the contract of [backstay.Broker], and of the broker's store, written as
// tests. Every broker runs it: ours in process, ours behind a door, a stand-in for the market's own
// tests, and whatever is registered from elsewhere.
package brokertest

import (
	"context"
	"slices"
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
		{"EveryCallTwice", everyCallTwice},
		{"ProvisionAgain", provisionAgain},
		{"ProvisionOfWhatIsNotOffered", provisionOfWhatIsNotOffered},
		{"AnotherOfferingIsRefused", anotherOfferingIsRefused},
		{"UnknownInstanceIsNotFound", unknownInstanceIsNotFound},
		{"FetchTellsWhatIsInForce", fetchTellsWhatIsInForce},
		{"UpdateOfNothingIsDone", updateOfNothingIsDone},
		{"UpdateChangesThePlan", updateChangesThePlan},
		{"UpdateChangesParameters", updateChangesParameters},
		{"RefusedUpdateChangesNothing", refusedUpdateChangesNothing},
		{"QueuedUpdateStandsInNobodysWay", queuedUpdateStandsInNobodysWay},
		{"BindAgain", bindAgain},
		{"BindingsHaveTheirOwnCredentials", bindingsHaveTheirOwnCredentials},
		{"UnknownBindParameterIsInvalid", unknownBindParameterIsInvalid},
		{"UnbindAgain", unbindAgain},
		{"UnbindThroughAnother", unbindThroughAnother},
		{"FetchTellsABinding", fetchTellsABinding},
		{"RefusedBindingsAreNotFetched", refusedBindingsAreNotFetched},
		{"DeprovisionAgain", deprovisionAgain},
		{"DeprovisionEndsACreate", deprovisionEndsACreate},
		{"PurgeEndsWhateverThereIs", purgeEndsWhateverThereIs},
		{"ManyProvisionOne", manyProvisionOne},
		{"OneOfManyWhoDifferProvisions", oneOfManyWhoDifferProvisions},
		{"ManyBindOne", manyBindOne},
		{"NothingIsBoundToWhatEnds", nothingIsBoundToWhatEnds},
		{"ManyUpdateOne", manyUpdateOne},
		{"ManyDeprovisionOne", manyDeprovisionOne},
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
		InstanceID: backstay.InstanceID(uuid.NewString()), ServiceID: offerings[0].ID, PlanID: offerings[0].Plans[0].ID,
		Context: backstay.Context{
			Platform: "cloudfoundry", OrganizationID: "5f5b3d0e-0000-4000-8000-000000000001",
			SpaceID: "5f5b3d0e-0000-4000-8000-000000000002", InstanceName: "orders",
		},
	}
}

// MustProvision brings an instance up, and takes it away when the test ends.
func MustProvision(t testing.TB, b backstay.Broker) backstay.ProvisionRequest {
	t.Helper()
	r := NewRequest(t, b)
	mustProvision(t, b, r)
	t.Cleanup(func() { mustDeprovision(t, b, r) })
	if op := awaitEnd(t, b, r); op.State != backstay.Succeeded || !is(op, backstay.Create) {
		t.Fatalf("create of %s ended as %+v", r.InstanceID, op)
	}
	return r
}

func mustProvision(t testing.TB, b backstay.Broker, r backstay.ProvisionRequest) backstay.Provisioned {
	t.Helper()
	answer, err := b.Provision(t.Context(), r)
	must(t, err)
	return answer
}

func lastOperation(r backstay.ProvisionRequest) backstay.LastOperationRequest {
	return backstay.LastOperationRequest{InstanceID: r.InstanceID, ServiceID: r.ServiceID, PlanID: r.PlanID}
}

func fetch(r backstay.ProvisionRequest) backstay.FetchInstanceRequest {
	return backstay.FetchInstanceRequest{InstanceID: r.InstanceID, ServiceID: r.ServiceID, PlanID: r.PlanID}
}

func deprovision(r backstay.ProvisionRequest) backstay.DeprovisionRequest {
	return backstay.DeprovisionRequest{InstanceID: r.InstanceID, ServiceID: r.ServiceID, PlanID: r.PlanID}
}

func fetchBinding(r backstay.BindRequest) backstay.FetchBindingRequest {
	return backstay.FetchBindingRequest{
		InstanceID: r.InstanceID, BindingID: r.BindingID, ServiceID: r.ServiceID, PlanID: r.PlanID,
	}
}

func unbind(r backstay.BindRequest) backstay.UnbindRequest {
	return backstay.UnbindRequest{
		InstanceID: r.InstanceID, BindingID: r.BindingID, ServiceID: r.ServiceID, PlanID: r.PlanID,
	}
}

// mustDeprovision runs in clean-ups too, where the test's own context has ended.
func mustDeprovision(t testing.TB, b backstay.Broker, r backstay.ProvisionRequest) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if _, err := b.Deprovision(ctx, deprovision(r)); err != nil && backstay.KindOf(err) != backstay.NotFound {
		t.Fatalf("Deprovision: %v", err)
	}
	for {
		op, err := b.LastOperation(ctx, lastOperation(r))
		if backstay.KindOf(err) == backstay.NotFound {
			return
		}
		if err != nil || op.State == backstay.Failed {
			t.Fatalf("delete of %s: %+v, %v", r.InstanceID, op, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// awaitEnd returns the instance's operation once it has ended.
func awaitEnd(t testing.TB, b backstay.Broker, r backstay.ProvisionRequest) backstay.Operation {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	op, err := b.LastOperation(ctx, lastOperation(r))
	for err == nil && op.State == backstay.InProgress {
		op, err = next(ctx, b, lastOperation(r), op)
	}
	if err != nil {
		t.Fatalf("operation of %s: %v; last seen %+v", r.InstanceID, err, op)
	}
	return op
}

func next(
	ctx context.Context, b backstay.Broker, r backstay.LastOperationRequest, seen backstay.Operation,
) (backstay.Operation, error) {
	if a, ok := b.(backstay.OperationAwaiter); ok {
		return a.AwaitOperation(ctx, r, seen)
	}
	time.Sleep(5 * time.Millisecond)
	return b.LastOperation(ctx, r)
}

// is tells whether an operation may be of that type. A broker behind a wire does not say which one it is of.
func is(op backstay.Operation, t backstay.OperationType) bool { return op.Type == t || op.Type == "" }

func newBinding(r backstay.ProvisionRequest) backstay.BindRequest {
	return backstay.BindRequest{
		InstanceID: r.InstanceID, BindingID: backstay.BindingID(uuid.NewString()), ServiceID: r.ServiceID, PlanID: r.PlanID,
		Context: r.Context,
	}
}

// mustBind returns a binding's credentials once they are there.
func mustBind(t testing.TB, b backstay.Broker, r backstay.BindRequest) backstay.Credentials {
	t.Helper()
	answer, err := b.Bind(t.Context(), r)
	must(t, err)
	if !answer.Async {
		return answer.Credentials
	}
	op := awaitBindingEnd(t, b, r, answer.Operation)
	if op.State != backstay.Succeeded {
		t.Fatalf("bind of %s ended as %+v", r.BindingID, op)
	}
	fetched, err := b.FetchBinding(t.Context(), fetchBinding(r))
	must(t, err)
	return fetched.Credentials
}

// awaitBindingEnd returns a binding's operation once it has ended. A delete has when there is no binding.
func awaitBindingEnd(
	t testing.TB, b backstay.Broker, r backstay.BindRequest, key backstay.OperationKey,
) backstay.Operation {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	ask := backstay.LastBindingOperationRequest{
		InstanceID: r.InstanceID, BindingID: r.BindingID, ServiceID: r.ServiceID, PlanID: r.PlanID, Operation: key,
	}
	for {
		op, err := b.LastBindingOperation(ctx, ask)
		if backstay.KindOf(err) == backstay.NotFound {
			return backstay.Operation{Type: backstay.Delete, State: backstay.Succeeded}
		}
		must(t, err)
		if op.State != backstay.InProgress {
			return op
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// mustUnbind ends a binding. One that is not there is what it is to become.
func mustUnbind(t testing.TB, b backstay.Broker, r backstay.BindRequest) {
	t.Helper()
	answer, err := b.Unbind(t.Context(), unbind(r))
	if backstay.KindOf(err) == backstay.NotFound {
		return
	}
	must(t, err)
	if answer.Async {
		awaitBindingEnd(t, b, r, answer.Operation)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t testing.TB, err error, want ...backstay.Kind) {
	t.Helper()
	if err == nil || !slices.Contains(want, backstay.KindOf(err)) {
		t.Errorf("error %v is %v; want %v", err, backstay.KindOf(err), want)
	}
}

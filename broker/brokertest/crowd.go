package brokertest

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/backstay/backstay"
)

// wantEach wants each of errs to be nil or of one of the kinds, and returns how many are nil.
func wantEach(t testing.TB, errs []error, kinds ...backstay.Kind) (succeeded int) {
	t.Helper()
	for _, err := range errs {
		if err == nil {
			succeeded++
		} else {
			wantKind(t, err, kinds...)
		}
	}
	return succeeded
}

func manyProvisionOne(t *testing.T, b backstay.Broker) {
	r := NewRequest(t, b)
	t.Cleanup(func() { mustDeprovision(t, b, r) })
	wantEach(t, together(func(int) error { _, err := b.Provision(t.Context(), r); return err }))
	if op := awaitEnd(t, b, r); op.State != backstay.Succeeded {
		t.Errorf("ended as %+v", op)
	}
}

func oneOfManyWhoDifferProvisions(t *testing.T, b backstay.Broker) {
	r := NewRequest(t, b)
	t.Cleanup(func() { mustDeprovision(t, b, r) })
	other := r
	other.PlanID = otherPlan(t, b, r.PlanID)
	errs := together(func(i int) error {
		_, err := b.Provision(t.Context(), []backstay.ProvisionRequest{r, other}[i%2])
		return err
	})
	if n := wantEach(t, errs, backstay.Taken); n != crowd/2 {
		t.Errorf("%d of %d were accepted, of whom each second one wants another plan", n, crowd)
	}
	awaitEnd(t, b, r)
}

func manyBindOne(t *testing.T, b backstay.Broker) {
	r := newBinding(MustProvision(t, b))
	wantEach(t, together(func(int) error { _, err := b.Bind(t.Context(), r); return err }))
	given := make([]string, crowd)
	wantEach(t, together(func(i int) error {
		c, err := json.Marshal(mustBind(t, b, r))
		given[i] = string(c)
		return err
	}))
	for _, c := range given {
		if c != given[0] {
			t.Error("one binding has several credentials")
		}
	}
}

// nothingIsBoundToWhatEnds lets many bind while the instance is ended: whoever succeeds has a binding that ends
// with it.
func nothingIsBoundToWhatEnds(t *testing.T, b backstay.Broker) {
	instance := MustProvision(t, b)
	bindings := make([]backstay.BindRequest, crowd)
	for i := range bindings {
		bindings[i] = newBinding(instance)
	}
	errs := together(func(i int) error {
		if i == 0 {
			_, err := b.Deprovision(t.Context(), deprovision(instance))
			return err
		}
		_, err := b.Bind(t.Context(), bindings[i])
		return err
	})
	must(t, errs[0])
	wantEach(t, errs[1:], backstay.Busy, backstay.NotFound, backstay.Unavailable)
	mustDeprovision(t, b, instance)
	for _, r := range bindings {
		_, err := b.Unbind(t.Context(), unbind(r))
		wantKind(t, err, backstay.NotFound)
	}
}

// manyUpdateOne lets many ask for two different changes of one instance, of which one at a time can be made.
func manyUpdateOne(t *testing.T, b backstay.Broker) {
	r := MustProvision(t, b)
	plans := []backstay.ServicePlanID{r.PlanID, otherPlan(t, b, r.PlanID)}
	errs := together(func(i int) error {
		u := update(r)
		u.PlanID = plans[i%2]
		_, err := b.Update(t.Context(), u)
		return err
	})
	wantEach(t, errs, backstay.Busy, backstay.Unsupported)
	if op := awaitEnd(t, b, r); op.State != backstay.Succeeded {
		t.Errorf("ended as %+v", op)
	}
	mustBind(t, b, newBinding(r))
}

func manyDeprovisionOne(t *testing.T, b backstay.Broker) {
	r := MustProvision(t, b)
	errs := together(func(int) error { _, err := b.Deprovision(t.Context(), deprovision(r)); return err })
	wantEach(t, errs, backstay.NotFound)
	mustDeprovision(t, b, r)
}

// everyCallTwice leads a life in which whoever calls dies before the answer arrives, and calls again.
func everyCallTwice(t *testing.T, b backstay.Broker) {
	twice := twice{b}
	r := MustProvision(t, twice)
	binding := newBinding(r)
	first := mustBind(t, twice, binding)
	if !sameJSON(first, mustBind(t, twice, binding)) {
		t.Error("a binding that was asked for again has other credentials")
	}
	if u := update(r); planUpdateable(mustCatalog(t, b)[0], r.PlanID) {
		u.PlanID = otherPlan(t, b, r.PlanID)
		mustUpdate(t, twice, r, u)
		if got := mustFetch(t, b, r); got.PlanID != u.PlanID {
			t.Errorf("it has plan %s; want %s", got.PlanID, u.PlanID)
		}
	}
	mustUnbind(t, twice, binding)
	mustDeprovision(t, twice, r)
}

// twice calls a broker twice for each call.
type twice struct{ backstay.Broker }

func (t twice) Provision(ctx context.Context, r backstay.ProvisionRequest) (backstay.Provisioned, error) {
	t.Broker.Provision(ctx, r)
	return t.Broker.Provision(ctx, r)
}

func (t twice) Update(ctx context.Context, r backstay.UpdateRequest) (backstay.Updated, error) {
	t.Broker.Update(ctx, r)
	return t.Broker.Update(ctx, r)
}

func (t twice) Deprovision(ctx context.Context, r backstay.DeprovisionRequest) (backstay.Deprovisioned, error) {
	t.Broker.Deprovision(ctx, r)
	return t.Broker.Deprovision(ctx, r)
}

func (t twice) Bind(ctx context.Context, r backstay.BindRequest) (backstay.Bound, error) {
	t.Broker.Bind(ctx, r)
	return t.Broker.Bind(ctx, r)
}

func (t twice) Unbind(ctx context.Context, r backstay.UnbindRequest) (backstay.Unbound, error) {
	t.Broker.Unbind(ctx, r)
	return t.Broker.Unbind(ctx, r)
}

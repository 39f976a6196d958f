package brokertest

import (
	"encoding/json"
	"testing"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
)

func catalogIsStable(t *testing.T, b backstay.Broker) {
	first, again := mustCatalog(t, b), mustCatalog(t, b)
	if !sameJSON(first, again) {
		t.Errorf("two catalogs differ:\n%+v\n%+v", first, again)
	}
	seen := map[string]bool{}
	for _, o := range first {
		if seen[string(o.ID)] || o.ID == "" || o.Name == "" || len(o.Plans) == 0 {
			t.Errorf("offering %q: id %q is empty or used twice, or it has no plans", o.Name, o.ID)
		}
		seen[string(o.ID)] = true
		for _, p := range o.Plans {
			if seen[string(p.ID)] || p.ID == "" || p.Name == "" {
				t.Errorf("plan %q of %s: id %q is empty or used twice", p.Name, o.Name, p.ID)
			}
			seen[string(p.ID)] = true
		}
	}
}

func mustCatalog(t testing.TB, b backstay.Broker) []backstay.CatalogOffering {
	t.Helper()
	offerings, err := b.Catalog(t.Context())
	must(t, err)
	return offerings
}

// sameJSON compares what brokers answer by what would go over a wire: nil and empty are the same there.
func sameJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

func lifeOfAnInstance(t *testing.T, b backstay.Broker) {
	r := MustProvision(t, b)
	binding := newBinding(r)
	c := mustBind(t, b, binding)
	if _, err := json.Marshal(c); err != nil || len(c) == 0 {
		t.Errorf("credentials %d keys, as JSON: %v", len(c), err)
	}
	mustDeprovision(t, b, r)
	_, err := b.Bind(t.Context(), newBinding(r))
	wantKind(t, err, backstay.NotFound)
	_, err = b.FetchInstance(t.Context(), fetch(r))
	wantKind(t, err, backstay.NotFound)
	_, err = b.FetchBinding(t.Context(), fetchBinding(binding))
	wantKind(t, err, backstay.NotFound, backstay.Unsupported)
}

// provisionAgain is the table of the specification for a second request of one id ("Provisioning", 200 to 409).
func provisionAgain(t *testing.T, b backstay.Broker) {
	r := NewRequest(t, b)
	first := mustProvision(t, b, r)
	if first.Existed || first.Async && first.Operation == "" {
		t.Errorf("the first request is answered with %+v", first)
	}
	t.Cleanup(func() { mustDeprovision(t, b, r) })
	if again := mustProvision(t, b, r); again.Async && again.Operation != first.Operation {
		t.Errorf("while the instance is made: %+v, after %+v", again, first)
	}
	awaitEnd(t, b, r)
	if again := mustProvision(t, b, r); again.Async || !again.Existed {
		t.Errorf("when the instance is there: %+v", again)
	}
	for name, change := range map[string]func(*backstay.ProvisionRequest){
		"another space": func(r *backstay.ProvisionRequest) { r.Context.SpaceID = "5f5b3d0e-0000-4000-8000-000000000003" },
		"another plan":  func(r *backstay.ProvisionRequest) { r.PlanID = otherPlan(t, b, r.PlanID) },
		"another organization": func(r *backstay.ProvisionRequest) {
			r.Context.OrganizationID = "5f5b3d0e-0000-4000-8000-000000000003"
		},
	} {
		other := r
		change(&other)
		if _, err := b.Provision(t.Context(), other); backstay.KindOf(err) != backstay.Taken {
			t.Errorf("%s: %v; want Taken", name, err)
		}
	}
	if v := mustCatalog(t, b)[0].Plans[0].MaintenanceInfo; v != nil {
		same, other := r, r
		same.MaintenanceInfo, other.MaintenanceInfo = v, &backstay.MaintenanceInfo{Version: "0.0.1"}
		if again := mustProvision(t, b, same); again.Async || !again.Existed {
			t.Errorf("with the version that it is of: %+v", again)
		}
		_, err := b.Provision(t.Context(), other)
		if backstay.FailureOf(err).Code != backstay.MaintenanceInfoConflict {
			t.Errorf("with another version than the catalog's: %v", err)
		}
	}
	if op := awaitEnd(t, b, r); op.State != backstay.Succeeded || !is(op, backstay.Create) {
		t.Errorf("after all of that: %+v", op)
	}
}

// anotherOfferingIsRefused of whatever is asked for an instance, and so is a plan that its offering does not have where
// that could be meant. A plan of the offering that is not the instance's, or one that nobody knows any more, keeps
// nobody from ending anything.
func anotherOfferingIsRefused(t *testing.T, b backstay.Broker) {
	r := MustProvision(t, b)
	binding := newBinding(r)
	mustBind(t, b, binding)
	for name, ask := range map[string]func(s backstay.ServiceID, p backstay.ServicePlanID) error{
		"Update": func(s backstay.ServiceID, p backstay.ServicePlanID) error {
			_, err := b.Update(t.Context(), backstay.UpdateRequest{InstanceID: r.InstanceID, ServiceID: s, PlanID: p})
			return err
		},
		"Bind": func(s backstay.ServiceID, p backstay.ServicePlanID) error {
			other := newBinding(r)
			other.ServiceID, other.PlanID = s, p
			_, err := b.Bind(t.Context(), other)
			return err
		},
		"Unbind": func(s backstay.ServiceID, p backstay.ServicePlanID) error {
			other := unbind(binding)
			other.ServiceID, other.PlanID = s, p
			_, err := b.Unbind(t.Context(), other)
			return err
		},
		"Deprovision": func(s backstay.ServiceID, p backstay.ServicePlanID) error {
			_, err := b.Deprovision(t.Context(), backstay.DeprovisionRequest{InstanceID: r.InstanceID, ServiceID: s, PlanID: p})
			return err
		},
	} {
		if err := ask("5f5b3d0e-0000-4000-8000-00000000000f", r.PlanID); backstay.KindOf(err) != backstay.Invalid {
			t.Errorf("%s of another offering: %v; want Invalid", name, err)
		}
		if name == "Bind" {
			wantKind(t, ask(r.ServiceID, "5f5b3d0e-0000-4000-8000-00000000000f"), backstay.Invalid)
			must(t, ask(r.ServiceID, otherPlan(t, b, r.PlanID)))
		}
	}
	_, err := b.FetchInstance(t.Context(), fetch(r)) // it is still there
	must(t, err)
	wrong := unbind(binding)
	wrong.PlanID = "5f5b3d0e-0000-4000-8000-00000000000f"
	_, err = b.Unbind(t.Context(), wrong)
	must(t, err)
	_, err = b.Deprovision(t.Context(), backstay.DeprovisionRequest{
		InstanceID: r.InstanceID, ServiceID: r.ServiceID, PlanID: wrong.PlanID,
	})
	must(t, err)
}

// otherPlan is another plan of the first offering.
func otherPlan(t testing.TB, b backstay.Broker, than backstay.ServicePlanID) backstay.ServicePlanID {
	t.Helper()
	for _, p := range mustCatalog(t, b)[0].Plans {
		if p.ID != than {
			return p.ID
		}
	}
	t.Fatal("the first offering has only one plan: these tests need two")
	return ""
}

// provisionOfWhatIsNotOffered is refused, and nothing is kept of it. Over a wire there is one word for a plan that is
// not there, and for a request that cannot be.
func provisionOfWhatIsNotOffered(t *testing.T, b backstay.Broker) {
	for _, c := range []struct {
		name   string
		change func(*backstay.ProvisionRequest)
		kinds  []backstay.Kind
	}{
		{"no such plan", func(r *backstay.ProvisionRequest) {
			r.PlanID = backstay.ServicePlanID(uuid.NewString())
		}, []backstay.Kind{backstay.NotFound, backstay.Invalid}},
		{"a plan of another offering", func(r *backstay.ProvisionRequest) {
			r.ServiceID = backstay.ServiceID(uuid.NewString())
		}, []backstay.Kind{backstay.NotFound, backstay.Invalid}},
		{"an unknown parameter", func(r *backstay.ProvisionRequest) {
			r.Parameters = json.RawMessage(`{"no_such_parameter": 1}`)
		}, []backstay.Kind{backstay.Invalid}},
		{"another version than the catalog's", func(r *backstay.ProvisionRequest) {
			r.MaintenanceInfo = &backstay.MaintenanceInfo{Version: "0.0.1"}
		}, []backstay.Kind{backstay.Invalid}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewRequest(t, b)
			c.change(&r)
			_, err := b.Provision(t.Context(), r)
			wantKind(t, err, c.kinds...)
			if a, ok := b.(backstay.Admitter); ok {
				wantKind(t, a.AdmitProvision(t.Context(), r), c.kinds...)
			}
			_, err = b.LastOperation(t.Context(), lastOperation(r))
			wantKind(t, err, backstay.NotFound)
		})
	}
}

func unknownInstanceIsNotFound(t *testing.T, b backstay.Broker) {
	r := NewRequest(t, b)
	binding := newBinding(r)
	for name, call := range map[string]func() error{
		"LastOperation": func() error { _, err := b.LastOperation(t.Context(), lastOperation(r)); return err },
		"FetchInstance": func() error { _, err := b.FetchInstance(t.Context(), fetch(r)); return err },
		"Update":        func() error { _, err := b.Update(t.Context(), update(r)); return err },
		"Deprovision":   func() error { _, err := b.Deprovision(t.Context(), deprovision(r)); return err },
		"Bind":          func() error { _, err := b.Bind(t.Context(), binding); return err },
		"Unbind":        func() error { _, err := b.Unbind(t.Context(), unbind(binding)); return err },
		"LastBindingOperation": func() error {
			_, err := b.LastBindingOperation(t.Context(), backstay.LastBindingOperationRequest{
				InstanceID: r.InstanceID, BindingID: binding.BindingID, ServiceID: r.ServiceID, PlanID: r.PlanID,
			})
			return err
		},
	} {
		if err := call(); backstay.KindOf(err) != backstay.NotFound {
			t.Errorf("%s: %v; want NotFound", name, err)
		}
	}
}

func fetchTellsWhatIsInForce(t *testing.T, b backstay.Broker) {
	r := NewRequest(t, b)
	retrievable := mustCatalog(t, b)[0].InstancesRetrievable
	mustProvision(t, b, r)
	t.Cleanup(func() { mustDeprovision(t, b, r) })
	if _, err := b.FetchInstance(t.Context(), fetch(r)); err != nil { // it may be there by now
		wantKind(t, err, backstay.NotFound, backstay.Unsupported)
	}
	awaitEnd(t, b, r)
	got, err := b.FetchInstance(t.Context(), fetch(r))
	if !retrievable {
		wantKind(t, err, backstay.Unsupported)
		return
	}
	must(t, err)
	if got.ServiceID != r.ServiceID || got.PlanID != r.PlanID || tells(got.Parameters, extensions) {
		t.Errorf("it is %+v; want plan %s of %s without the parameters that nobody gave", got, r.PlanID, r.ServiceID)
	}
}

func deprovisionAgain(t *testing.T, b backstay.Broker) {
	r := MustProvision(t, b)
	first, err := b.Deprovision(t.Context(), deprovision(r))
	must(t, err)
	switch again, err := b.Deprovision(t.Context(), deprovision(r)); {
	case err != nil:
		wantKind(t, err, backstay.NotFound)
	case again.Async && again.Operation != first.Operation:
		t.Errorf("while the instance ends: %+v, after %+v", again, first)
	}
	mustDeprovision(t, b, r)
	_, err = b.Deprovision(t.Context(), deprovision(r))
	wantKind(t, err, backstay.NotFound)
	_, err = b.LastOperation(t.Context(), lastOperation(r))
	wantKind(t, err, backstay.NotFound)
}

func deprovisionEndsACreate(t *testing.T, b backstay.Broker) {
	r := NewRequest(t, b)
	mustProvision(t, b, r)
	mustDeprovision(t, b, r)
}

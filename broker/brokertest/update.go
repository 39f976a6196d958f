package brokertest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
)

// update asks for no change of what r made.
func update(r backstay.ProvisionRequest) backstay.UpdateRequest {
	return backstay.UpdateRequest{
		InstanceID: r.InstanceID, ServiceID: r.ServiceID, Context: r.Context,
		Previous: backstay.PreviousValues{
			PlanID: r.PlanID, OrganizationID: r.Context.OrganizationID, SpaceID: r.Context.SpaceID,
		},
	}
}

// mustUpdate returns when the change that was asked for is in force.
func mustUpdate(t testing.TB, b backstay.Broker, r backstay.ProvisionRequest, u backstay.UpdateRequest) {
	t.Helper()
	answer, err := b.Update(t.Context(), u)
	must(t, err)
	if !answer.Async {
		return
	}
	if op := awaitEnd(t, b, r); op.State != backstay.Succeeded || !is(op, backstay.Update) {
		t.Fatalf("update of %s ended as %+v", r.InstanceID, op)
	}
}

// mustFetch is the instance as it is in force; nothing of brokers that do not tell.
func mustFetch(t testing.TB, b backstay.Broker, r backstay.ProvisionRequest) backstay.FetchedInstance {
	t.Helper()
	got, err := b.FetchInstance(t.Context(), fetch(r))
	if backstay.KindOf(err) == backstay.Unsupported {
		t.Skip("the broker does not tell what is in force")
	}
	must(t, err)
	return got
}

func updateOfNothingIsDone(t *testing.T, b backstay.Broker) {
	r := MustProvision(t, b)
	for _, plan := range []backstay.ServicePlanID{"", r.PlanID} {
		u := update(r)
		u.PlanID = plan
		answer, err := b.Update(t.Context(), u)
		must(t, err)
		if answer.Async {
			t.Errorf("an update that changes nothing is answered with %+v", answer)
		}
	}
}

// updateChangesThePlan where the catalog says so; elsewhere it is refused.
func updateChangesThePlan(t *testing.T, b backstay.Broker) {
	r := MustProvision(t, b)
	u := update(r)
	u.PlanID = otherPlan(t, b, r.PlanID)
	if !planUpdateable(mustCatalog(t, b)[0], r.PlanID) {
		_, err := b.Update(t.Context(), u)
		wantKind(t, err, backstay.Unsupported)
		return
	}
	mustUpdate(t, b, r, u)
	if got := mustFetch(t, b, r); got.PlanID != u.PlanID {
		t.Errorf("it has plan %s; want %s", got.PlanID, u.PlanID)
	}
	if again, err := b.Update(t.Context(), u); err != nil || again.Async {
		t.Errorf("the same update again: %+v, %v", again, err)
	}
	mustBind(t, b, newBinding(r))
}

func planUpdateable(o backstay.CatalogOffering, id backstay.ServicePlanID) bool {
	for _, p := range o.Plans {
		if p.ID == id && p.PlanUpdateable != nil {
			return *p.PlanUpdateable
		}
	}
	return o.PlanUpdateable
}

// extensions is a parameter that the brokers under test know; whether it can change, its schema says.
var extensions = json.RawMessage(`{"enable_extensions":["uuid-ossp"]}`)

// updateChangesParameters where the catalog has a schema for that; elsewhere it is refused.
func updateChangesParameters(t *testing.T, b backstay.Broker) {
	r := MustProvision(t, b)
	u := update(r)
	u.Parameters = extensions
	if mustCatalog(t, b)[0].Plans[0].Schemas.UpdateInstance == nil {
		_, err := b.Update(t.Context(), u)
		wantKind(t, err, backstay.Unsupported)
		return
	}
	mustUpdate(t, b, r, u)
	if got := mustFetch(t, b, r); !tells(got.Parameters, u.Parameters) || got.PlanID != r.PlanID {
		t.Errorf("it has %s of plan %s; want %s of the same plan", got.Parameters, got.PlanID, u.Parameters)
	}
}

// tells reports whether parameters that are told have all of the given ones. A broker may tell more.
func tells(told, given json.RawMessage) bool {
	var all, some map[string]any
	if told == nil {
		told = json.RawMessage(`{}`)
	}
	if json.Unmarshal(told, &all) != nil || json.Unmarshal(given, &some) != nil {
		return false
	}
	for name, value := range some {
		if !sameJSON(all[name], value) {
			return false
		}
	}
	return true
}

func refusedUpdateChangesNothing(t *testing.T, b backstay.Broker) {
	r := MustProvision(t, b)
	before, err := b.FetchInstance(t.Context(), fetch(r))
	if err != nil {
		wantKind(t, err, backstay.Unsupported)
	}
	for name, change := range map[string]func(*backstay.UpdateRequest){
		"no such plan": func(u *backstay.UpdateRequest) { u.PlanID = backstay.ServicePlanID(uuid.NewString()) },
		"an unknown " +
			"parameter": func(u *backstay.UpdateRequest) { u.Parameters = json.RawMessage(`{"no_such_parameter": 1}`) },
		"another version": func(u *backstay.UpdateRequest) {
			u.MaintenanceInfo = &backstay.MaintenanceInfo{Version: "0.0.1"}
		},
	} {
		u := update(r)
		change(&u)
		_, err := b.Update(t.Context(), u)
		wantKind(t, err, backstay.NotFound, backstay.Invalid, backstay.Unsupported)
		if a, ok := b.(backstay.Admitter); ok {
			if refused := a.AdmitUpdate(t.Context(), u); backstay.KindOf(refused) != backstay.KindOf(err) {
				t.Errorf("%s: AdmitUpdate says %v, and Update %v", name, refused, err)
			}
		}
	}
	if op := awaitEnd(t, b, r); !is(op, backstay.Create) || op.State != backstay.Succeeded {
		t.Errorf("a refused update is an operation: %+v", op)
	}
	if got := mustFetch(t, b, r); !sameJSON(got, before) {
		t.Errorf("it has become %+v, from %+v", got, before)
	}
}

// queuedUpdateStandsInNobodysWay where the broker makes changes of plans in maintenance windows: the request is done at
// once, and what it asks for is told of as pending, until it is withdrawn.
func queuedUpdateStandsInNobodysWay(t *testing.T, b backstay.Broker) {
	r := MustProvision(t, b)
	if _, watched := b.(backstay.Watcher); !watched || !planUpdateable(mustCatalog(t, b)[0], r.PlanID) {
		t.Skip("it makes no changes of its own accord")
	}
	for _, want := range []bool{true, false} {
		u := update(r)
		u.Parameters = json.RawMessage(`{"apply_at_maintenance_window": false}`)
		if want {
			u.PlanID = otherPlan(t, b, r.PlanID)
			u.Parameters = json.RawMessage(`{"apply_at_maintenance_window": true}`)
		}
		answer, err := b.Update(t.Context(), u)
		must(t, err)
		ask := lastOperation(r)
		ask.Operation = answer.Operation
		op, err := b.LastOperation(t.Context(), ask)
		must(t, err)
		if answer.Async || op.State != backstay.Succeeded {
			t.Errorf("queued %t: answered with %+v, and is %+v", want, answer, op)
		}
		got := mustFetch(t, b, r)
		pending := strings.Contains(string(got.Parameters), `"pending_change"`)
		if pending != want || got.PlanID != r.PlanID {
			t.Errorf("queued %t: it is %+v with %s", want, got, got.Parameters)
		}
		mustBind(t, b, newBinding(r))
	}
}

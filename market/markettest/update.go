package markettest

import (
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

// mustAsk records that an instance is to have the plan of that name, with the version and these parameters.
func (f *fixture) mustAsk(t *testing.T, in backstay.Instance, plan, version, parameters string) backstay.Job {
	t.Helper()
	change := market.InstanceChange{
		PlanID: planID(plan), MaintenanceInfo: &backstay.MaintenanceInfo{Version: version},
		Parameters: []byte(parameters),
	}
	j := newJob(string(in.ID))
	start := newEvent("start", string(in.ID), f.org.ID)
	must(
		t,
		f.AcceptInstanceUpdate(t.Context(), in.ID, change, operation(backstay.Update, backstay.InProgress), start, j),
	)
	return j
}

// wantPlan checks what an instance has, by the names of the plan and of the state of its last operation.
func (f *fixture) wantPlan(t *testing.T, id backstay.InstanceID, plan, version string, s backstay.OperationState) {
	t.Helper()
	l, err := f.Instances(t.Context(), market.InstanceFilter{IDs: []backstay.InstanceID{id}})
	must(t, err)
	in, got := l.Items[0], ""
	if in.MaintenanceInfo != nil {
		got = in.MaintenanceInfo.Version
	}
	if in.PlanID != planID(plan) || got != version || in.LastOperation.State != s {
		t.Errorf("it has plan %s at version %q, %s; want %s (%s) at %q, %s",
			in.PlanID, got, in.LastOperation.State, plan, planID(plan), version, s)
	}
}

func aPlanChangesWhenTheUpdateSucceeded(t *testing.T, f *fixture) {
	in := f.mustHave(t, "db")
	j := f.mustAsk(t, in, "other", "2.0.0", "sealed")
	f.wantPlan(t, in.ID, "plan", "", backstay.InProgress)
	c, err := f.InstanceChange(t.Context(), in.ID)
	must(t, err)
	if c.PlanID != planID("other") || c.MaintenanceInfo.Version != "2.0.0" || string(c.Parameters) != "sealed" {
		t.Errorf("kept as %+v", c)
	}
	wantError(t,
		f.AcceptInstanceUpdate(t.Context(), in.ID, c, operation(backstay.Update, backstay.InProgress), none, newJob("x")),
		backstay.Busy, "An operation for service instance db is in progress.")
	f.wantUsage(t, market.UsageFilter{}, "CREATED db")

	must(t, f.FinishInstance(t.Context(), in.ID, operation(backstay.Update, backstay.Succeeded), inForce, complete(j)))
	f.wantPlan(t, in.ID, "other", "2.0.0", backstay.Succeeded)
	usage := f.wantUsage(t, market.UsageFilter{}, "CREATED db", "UPDATED db")
	if usage[1].PlanName != "other" {
		t.Errorf("the plan used is %s", usage[1].PlanName)
	}
	_, err = f.InstanceChange(t.Context(), in.ID)
	wantError(t, err, backstay.NotFound, "Service instance change not found")
}

func aFailedUpdateLeavesThePlan(t *testing.T, f *fixture) {
	in := f.mustHave(t, "db")
	for range 2 { // and another may follow
		j := f.mustAsk(t, in, "other", "2.0.0", "sealed")
		failed := backstay.Job{ID: j.ID, State: backstay.JobFailed, Kind: backstay.Unavailable, Sentence: "No."}
		must(t, f.FinishInstance(t.Context(), in.ID, operation(backstay.Update, backstay.Failed), inForce, failed))
		f.wantPlan(t, in.ID, "plan", "", backstay.Failed)
		_, err := f.InstanceChange(t.Context(), in.ID)
		wantError(t, err, backstay.NotFound, "Service instance change not found")
	}
	f.wantUsage(t, market.UsageFilter{}, "CREATED db")
	b, bj := f.newBinding(in.ID, backstay.KeyBinding, "key")
	must(t, f.AcceptBinding(t.Context(), b, 1, nil, none, bj)) // it serves as before
}

// anUpdateIsTakenWhole is about what is the market's own, which changes with the acceptance, or not at all.
func anUpdateIsTakenWhole(t *testing.T, f *fixture) {
	in, taken, name := f.mustHave(t, "db"), f.mustHave(t, "taken"), "taken"
	change := market.InstanceChange{
		Update: market.Update{Name: &name, Metadata: labels("a", "b")}, Tags: []string{"new"}, PlanID: f.plan,
	}
	accept := func() error {
		return f.AcceptInstanceUpdate(
			t.Context(), in.ID, change, operation(backstay.Update, backstay.InProgress), none, newJob("x"),
		)
	}
	wantError(t, accept(), backstay.Taken, "The service instance name is taken: taken.")
	f.wantPlan(t, in.ID, "plan", "", backstay.Succeeded)
	must(t, f.RemoveInstance(t.Context(), taken.ID, none, nil))
	must(t, accept())
	l, err := f.Instances(t.Context(), market.InstanceFilter{IDs: []backstay.InstanceID{in.ID}})
	must(t, err)
	if got := l.Items[0]; got.Name != name || got.Tags[0] != "new" || got.Metadata.Labels["a"] != "b" {
		t.Errorf("accepted as %+v", got)
	}
	must(t, f.RemoveInstance(t.Context(), in.ID, none, nil)) // with the change
}

func whatWasNotCreatedIsNotUpdated(t *testing.T, f *fixture) {
	in, j := f.newInstance("db")
	must(t, f.AcceptInstance(t.Context(), in, nil, none, j))
	must(t, f.FinishInstance(t.Context(), in.ID, operation(backstay.Create, backstay.Failed), inForce,
		backstay.Job{ID: j.ID, State: backstay.JobFailed, Sentence: "No."}))
	err := f.AcceptInstanceUpdate(t.Context(), in.ID, market.InstanceChange{PlanID: planID("other")},
		operation(backstay.Update, backstay.InProgress), none, newJob("x"))
	wantError(t, err, backstay.Invalid,
		"The service instance db cannot be updated: its creation failed. Delete it and create it again.")
}

func quotasForbidChangesToPaidPlans(t *testing.T, f *fixture) {
	offerings := catalog("plan")
	offerings[0].Plans = append(offerings[0].Plans, catalogPlan("paid", false))
	must(t, f.KeepCatalog(t.Context(), Broker, offerings, unrecorded))
	in := f.mustHave(t, "db")
	change := func(to string) error {
		return f.AcceptInstanceUpdate(t.Context(), in.ID, market.InstanceChange{PlanID: planID(to)},
			operation(backstay.Update, backstay.InProgress), none, newJob("x"))
	}
	wantError(t, change("paid"), backstay.Invalid,
		"The service instance cannot be updated because paid service plans are not allowed. "+
			"Ask an administrator for another quota of the organization.")
	must(t, change("plan"))
}

func aDashboardIsKept(t *testing.T, f *fixture) {
	in := f.mustHave(t, "db")
	must(t, f.KeepDashboard(t.Context(), in.ID, "https://dashboard.example.org"))
	l, err := f.Instances(t.Context(), market.InstanceFilter{IDs: []backstay.InstanceID{in.ID}})
	must(t, err)
	if got := l.Items[0].DashboardURL; got != "https://dashboard.example.org" {
		t.Errorf("kept as %q", got)
	}
}

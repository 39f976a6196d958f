package markettest

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

// recordPurge records a purge by one event for each thing that went, named by its id, and by a job.
func recordPurge(told *market.Purged) market.EndOfPurged {
	return func(p market.Purged) (events []backstay.Event, j *backstay.Job) {
		*told = p
		for _, b := range p.Bindings {
			about := backstay.Target{ID: string(b.ID)}
			events = append(events, backstay.Event{ID: backstay.EventID(uuid.NewString()), Type: "purged", Target: about})
		}
		job := newJob(string(p.Instance.ID))
		return events, &job
	}
}

func aPurgeTakesEverythingAlong(t *testing.T, f *fixture) {
	other := f.newLab(t)
	in := f.mustHave(t, "db")
	f.mustShare(t, in, other.space.ID)
	bound := f.mustBind(t, in, other.app.ID)
	making, j := f.newBinding(in.ID, backstay.KeyBinding, "key")
	must(t, f.AcceptBinding(t.Context(), making, 1, nil, none, j))
	var told market.Purged
	must(t, f.PurgeInstance(t.Context(), in.ID, recordPurge(&told)))
	if told.Instance.ID != in.ID || len(told.Bindings) != 2 || len(told.Shares) != 1 {
		t.Errorf("purged: %+v", told)
	}
	if told.Organizations[other.space.ID] != f.org.ID || told.Organizations[f.space.ID] != f.org.ID {
		t.Errorf("organizations: %v", told.Organizations)
	}
	err := f.PurgeInstance(t.Context(), in.ID, recordPurge(&told))
	wantError(t, err, backstay.NotFound, "Service instance not found")
	l, err := f.Events(t.Context(), market.EventFilter{TargetIDs: []string{string(bound.ID), string(making.ID)}})
	must(t, err)
	if len(l.Items) != 2 {
		t.Errorf("%d events; want one for each binding", len(l.Items))
	}
	if pending, err := f.Pending(t.Context(), "test", string(in.ID)); err != nil || !pending {
		t.Errorf("its job is pending: %t, %v", pending, err)
	}
	usage, err := f.UsageEvents(t.Context(), market.UsageFilter{})
	must(t, err)
	if last := usage.Items[len(usage.Items)-1]; last.InstanceID != in.ID || last.State != backstay.UsageDeleted {
		t.Errorf("its usage ends with %+v", last)
	}
	// What was being done to it ends without it.
	made := operation(backstay.Create, backstay.Succeeded)
	j.State = backstay.JobComplete
	must(t, f.FinishBinding(t.Context(), making.ID, made, nil, j))
	wantError(t, f.ReportInstance(t.Context(), in.ID, made), backstay.NotFound, "Service instance not found")
	_, again := f.newInstance("db")
	in.ID = backstay.InstanceID(again.Resource)
	must(t, f.AcceptInstance(t.Context(), in, nil, none, again))
}

func anOfferingIsPurgedWithItsInstances(t *testing.T, f *fixture) {
	in, plans := f.mustHave(t, "db"), market.PlanFilter{IDs: []backstay.PlanID{f.plan}}
	l, err := f.Plans(t.Context(), plans)
	must(t, err)
	offering := l.Items[0].OfferingID
	var told market.Purged
	must(t, f.PurgeOffering(t.Context(), offering, recordPurge(&told), none))
	if told.Instance.ID != in.ID {
		t.Errorf("purged: %+v", told)
	}
	if l, err = f.Plans(t.Context(), plans); err != nil || len(l.Items) != 0 {
		t.Errorf("plans: %v, %v", l.Items, err)
	}
	o, err := f.Offerings(t.Context(), market.OfferingFilter{IDs: []backstay.OfferingID{offering}})
	if err != nil || len(o.Items) != 0 {
		t.Errorf("offerings: %v, %v", o.Items, err)
	}
}

// A binding that is being deleted is neither free nor there.
func aBindingOnItsWayOutIsInTheWay(t *testing.T, f *fixture) {
	in := f.mustHave(t, "db")
	for _, kind := range []backstay.BindingType{backstay.AppBinding, backstay.KeyBinding} {
		old, j := f.newBinding(in.ID, kind, "name")
		must(t, f.AcceptBinding(t.Context(), old, 1, nil, none, j))
		j.State = backstay.JobComplete
		must(t, f.FinishBinding(t.Context(), old.ID, operation(backstay.Create, backstay.Succeeded), nil, j))
		j = newJob(string(old.ID))
		must(t, f.AcceptBindingDeletion(t.Context(), old.ID, operation(backstay.Delete, backstay.InProgress), none, j))
		b, again := f.newBinding(in.ID, kind, "name")
		wantError(t, f.AcceptBinding(t.Context(), b, 1, nil, none, again), backstay.Busy,
			"An operation for a service binding of service instance db is in progress.")
		j.State, j.Sentence = backstay.JobFailed, "No."
		must(t, f.FinishBinding(t.Context(), old.ID, operation(backstay.Delete, backstay.Failed), nil, j))
		wantError(t, f.AcceptBinding(t.Context(), b, 1, nil, none, again), backstay.Invalid,
			"The binding is there still, and its deletion failed. Delete it again first.")
		must(t, f.RemoveBinding(t.Context(), old.ID, none, nil))
		must(t, f.AcceptBinding(t.Context(), b, 1, nil, none, again))
	}
}

// Jobs that have ended are forgotten, the oldest first; the others are not, however old.
func jobsAreForgottenOnceTheyHaveEnded(t *testing.T, f *fixture) {
	jobs := make([]backstay.Job, 4)
	for i := range jobs {
		jobs[i] = newJob("resource")
		must(t, f.AcceptJob(t.Context(), none, jobs[i]))
	}
	for i, s := range []backstay.JobState{backstay.JobComplete, backstay.JobFailed, backstay.JobComplete} {
		must(t, f.FinishJob(t.Context(), backstay.Job{ID: jobs[i].ID, State: s, Sentence: "No."}))
	}
	removed, err := f.RemoveJobs(t.Context(), time.Now().Add(-time.Hour), 10)
	if err != nil || removed != 0 {
		t.Errorf("young ones: %d, %v", removed, err)
	}
	later := time.Now().Add(time.Hour)
	for _, want := range []int{2, 1, 0} {
		if removed, err = f.RemoveJobs(t.Context(), later, 2); err != nil || removed != want {
			t.Errorf("removed %d, %v; want %d", removed, err, want)
		}
	}
	_, err = f.Job(t.Context(), jobs[2].ID)
	wantError(t, err, backstay.NotFound, "Job not found")
	if j, err := f.Job(t.Context(), jobs[3].ID); err != nil || j.State != backstay.JobPolling {
		t.Errorf("the job that goes on: %v, %v", j.State, err)
	}
	must(t, f.FinishJob(t.Context(), backstay.Job{ID: jobs[0].ID, State: backstay.JobComplete})) // nobody waits for it
}

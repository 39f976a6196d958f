package markettest

import (
	"slices"
	"testing"
	"time"

	"github.com/backstay/backstay"
)

func boundInstancesAreInUse(t *testing.T, f *fixture) {
	in := f.mustHave(t, "db")
	b, j := f.newBinding(in.ID, backstay.KeyBinding, "key")
	must(t, f.AcceptBinding(t.Context(), b, nil, none, j))
	err := f.AcceptInstanceDeletion(
		t.Context(), in.ID, operation(backstay.Delete, backstay.InProgress), none, newJob("x"),
	)
	wantError(t, err, backstay.InUse,
		"Please delete the service_bindings, service_keys, and routes associations for your service_instances.")
	wantError(
		t,
		f.AcceptBindingDeletion(t.Context(), b.ID, operation(backstay.Delete, backstay.InProgress), none, newJob("x")),
		backstay.Busy,
		"An operation for a service binding of service instance db is in progress.",
	)
	must(
		t,
		f.FinishBinding(t.Context(), b.ID, operation(backstay.Create, backstay.Succeeded), []byte("sealed"), complete(j)),
	)
	deletion := newJob(string(b.ID))
	must(
		t, f.AcceptBindingDeletion(t.Context(), b.ID, operation(backstay.Delete, backstay.InProgress), none, deletion),
	)
	must(t, f.RemoveBinding(t.Context(), b.ID, none, &deletion.ID))
	must(
		t,
		f.AcceptInstanceDeletion(t.Context(), in.ID, operation(backstay.Delete, backstay.InProgress), none, newJob("y")),
	)
}

func bindingsAreUnique(t *testing.T, f *fixture) {
	in := f.mustHave(t, "db")
	other := f.mustHave(t, "other")
	accept := func(instance backstay.InstanceID, kind backstay.BindingType, name string) error {
		b, j := f.newBinding(instance, kind, name)
		return f.AcceptBinding(t.Context(), b, nil, none, j)
	}
	must(t, accept(in.ID, backstay.AppBinding, "n"))
	wantError(t, accept(in.ID, backstay.AppBinding,
		""), backstay.Taken, "The app is already bound to the service instance.")
	wantError(t, accept(other.ID, backstay.AppBinding, "n"), backstay.Taken,
		"The binding name is invalid. App binding names must be unique. The app already has a binding with name 'n'.")
	must(t, accept(in.ID, backstay.KeyBinding, "k"))
	wantError(t, accept(in.ID, backstay.KeyBinding, "k"), backstay.Taken,
		"The binding name is invalid. Key binding names must be unique. The service instance already has a key "+
			"binding with name 'k'.")
	must(t, accept(other.ID, backstay.KeyBinding, "k"))
}

func aFailedBindingMakesWay(t *testing.T, f *fixture) {
	in := f.mustHave(t, "db")
	b, j := f.newBinding(in.ID, backstay.AppBinding, "")
	must(t, f.AcceptBinding(t.Context(), b, nil, none, j))
	failed := backstay.Job{ID: j.ID, State: backstay.JobFailed, Kind: backstay.Unavailable, Sentence: "no"}
	must(t, f.FinishBinding(t.Context(), b.ID, operation(backstay.Create, backstay.Failed), nil, failed))
	b, j = f.newBinding(in.ID, backstay.AppBinding, "")
	must(t, f.AcceptBinding(t.Context(), b, nil, none, j))
}

func bindingsExpireUnlessHeld(t *testing.T, f *fixture) {
	in := f.mustHave(t, "db")
	now := time.Now()
	accept := func(name string, expires time.Time) (backstay.Binding, backstay.Job) {
		b, j := f.newBinding(in.ID, backstay.KeyBinding, name)
		b.ExpiresAt = expires
		must(t, f.AcceptBinding(t.Context(), b, nil, none, j))
		return b, j
	}
	made := func(b backstay.Binding, j backstay.Job) {
		must(
			t,
			f.FinishBinding(t.Context(), b.ID, operation(backstay.Create, backstay.Succeeded), nil, complete(j)),
		)
	}
	expired := func(at time.Time) (names []string) {
		t.Helper()
		all, err := f.ExpiredBindings(t.Context(), at)
		must(t, err)
		for _, b := range all {
			names = append(names, b.Name)
		}
		return names
	}
	lent, j := accept("lent", now.Add(time.Minute))
	if got := expired(now.Add(2 * time.Minute)); got != nil {
		t.Errorf("expired while it is made: %v", got)
	}
	made(lent, j)
	made(accept("stays", time.Time{}))
	if got := expired(now); got != nil {
		t.Errorf("expired before its time: %v", got)
	}
	if got := expired(now.Add(2 * time.Minute)); !slices.Equal(got, []string{"lent"}) {
		t.Errorf("expired: %v, want lent", got)
	}
	must(t, f.HoldBindings(t.Context(), []backstay.BindingID{lent.ID}, now.Add(5*time.Minute)))
	must(t, f.HoldBindings(t.Context(), []backstay.BindingID{lent.ID}, now.Add(3*time.Minute)))
	if got := expired(now.Add(4 * time.Minute)); got != nil {
		t.Errorf("expired while held: %v", got)
	}
	must(
		t,
		f.AcceptBindingDeletion(t.Context(), lent.ID, operation(backstay.Delete, backstay.InProgress), none,
			newJob(string(lent.ID))),
	)
	if got := expired(now.Add(6 * time.Minute)); got != nil {
		t.Errorf("expired while it ends: %v", got)
	}
	must(
		t,
		f.FinishBinding(t.Context(), lent.ID, operation(backstay.Delete, backstay.Failed), nil, complete(j)),
	)
	if got := expired(now.Add(6 * time.Minute)); !slices.Equal(got, []string{"lent"}) {
		t.Errorf("expired after it failed to end: %v, want lent", got)
	}
}

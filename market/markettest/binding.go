package markettest

import (
	"slices"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

func boundInstancesAreInUse(t *testing.T, f *fixture) {
	in := f.mustHave(t, "db")
	b, j := f.newBinding(in.ID, backstay.KeyBinding, "key")
	must(t, f.AcceptBinding(t.Context(), b, 1, nil, none, j))
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
		return f.AcceptBinding(t.Context(), b, 1, nil, none, j)
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

// bindingsStandBesideEachOther binds an app to an instance as often as it may be, and some more.
func bindingsStandBesideEachOther(t *testing.T, f *fixture) {
	const limit = 3
	in, other := f.mustHave(t, "db"), f.mustHave(t, "other")
	accept := func(limit int, instance backstay.InstanceID, name string) (backstay.Binding, backstay.Job, error) {
		b, j := f.newBinding(instance, backstay.AppBinding, name)
		return b, j, f.AcceptBinding(t.Context(), b, limit, nil, none, j)
	}
	refuse := func(limit int, instance backstay.InstanceID, name string, kind backstay.Kind, sentence string) {
		t.Helper()
		_, _, err := accept(limit, instance, name)
		wantError(t, err, kind, sentence)
	}
	made := func(b backstay.Binding, j backstay.Job) {
		t.Helper()
		end := operation(backstay.Create, backstay.Succeeded)
		must(t, f.FinishBinding(t.Context(), b.ID, end, []byte("sealed "+b.ID), complete(j)))
	}
	first, j, err := accept(limit, in.ID, "n")
	must(t, err)
	refuse(limit, in.ID, "n", backstay.Invalid,
		"There is already a binding in progress for this service instance and app (binding guid: "+string(first.ID)+")")
	refuse(1, in.ID, "n", backstay.Taken, "The app is already bound to the service instance.")
	made(first, j)
	refuse(limit, in.ID, "m", backstay.Invalid,
		"The binding name cannot be changed for the same app and service instance")
	refuse(limit, other.ID, "n", backstay.Taken,
		"The binding name is invalid. App binding names must be unique. The app already has a binding with name 'n'.")
	late, j, err := accept(limit, other.ID, "")
	must(t, err)
	made(late, j)
	for range limit - 1 {
		b, j, err := accept(limit, in.ID, "n")
		must(t, err)
		f.wantServices(t, 2) // of which it is none yet
		made(b, j)
		f.wantServices(t, 2, b.ID, late.ID)
	}
	refuse(limit, in.ID, "n", backstay.Invalid, "The app has too many bindings to this service instance (limit: 3). "+
		"Consider deleting existing/orphaned bindings.")
	refuse(1, in.ID, "n", backstay.Taken, "The app is already bound to the service instance.")
	f.wantSecondsApart(t, in.ID, limit)
	f.wantServicesOutlast(t, in.ID, late.ID)
}

// wantServices checks how many services the app finds, and the bindings by which it finds the first of them.
func (f *fixture) wantServices(t *testing.T, count int, want ...backstay.BindingID) {
	t.Helper()
	bound, err := f.BoundServices(t.Context(), f.app.ID)
	must(t, err)
	var got []backstay.BindingID
	for _, s := range bound {
		got = append(got, s.Binding.ID)
	}
	if len(got) != count || !slices.Equal(got[:len(want)], want) {
		t.Errorf("the app finds %q; want %d with %q", got, count, want)
	}
}

// wantSecondsApart checks that clients, who compare whole seconds, can tell which of the bindings is the newest.
func (f *fixture) wantSecondsApart(t *testing.T, in backstay.InstanceID, count int) {
	t.Helper()
	l, err := f.Bindings(t.Context(), market.BindingFilter{InstanceIDs: []backstay.InstanceID{in}})
	must(t, err)
	seconds := map[int64]bool{}
	for _, b := range l.Items {
		seconds[b.CreatedAt.Unix()] = true
	}
	if len(seconds) != count {
		t.Errorf("%d bindings were made in %d seconds", len(l.Items), len(seconds))
	}
}

// wantServicesOutlast ends the bindings to an instance one by one: until the last has ended the app finds the
// instance, in its old place before another one.
func (f *fixture) wantServicesOutlast(t *testing.T, in backstay.InstanceID, behind backstay.BindingID) {
	t.Helper()
	l, err := f.Bindings(t.Context(), market.BindingFilter{InstanceIDs: []backstay.InstanceID{in}})
	must(t, err)
	oldest, middle, newest := l.Items[0].ID, l.Items[1].ID, l.Items[2].ID
	must(t, f.RemoveBinding(t.Context(), oldest, none, nil))
	f.wantServices(t, 2, newest, behind)
	ending := operation(backstay.Delete, backstay.InProgress)
	must(t, f.AcceptBindingDeletion(t.Context(), newest, ending, none, newJob(string(newest))))
	f.wantServices(t, 2, middle, behind)
	must(t, f.RemoveBinding(t.Context(), middle, none, nil))
	f.wantServices(t, 2, newest, behind)
	must(t, f.RemoveBinding(t.Context(), newest, none, nil))
	f.wantServices(t, 1, behind)
}

func aFailedBindingMakesWay(t *testing.T, f *fixture) {
	in := f.mustHave(t, "db")
	b, j := f.newBinding(in.ID, backstay.AppBinding, "")
	must(t, f.AcceptBinding(t.Context(), b, 1, nil, none, j))
	failed := backstay.Job{ID: j.ID, State: backstay.JobFailed, Kind: backstay.Unavailable, Sentence: "no"}
	must(t, f.FinishBinding(t.Context(), b.ID, operation(backstay.Create, backstay.Failed), nil, failed))
	b, j = f.newBinding(in.ID, backstay.AppBinding, "")
	must(t, f.AcceptBinding(t.Context(), b, 1, nil, none, j))
}

func bindingsExpireUnlessHeld(t *testing.T, f *fixture) {
	in := f.mustHave(t, "db")
	now := time.Now()
	accept := func(name string, expires time.Time) (backstay.Binding, backstay.Job) {
		b, j := f.newBinding(in.ID, backstay.KeyBinding, name)
		b.ExpiresAt = expires
		must(t, f.AcceptBinding(t.Context(), b, 1, nil, none, j))
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

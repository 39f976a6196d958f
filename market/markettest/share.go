package markettest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

// lab is a second space, in which somebody has a role who has none in the first.
type lab struct {
	space  backstay.Space
	app    backstay.App
	member backstay.UserID
}

func (f *fixture) newLab(t *testing.T) (l lab) {
	t.Helper()
	var err error
	l.space, err = f.AddSpace(t.Context(), backstay.Space{ID: "lab", OrganizationID: f.org.ID, Name: "lab"}, none)
	must(t, err)
	l.app, err = f.AddApp(t.Context(), backstay.App{ID: "bench", SpaceID: l.space.ID, Name: "bench"}, none)
	must(t, err)
	l.member = Admin.UserID
	for _, r := range []backstay.Role{
		{ID: "r1", Type: "organization_user", OrganizationID: f.org.ID},
		{ID: "r2", Type: "space_developer", SpaceID: l.space.ID},
	} {
		r.UserID = l.member
		_, err := f.AddRole(t.Context(), r, none)
		must(t, err)
	}
	return l
}

func (f *fixture) share(t *testing.T, in backstay.Instance, space backstay.SpaceID) error {
	t.Helper()
	return f.AddShares(
		t.Context(), in.ID,
		[]backstay.Share{{ID: backstay.ShareID(uuid.NewString()), InstanceID: in.ID, SpaceID: space}}, none,
	)
}

func (f *fixture) mustShare(t *testing.T, in backstay.Instance, space backstay.SpaceID) backstay.Share {
	t.Helper()
	must(t, f.share(t, in, space))
	l, err := f.Shares(
		t.Context(),
		market.ShareFilter{InstanceIDs: []backstay.InstanceID{in.ID}, SpaceIDs: []backstay.SpaceID{space}},
	)
	must(t, err)
	if len(l.Items) != 1 {
		t.Fatalf("%d shares; want 1", len(l.Items))
	}
	return l.Items[0]
}

// mustBind binds an app to an instance as if a broker had.
func (f *fixture) mustBind(t *testing.T, in backstay.Instance, app backstay.AppID) backstay.Binding {
	t.Helper()
	b, j := f.newBinding(in.ID, backstay.AppBinding, "")
	b.AppID = app
	must(t, f.AcceptBinding(t.Context(), b, 1, nil, none, j))
	must(
		t,
		f.FinishBinding(t.Context(), b.ID, operation(backstay.Create, backstay.Succeeded), []byte("sealed"), complete(j)),
	)
	return b
}

func shareIsSeenAndBound(t *testing.T, f *fixture) {
	other := f.newLab(t)
	in := f.mustHave(t, "db")
	f.mustHave(t, "hidden")
	seen := market.InstanceFilter{Viewer: &other.member}
	wantInstances(t, f, seen)
	b, j := f.newBinding(in.ID, backstay.AppBinding, "")
	b.AppID = other.app.ID
	wantError(t, f.AcceptBinding(t.Context(), b, 1, nil, none, j), backstay.Invalid,
		"The service instance and the app are in different spaces.")

	f.mustShare(t, in, other.space.ID)
	wantInstances(t, f, seen, "db")
	wantInstances(t, f, market.InstanceFilter{KnownIn: []backstay.SpaceID{other.space.ID}}, "db")
	wantInstances(t, f, market.InstanceFilter{SpaceIDs: []backstay.SpaceID{other.space.ID}})
	f.mustBind(t, in, f.app.ID)
	theirs := f.mustBind(t, in, other.app.ID)
	l, err := f.Bindings(t.Context(), market.BindingFilter{Viewer: &other.member})
	must(t, err)
	if len(l.Items) != 1 || l.Items[0].ID != theirs.ID || l.Items[0].SpaceID != other.space.ID {
		t.Errorf("bindings that the borrower sees: %+v", l.Items)
	}
	shares, err := f.Shares(t.Context(), market.ShareFilter{InstanceIDs: []backstay.InstanceID{in.ID}})
	must(t, err)
	if len(shares.Items) != 1 || shares.Items[0].BoundApps != 1 {
		t.Errorf("shares %+v", shares.Items)
	}
}

func wantInstances(t *testing.T, f *fixture, filter market.InstanceFilter, names ...string) {
	t.Helper()
	l, err := f.Instances(t.Context(), filter)
	must(t, err)
	var found []string
	for _, in := range l.Items {
		found = append(found, in.Name)
	}
	if fmt.Sprint(found) != fmt.Sprint(names) || l.Total != len(names) {
		t.Errorf("found %v of %d; want %v", found, l.Total, names)
	}
}

func aSharedNameIsTaken(t *testing.T, f *fixture) {
	other := f.newLab(t)
	in, second := f.mustHave(t, "db"), f.mustHave(t, "second")
	f.mustShare(t, in, other.space.ID)
	wantError(t, f.share(t, in, other.space.ID), backstay.Taken,
		"A service instance called db has already been shared with lab.")

	f.space = other.space
	theirs, j := f.newInstance("db")
	wantError(t, f.AcceptInstance(t.Context(), theirs, nil, none, j), backstay.Taken,
		"The service instance name is taken: db.")
	_, err := f.AddUserProvided(t.Context(), f.newUserProvided("db"), []byte("sealed"), none)
	wantError(t, err, backstay.Taken, "The service instance name is taken: db.")
	own := f.mustHave(t, "second")
	wantError(t, f.share(t, second, other.space.ID), backstay.Taken,
		"A service instance called second already exists in lab.")
	name := "db"
	_, err = f.UpdateInstance(t.Context(), own.ID, named(name), nil, none)
	wantError(t, err, backstay.Taken, "The service instance name is taken: db.")
	_, err = f.UpdateUserProvided(
		t.Context(), f.mustProvide(t, "third").ID, market.InstanceUpdate{Update: named(name)}, nil, none,
	)
	wantError(t, err, backstay.Taken, "The service instance name is taken: db.")
	name = "free"
	_, err = f.UpdateInstance(t.Context(), in.ID, named(name), nil, none)
	wantError(t, err, backstay.Invalid, "Service instances that have been shared cannot be renamed.")
	_, err = f.UpdateInstance(t.Context(), in.ID, named(in.Name), []string{"b"}, none)
	must(t, err)
}

func aShareEndsWithItsBindings(t *testing.T, f *fixture) {
	other := f.newLab(t)
	in := f.mustHave(t, "db")
	share := f.mustShare(t, in, other.space.ID)
	wantError(
		t,
		f.AcceptInstanceDeletion(t.Context(), in.ID, operation(backstay.Delete, backstay.InProgress), none, newJob("x")),
		backstay.InUse,
		"Service instances must be unshared before they can be deleted. Unsharing db will automatically delete any "+
			"bindings that have been made to applications in other spaces.",
	)

	b, j := f.newBinding(in.ID, backstay.AppBinding, "")
	b.AppID = other.app.ID
	must(t, f.AcceptBinding(t.Context(), b, 1, nil, none, j))
	wantError(t, f.AcceptUnshare(t.Context(), share, none, newJob("x")), backstay.Busy,
		"An operation for a service binding of service instance db is in progress.")
	must(
		t,
		f.FinishBinding(t.Context(), b.ID, operation(backstay.Create, backstay.Succeeded), []byte("sealed"), complete(j)),
	)

	end := newJob(string(share.ID))
	must(t, f.AcceptUnshare(t.Context(), share, none, end))
	wantError(t, f.AcceptUnshare(t.Context(), share, none, newJob("x")), backstay.Busy,
		"The service instance db is being unshared already.")
	another, err := f.AddApp(t.Context(), backstay.App{ID: "another", SpaceID: other.space.ID, Name: "another"}, none)
	must(t, err)
	late, lj := f.newBinding(in.ID, backstay.AppBinding, "")
	late.AppID = another.ID
	const ending = "The service instance db is being unshared from the app's space."
	wantError(t, f.AcceptBinding(t.Context(), late, 1, nil, none, lj), backstay.Invalid, ending)

	must(
		t,
		f.FinishUnshare(t.Context(), share.ID,
			backstay.Job{ID: end.ID, State: backstay.JobFailed, Kind: backstay.Unavailable, Sentence: "no"}),
	)
	must(t, f.AcceptBinding(t.Context(), late, 1, nil, none, lj)) // it goes on as it was
	must(t, f.RemoveBinding(t.Context(), late.ID, none, &lj.ID))

	end = newJob(string(share.ID))
	must(t, f.AcceptUnshare(t.Context(), share, none, end))
	must(t, f.RemoveBinding(t.Context(), b.ID, none, nil))
	must(t, f.FinishUnshare(t.Context(), share.ID, complete(end)))
	wantInstances(t, f, market.InstanceFilter{Viewer: &other.member})
	must(
		t,
		f.AcceptInstanceDeletion(t.Context(), in.ID, operation(backstay.Delete, backstay.InProgress), none, newJob("y")),
	)
	wantError(t, f.share(t, in, other.space.ID), backstay.Invalid, "The service instance is getting deleted.")
}

// sharesAndCreatesRaceForAName lets a share and a create, of one name and for one space, begin at once.
func sharesAndCreatesRaceForAName(t *testing.T, f *fixture) {
	f.mustLimit(t, false, backstay.Limits{}) // there are many
	other := f.newLab(t)
	f.mustLimit(t, false, backstay.Limits{}) // none: each round leaves an instance
	for i := range 30 {
		lent := f.mustHave(t, fmt.Sprintf("db-%d", i))
		own, j := f.newInstance(lent.Name)
		own.SpaceID = other.space.ID
		var begun sync.WaitGroup
		begun.Add(2)
		shared := make(chan error)
		go func() {
			begun.Done()
			begun.Wait()
			shared <- f.share(t, lent, other.space.ID)
		}()
		begun.Done()
		begun.Wait()
		created := f.AcceptInstance(t.Context(), own, nil, none, j)
		if err := <-shared; (err == nil) == (created == nil) {
			t.Errorf("the share ended with %v, the create with %v; want one winner", err, created)
		} else if loser := backstay.KindOf(created); created != nil && loser != backstay.Taken || err != nil &&
			backstay.KindOf(err) != backstay.Taken {
			t.Errorf("the share ended with %v, the create with %v; want the loser's name taken", err, created)
		}
	}
}

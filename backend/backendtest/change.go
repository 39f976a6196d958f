package backendtest

import (
	"slices"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

// changes are the cases of an instance that is to become another one. They hold however often the backend is
// killed meanwhile.
var changes = []testCase{
	{"NewerWhileComingUp", newerWhileComingUp},
	{"NewerWhileFailing", newerWhileFailing},
	{"TwoInARow", twoInARow},
	{"ImpossibleSpecLeavesTheOldOne", impossibleSpecLeavesTheOldOne},
	{"ImpossibleWhileComingUp", impossibleWhileComingUp},
	{"DropUserOfWhatFails", dropUserOfWhatFails},
	{"LargerAndSmaller", largerAndSmaller},
	{"MoreStorageEndsNoSession", moreStorageEndsNoSession},
	{"StorageThatCannotChange", storageThatCannotChange},
	{"RestartOnce", restartOnce},
	{"RestartThatIsOvertaken", restartThatIsOvertaken},
}

// another is the Spec with another size, as a newer generation.
func another(spec backend.Spec) backend.Spec {
	spec.Generation++
	spec.Size.Connections += 10
	return spec
}

// impossible is a newer generation that no backend can reach.
func impossible(spec backend.Spec) backend.Spec {
	spec.Generation++
	spec.Version = "0"
	return spec
}

// mustApply is apply for an instance that is there already.
func (s Subject) mustApply(t *testing.T, spec backend.Spec) {
	t.Helper()
	if err := s.Backend.Apply(t.Context(), spec); err != nil {
		t.Fatalf("Apply of generation %d: %v", spec.Generation, err)
	}
}

// given waits until a generation is given up for ever.
func (s Subject) given(t *testing.T, id backstay.InstanceID, generation int64, phase backend.Phase) backend.Status {
	t.Helper()
	return s.until(t, id, "given up", func(st backend.Status) bool {
		return st.Obstacle.Generation == generation && st.Obstacle.Final && st.Phase == phase
	})
}

func newerWhileComingUp(t *testing.T, s Subject) {
	spec := s.spec(t)
	s.apply(t, spec)
	newer := another(spec)
	s.mustApply(t, newer)
	if status := s.running(t, spec.Instance, 2); status.Obstacle != (backend.Obstacle{}) || status.Wanted != 2 {
		t.Errorf("generation 2 runs as %+v", status)
	}
}

func newerWhileFailing(t *testing.T, s Subject) {
	spec := s.spec(t)
	bad := spec
	bad.Version = "0"
	s.apply(t, bad)
	s.given(t, spec.Instance, 1, backend.Failing)
	good := another(spec)
	s.mustApply(t, good)
	if status := s.running(t, spec.Instance, 2); status.Obstacle != (backend.Obstacle{}) {
		t.Errorf("generation 2 runs as %+v, want no obstacle", status)
	}
}

func twoInARow(t *testing.T, s Subject) {
	spec := s.spec(t)
	s.apply(t, spec)
	s.running(t, spec.Instance, 1)
	second := another(spec)
	third := another(second)
	s.mustApply(t, second)
	s.mustApply(t, third)
	s.running(t, spec.Instance, 3)
}

func impossibleSpecLeavesTheOldOne(t *testing.T, s Subject) {
	spec := s.spec(t)
	s.apply(t, spec)
	first := s.running(t, spec.Instance, 1)
	c, err := s.Backend.CreateUser(t.Context(), spec.Instance, newUser())
	if err != nil {
		t.Fatal(err)
	}
	session := s.mustOpen(t, c)
	bad := impossible(spec)
	s.mustApply(t, bad)
	status := s.given(t, spec.Instance, 2, backend.Running)
	if status.Generation != 1 || status.Wanted != 2 || status.Obstacle.Sentence == "" {
		t.Errorf("beside what cannot be it runs as %+v, want the obstacle", status)
	}
	if status.Endpoint != first.Endpoint {
		t.Errorf("beside what cannot be it runs as %+v", status)
	}
	s.wantUnwell(t, spec.Instance, true)
	if err := session.Ping(t.Context()); err != nil {
		t.Errorf("an impossible Spec has ended a session: %v", err)
	}
	if c, err = s.Backend.CreateUser(t.Context(), spec.Instance, newUser()); err != nil {
		t.Errorf("CreateUser beside an impossible Spec: %v", err)
	}
	back := spec
	back.Generation = 3
	s.mustApply(t, back)
	if status := s.running(t, spec.Instance, 3); status.Obstacle != (backend.Obstacle{}) {
		t.Errorf("generation 3 runs as %+v, want no obstacle", status)
	}
	s.wantUnwell(t, spec.Instance, false)
	s.mustConnect(t, c)
}

func impossibleWhileComingUp(t *testing.T, s Subject) {
	spec := s.spec(t)
	s.apply(t, spec)
	bad := impossible(spec)
	s.mustApply(t, bad)
	s.until(t, spec.Instance, "given up", func(st backend.Status) bool { return st.Obstacle.Final })
	good := another(bad)
	good.Version = spec.Version
	s.mustApply(t, good)
	s.running(t, spec.Instance, 3)
}

func dropUserOfWhatFails(t *testing.T, s Subject) {
	spec := s.spec(t)
	bad := spec
	bad.Version = "0"
	s.apply(t, bad)
	s.given(t, spec.Instance, 1, backend.Failing)
	u := newUser()
	for range 2 {
		if err := s.Backend.DropUser(t.Context(), spec.Instance, u.Name); err != nil {
			t.Errorf("DropUser of an instance that fails: %v, want success", err)
		}
	}
	s.mustApply(t, another(spec))
	s.running(t, spec.Instance, 2)
	c, err := s.Backend.CreateUser(t.Context(), spec.Instance, u)
	if err != nil {
		t.Fatal(err)
	}
	s.mustConnect(t, c)
}

// crowds are the cases of many who ask for the same at once.
var crowds = []testCase{
	{"ManyApplyOneInstance", manyApplyOneInstance},
	{"ManyGenerationsAtOnce", manyGenerationsAtOnce},
	{"ManyUsersAtOnce", manyUsersAtOnce},
	{"ManyRemoveOneInstance", manyRemoveOneInstance},
}

const crowd = 8

// together calls do by so many at once, and returns their errors.
func together(do func(i int) error) []error {
	errs := make(chan error, crowd)
	for i := range crowd {
		go func() { errs <- do(i) }()
	}
	var all []error
	for range crowd {
		all = append(all, <-errs)
	}
	return all
}

func wantAll(t *testing.T, what string, errs []error, allowed ...backstay.Kind) {
	t.Helper()
	for _, err := range errs {
		if err != nil && !slices.Contains(allowed, backstay.KindOf(err)) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func manyApplyOneInstance(t *testing.T, s Subject) {
	spec := s.spec(t)
	wantAll(t, "Apply", together(func(int) error { return s.Backend.Apply(t.Context(), spec) }))
	s.apply(t, spec)
	s.running(t, spec.Instance, 1)
}

func manyGenerationsAtOnce(t *testing.T, s Subject) {
	spec := s.spec(t)
	s.apply(t, spec)
	errs := together(func(i int) error {
		newer := spec
		newer.Generation += int64(i) + 1
		return s.Backend.Apply(t.Context(), newer)
	})
	wantAll(t, "Apply", errs, backstay.Busy)
	s.running(t, spec.Instance, 1+crowd)
}

func manyUsersAtOnce(t *testing.T, s Subject) {
	spec := s.spec(t)
	s.apply(t, spec)
	wantAll(t, "users", together(func(int) error {
		u := newUser()
		c, err := s.Backend.CreateUser(t.Context(), spec.Instance, u)
		if err != nil {
			return err
		}
		session, err := s.Connect(t.Context(), c)
		if err != nil {
			return err
		}
		defer session.Close(t.Context())
		return s.Backend.DropUser(t.Context(), spec.Instance, u.Name)
	}))
}

func manyRemoveOneInstance(t *testing.T, s Subject) {
	spec := s.spec(t)
	s.apply(t, spec)
	errs := together(func(int) error { return s.Backend.Remove(t.Context(), spec.Instance) })
	wantAll(t, "Remove", errs, backstay.NotFound)
	s.remove(t, spec.Instance)
	s.wantHeld(t, spec.Instance, 0)
}

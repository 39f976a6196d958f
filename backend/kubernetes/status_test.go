package kubernetes

import (
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
)

var (
	epoch  = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	anId   = backstay.InstanceID("0d5ff4a6-9e4b-4f40-9e63-6a1b1a6e3d11")
	silent = backstay.Errorf(backstay.Unavailable, "The database does not answer.")
)

// serving is an instance of so many nodes that is as wanted in every respect.
func serving(nodes int) situation {
	spec := backend.Spec{Instance: anId, Generation: 2, Engine: "postgres", Version: "15", Nodes: nodes}
	s := situation{
		record: record{Spec: spec, Reached: &spec, Served: true, Primary: "a-1", Build: "15.18"},
		wish:   wish{spec: spec, image: Image{Name: "pg:15.18", FullVersion: "15.18"}, memory: 512 * backstay.MB},
		view:   view{Exists: true, Ready: true, Primary: "a-1", Target: "a-1", Volumes: []volume{{Name: "a-1"}}},
		seen: sight{proved: true, observation: engine.Observation{
			Edition: "e", Started: epoch, Protected: nodes > 1,
		}},
		endpoint:  backstay.Endpoint{Host: "h", Port: 5432},
		described: "available",
	}
	s.wish.hosting.Edition = "e"
	for i := range max(nodes, 1) {
		name := "a-" + string(rune('1'+i))
		s.view.Nodes = append(s.view.Nodes, pod{Name: name, Ready: true, Memory: "512Mi", Image: "pg:15.18"})
		if i > 0 {
			s.seen.observation.Followers = append(s.seen.observation.Followers, engine.Follower{Name: name, InStep: true})
		}
	}
	return s
}

// newer wants another generation, as the wish has it already.
func (s situation) newer() situation {
	s.record.Spec.Generation, s.wish.spec.Generation = 3, 3
	return s
}

func TestLacks(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*situation)
		want   string // part of what is said; empty: nothing is lacking
	}{
		"nothing":              {func(*situation) {}, ""},
		"no Cluster":           {func(s *situation) { s.view.Exists = false }, "prepared"},
		"no answer":            {func(s *situation) { s.seen.err = silent }, "does not answer"},
		"an old configuration": {func(s *situation) { s.seen.observation.Edition = "d" }, "configuration"},
		"a restart":            {func(s *situation) { s.seen.observation.Restart = true }, "start again"},
		"the old certificate":  {func(s *situation) { s.seen.proved = false }, "certificate"},
		"no certificate of a private one": {func(s *situation) {
			s.seen.proved, s.wish.spec.Private = false, true
		}, ""},
		"the old memory": {func(s *situation) { s.view.Nodes[0].Memory = "256Mi" }, "Nodes"},
		"the old image":  {func(s *situation) { s.view.Nodes[0].Image = "pg:15.20" }, "Nodes"},
		"a node":         {func(s *situation) { s.view.Nodes = s.view.Nodes[:1] }, "Nodes"},
		"one too many":   {func(s *situation) { s.wish.spec.Nodes = 1 }, "Nodes"},
		"an extension": {func(s *situation) {
			s.seen.unfit = backstay.Errorf(backstay.Unavailable, "The extension x cannot be created.")
		}, "extension x"},
		"a restart that is owed, before it is noted": {func(s *situation) { s.record.Restarts = asked{Count: 1, Owed: true} },
			"start again"},
		"a restart that is owed": {func(s *situation) {
			s.record.Restarts = asked{Count: 1, Owed: true, Noted: true, Since: epoch}
		}, "start again"},
		"no restart, for it was": {func(s *situation) {
			s.record.Restarts = asked{Count: 1, Owed: true, Noted: true, Since: epoch.Add(-time.Second)}
		}, ""},
		"a failover, before there is an heir": {func(s *situation) { s.record.Handed = asked{Count: 1, Owed: true} },
			"take over"},
		"a failover": {func(s *situation) { s.record.Handed = asked{Count: 1, Owed: true, From: "a-1"} }, "take over"},
		"no failover, for it was": {func(s *situation) {
			s.record.Handed = asked{Count: 1, Owed: true, From: "a-2"}
		}, ""},
		"a standby in step":          {func(s *situation) { s.seen.observation.Protected = false }, "standby"},
		"what the operator does yet": {func(s *situation) { s.view.Ready, s.view.Reason = false, "Failing over" }, "Failing over"},
	} {
		s := serving(2)
		tc.change(&s)
		if got := s.lacks(); (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s is lacking: %q, want %q in it", name, got, tc.want)
		}
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	never := func(s situation) situation {
		s.record.Reached, s.record.Served = nil, false
		return s
	}
	silence := func(s situation) situation {
		s.seen = sight{err: silent}
		return s
	}
	troubled := func(s situation) situation {
		s.view.Nodes = []pod{{Name: "a-1", Trouble: "Kubernetes has no room."}}
		return s
	}
	refused := func(s situation) situation {
		s = s.newer()
		s.wish.spec.Generation = 2
		s.obstacle = backend.Obstacle{Generation: 3, Sentence: "There is no image.", Final: true}
		return s
	}
	lost := func(s situation) situation {
		s = silence(s)
		s.view.Volumes = nil
		s.obstacle = backend.Obstacle{Generation: 2, Sentence: "Its data is gone."}
		return s
	}
	held := func(s situation) situation {
		s.view.Held = "cnpg.io/hibernation"
		return s
	}
	const sleeps = "Somebody keeps it from running in Kubernetes, by the annotation cnpg.io/hibernation of its Cluster."
	removing := serving(1)
	removing.record.Removing = true
	deprived := never(silence(serving(1)))
	deprived.view.Primary, deprived.record.Bring = "", &origin{}
	deprived.deprived = backstay.Errorf(backstay.Unavailable, "The repository does not answer.")
	fresh := never(silence(serving(1)))
	fresh.view = view{}
	for name, tc := range map[string]struct {
		s          situation
		phase      backend.Phase
		generation int64
		message    string
		obstacle   string
	}{
		"as wanted":                 {serving(1), backend.Running, 2, "available", ""},
		"of two":                    {serving(2), backend.Running, 2, "available", ""},
		"just wanted":               {fresh, backend.Preparing, 0, "The service instance is being prepared.", ""},
		"coming up":                 {never(silence(serving(1))), backend.Starting, 0, "The database does not answer.", ""},
		"without room":              {never(silence(troubled(serving(1)))), backend.Starting, 0, "Kubernetes has no room.", "Kubernetes has no room."},
		"on its way":                {serving(1).newer(), backend.Running, 2, "available", ""},
		"on its way, and silent":    {silence(serving(1).newer()), backend.Starting, 2, "The database does not answer.", ""},
		"silent":                    {silence(serving(1)), backend.Failing, 2, "The database does not answer.", ""},
		"impossible":                {refused(serving(1)), backend.Running, 2, "available", "There is no image."},
		"impossible, and silent":    {silence(refused(serving(1))), backend.Failing, 2, "The database does not answer.", "There is no image."},
		"impossible from the first": {never(silence(refused(serving(1)))), backend.Failing, 0, "There is no image.", "There is no image."},
		"without its volumes":       {lost(serving(1)), backend.Failing, 2, "Its data is gone.", "Its data is gone."},
		"asleep":                    {silence(held(serving(1))), backend.Failing, 2, sleeps, sleeps},
		"asleep, before it changes": {silence(held(serving(1)).newer()), backend.Starting, 2, sleeps, ""},
		"partly fenced":             {held(serving(2)), backend.Running, 2, "available", ""},
		"without what it is made of": {deprived, backend.Preparing, 0, "The database does not answer.",
			"The data cannot be restored now: The repository does not answer. It is tried again."},
		"being removed": {removing, backend.Removing, 2, "The service instance is being deleted.", ""},
	} {
		st := tc.s.status()
		if st.Phase != tc.phase || st.Generation != tc.generation || st.Message != tc.message ||
			st.Obstacle.Sentence != tc.obstacle || st.Wanted != tc.s.record.Spec.Generation {
			t.Errorf("%s: %+v, want %+v", name, st, tc)
		}
	}
}

func TestNodes(t *testing.T) {
	t.Parallel()
	s := serving(2)
	s.seen.observation.Followers[0].Lag = 3*backstay.MB + 5
	want := []backend.NodeStatus{
		{Name: "a-1", Role: backend.Primary, Phase: backend.Running},
		{Name: "a-2", Role: backend.Standby, Phase: backend.Running, Lag: 3 * backstay.MB},
	}
	if got := s.status().Nodes; len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%+v, want %+v", got, want)
	}
	s.seen.observation.Followers = nil
	if got := s.status().Nodes[1].Phase; got != backend.Starting {
		t.Errorf("a standby that does not follow is %s", got)
	}
}

// TestHeir has only a node take over that lacks nothing: a planned change of the primary has lost rows in one that was
// called healthy.
func TestHeir(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*situation)
		want   string
	}{
		"in step":       {func(*situation) {}, "a-2"},
		"behind":        {func(s *situation) { s.seen.observation.Followers[0].Lag = 1 }, ""},
		"not connected": {func(s *situation) { s.seen.observation.Followers = nil }, ""},
		"not awaited":   {func(s *situation) { s.seen.observation.Protected = false }, ""},
		"not ready":     {func(s *situation) { s.view.Nodes[1].Ready = false }, ""},
		"silent":        {func(s *situation) { s.seen.err = silent }, ""},
	} {
		s := serving(2)
		tc.change(&s)
		if got := s.heir(); got != tc.want {
			t.Errorf("%s: the heir is %q, want %q", name, got, tc.want)
		}
	}
}

func TestNextRecord(t *testing.T) {
	t.Parallel()
	r := record{Spec: backend.Spec{Generation: 1}}
	with := func(generation, restarts int64) backend.Spec {
		return backend.Spec{Generation: generation, Restarts: restarts}
	}
	for i, step := range []struct {
		spec   backend.Spec
		counts int64
		owed   bool
		told   int64 // what the operator is told of
	}{
		{with(2, 1), 1, true, 0}, {with(3, 1), 1, true, 0}, // it is overtaken, and owed nevertheless
		{with(4, 0), 1, true, 0}, {with(5, 1), 2, true, 1}, // one more than before
	} {
		r = r.next(step.spec)
		if r.Restarts.Count != step.counts || r.Restarts.Owed != step.owed || r.restarts() != step.told {
			t.Errorf("step %d: %+v, of which %d are told, want %+v", i, r.Restarts, r.restarts(), step)
		}
	}
	r.Restarts.Noted = true
	if r.restarts() != 2 {
		t.Errorf("noted, %d are told", r.restarts())
	}
}

func TestFailoverIsNoted(t *testing.T) {
	t.Parallel()
	s := serving(2)
	s.view.Primary = "a-2"
	s.silent = epoch.Add(-2 * time.Second)
	f := s.noted(s.record, epoch).Failover
	if f == nil || f.Planned || !f.At.Equal(s.silent) || f.Took != 2*time.Second || !strings.HasSuffix(f.Why, ".") {
		t.Errorf("a lost primary is noted as %+v", f)
	}
	s.record.Handed = asked{Count: 1, Owed: true, From: "a-1", Since: epoch}
	f = s.noted(s.record, epoch.Add(3*time.Second)).Failover
	if f == nil || !f.Planned || f.Took != 3*time.Second {
		t.Errorf("a failover that was asked for is noted as %+v", f)
	}
}

// TestRestartOfTheSilent: a server that did not answer as its restart was noted has not had it when it answers again.
func TestRestartOfTheSilent(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	s := serving(1)
	s.seen = sight{err: silent}
	since := s.startedBefore(now)
	s = serving(1)
	s.record.Restarts = asked{Count: 1, Owed: true, Noted: true, Since: since}
	for started, want := range map[time.Time]bool{now.Add(-time.Hour): false, now.Add(time.Second): true} {
		s.seen.observation.Started = started
		if s.startedBefore(now) != started {
			t.Errorf("a server that answers has started at %v, want %v", s.startedBefore(now), started)
		}
		if lacking := s.lacks(); (lacking == "") != want {
			t.Errorf("a server that has started at %v lacks %q", started, lacking)
		}
	}
}

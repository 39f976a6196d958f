package kubernetes

import (
	"context"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
)

// TestReturnIsWithdrawn while the data before is being removed: the instance is brought back by the archive, and not
// taken for one whose Cluster somebody has deleted. As long as that is there, it goes on with it.
func TestReturnIsWithdrawn(t *testing.T) {
	t.Parallel()
	for name, cluster := range map[string]*unstructured.Unstructured{"gone": nil, "there": aCluster("2")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newFakeCluster()
			b := c.backend(t)
			b.withBackup(t, "")
			if cluster != nil {
				c.put(clusters, cluster)
			}
			reached := keptSpec()
			reached.Generation = 1
			in := c.holding(t, b, record{
				Spec: keptSpec(), Reached: &reached, Served: true,
				Keeping: keeping{Lines: []line{{Name: "1"}, {Name: "2"}}},
				Kept:    &kept{Line: "2", Version: "15"},
				Bring: &origin{Generation: 2, Restores: 2, Of: anId, Line: "1", Backup: "20261129T075500",
					Version: "14", Kept: &kept{Line: "1", Version: "14"}},
			})
			in.bring(t.Context(), in.record)
			s, brings := situation{record: in.record}, in.record.Bring
			comesBack := brings != nil && brings.Own && brings.Generation == 3 && brings.Backup == "20261129T075500"
			if isThere := cluster != nil; comesBack == isThere || s.mustExist() != isThere {
				t.Errorf("it is to be brought back by %+v", brings)
			}
			if back := in.record.Kept; back == nil || back.Line != "1" || back.Version != "14" {
				t.Errorf("it can return to %+v, which a way back from an upgrade was that was not taken", back)
			}
			again := in.record
			if again.Bring != nil {
				again.Restores = again.Bring.Restores // as when that is done
			}
			again.Spec.Generation, again.Spec.Origin = 4, &backend.Origin{Instance: anId, Return: 1}
			if !again.asksForData() {
				t.Error("who asks again for a return gets none, and is told that it is done")
			}
			if !slices.ContainsFunc(in.record.Keeping.Lines, func(l line) bool { return l.Name == "1" }) {
				t.Errorf("it has the lines %+v", in.record.Keeping.Lines)
			}
		})
	}
}

// TestDataBeforeComesBack where other data is there by now, for which nobody asks any more: from the end of the line
// that was in use before, in the version that it has, and without the users who were dropped meanwhile.
func TestDataBeforeComesBack(t *testing.T) {
	t.Parallel()
	c := newFakeCluster()
	b := c.backend(t)
	b.withBackup(t, "")
	reached := keptSpec()
	reached.Generation, reached.Version = 1, "14"
	spec := keptSpec()
	spec.Generation = 3
	in := c.holding(t, b, record{
		Spec: spec, Reached: &reached, Served: true, Drops: []string{"u2"},
		Keeping: keeping{Lines: []line{{Name: "1"}, {Name: "2"}}},
		Kept:    &kept{Line: "1", Version: "15"},
		Bring: &origin{Generation: 2, Of: anId, Line: "0", Version: "14", Emptied: true, Done: true,
			Kept: &kept{Line: "0", Version: "14"}, Before: &kept{Line: "1", Version: "15"}, Dropped: []string{"u1"}},
	})
	if in.record.settled() {
		t.Error("the instance stays with the data that was given up")
	}
	in.bring(t.Context(), in.record)
	r := in.record
	its := r.Bring
	if its.Line != "1" || its.Backup != "20261129T075500" || its.Version != "15" || !its.Own || its.Done ||
		its.Generation != 3 || restoresOf(r.Spec) != 0 {
		t.Errorf("it begins from %+v", its)
	}
	if want := []string{"u2", "u1"}; !slices.Equal(r.Drops, want) {
		t.Errorf("%q are to be dropped, want %q", r.Drops, want)
	}
	if r.Kept == nil || r.Kept.Line != "0" || r.Keeping.current().Name == "2" {
		t.Errorf("it can return to %+v, and archives to %q", r.Kept, r.Keeping.current().Name)
	}

	// What is asked for meanwhile, and given up in its turn, leads to the same data.
	spec.Generation, spec.Origin = 4, &backend.Origin{Instance: anId, Key: "the-key", Return: 1}
	asking := r
	asking.Spec = spec
	if back := asking.replaced(origin{Generation: 4}).Bring; back.Before.Line != "1" || len(back.Dropped) != 1 {
		t.Errorf("behind that it begins from %+v", back)
	}
	its.Done = true
	if r.strays() || r.before().Line != r.Keeping.current().Name {
		t.Errorf("data that is its own again is at %+v", r.before())
	}
}

// TestDroppedStayDropped: who is dropped of data that may be given up is so of the data before, too.
func TestDroppedStayDropped(t *testing.T) {
	t.Parallel()
	reached := keptSpec()
	reached.Generation = 1
	for name, tc := range map[string]struct {
		bring origin
		want  []string
	}{
		"other data, not reached": {origin{Generation: 2, Before: &kept{Line: "1"}}, []string{"u1"}},
		"other data, reached":     {origin{Generation: 1, Before: &kept{Line: "1"}, Done: true}, nil},
		"its own":                 {origin{Generation: 2, Before: &kept{Line: "1"}, Own: true}, nil},
		"a new instance's":        {origin{Generation: 2}, nil},
	} {
		r := record{Reached: &reached, Bring: &tc.bring, Drops: []string{"u1", "u2"}}.without([]string{"u1"})
		if !slices.Equal(r.Bring.Dropped, tc.want) || !slices.Equal(r.Drops, []string{"u2"}) {
			t.Errorf("%s: %q dropped, %q to be", name, r.Bring.Dropped, r.Drops)
		}
	}
}

// TestWhoAsksAgainIsAnswered: a return that was given up after its data was there has been reached by nobody.
func TestWhoAsksAgainIsAnswered(t *testing.T) {
	t.Parallel()
	wanted := func(generation int64) (r record) {
		r.Spec = backend.Spec{Instance: anId, Generation: generation, Origin: &backend.Origin{Instance: anId, Return: 1}}
		r.Bring = &origin{Generation: 2, Restores: 2, Done: true}
		return r
	}
	reached := situation{record: wanted(2)}.reached(minute(1))
	later := reached
	later.Spec = wanted(5).Spec
	for name, tc := range map[string]struct {
		record record
		want   bool
	}{
		"the one that was brought":               {wanted(2), false},
		"another one, which asks as that did":    {wanted(4), true},
		"one that was reached":                   {reached, false},
		"what comes behind one that was reached": {later, false},
	} {
		if got := tc.record.asksForData(); got != tc.want {
			t.Errorf("%s asks for data: %t", name, got)
		}
	}
}

// dropping is an engine that only drops users.
type dropping struct {
	engine.Engine
	engine.HostedArchiver
	dropped int
}

func (d *dropping) DropUsers(context.Context, engine.Node) error {
	d.dropped++
	return nil
}

// TestOwnDataHasItsUsers, and all others lose those that came with them.
func TestOwnDataHasItsUsers(t *testing.T) {
	t.Parallel()
	for _, own := range []bool{true, false} {
		c := newFakeCluster()
		b := c.backend(t)
		e := &dropping{}
		b.Engines = map[string]engine.Engine{"postgres": e}
		in := c.holding(t, b, record{
			Spec: keptSpec(), Bring: &origin{Generation: 3, Of: anId, Own: own, Emptied: true}, Drops: []string{"u1"},
		})
		if err := in.finish(t.Context(), in.record, Image{}, engine.Node{}); err != nil {
			t.Fatal(err)
		}
		r := in.record
		if !r.Bring.Done || (e.dropped == 0) != own || (len(r.Drops) > 0) != own {
			t.Errorf("its own: %t; users were dropped %d times, and %q are still to be", own, e.dropped, r.Drops)
		}
	}
}

package instance

import (
	"errors"
	"testing"

	"github.com/backstay/backstay/backend"
)

// TestApplyWantsRoomForAllNodes: a node can go between the moment at which it was found that an instance has it and the
// one at which the Spec becomes what is wanted. Without that node the Spec could never be reached.
func TestApplyWantsRoomForAllNodes(t *testing.T) {
	t.Parallel()
	three := 3
	wanted := backend.Spec{Instance: "i", Generation: 2, Nodes: 2, Reading: backend.Reading{Replicas: &three}}
	for name, tc := range map[string]struct {
		second   *Second
		replicas []Replica
		allotted *Allotment
		err      error
	}{
		"it has all":            {second: &Second{}, replicas: []Replica{{Place: "3"}, {Place: "4"}}},
		"it gets all":           {allotted: &Allotment{SecondPort: 1, ReplicaPorts: []int{2, 3}}},
		"it gets the rest":      {second: &Second{}, replicas: []Replica{{Place: "4"}}, allotted: &Allotment{ReplicaPorts: []int{3}}},
		"a replica has gone":    {second: &Second{}, replicas: []Replica{{Place: "3"}}, err: ErrNodeGone},
		"another one has gone":  {second: &Second{}, allotted: &Allotment{ReplicaPorts: []int{3}}, err: ErrNodeGone},
		"the standby has gone":  {allotted: &Allotment{ReplicaPorts: []int{2, 3}}, err: ErrNodeGone},
		"both have gone before": {err: ErrNodeGone},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := newIdle(t)
			in.record.Second, in.record.Replicas = tc.second, tc.replicas
			if err := in.Apply(t.Context(), wanted, tc.allotted); !errors.Is(err, tc.err) {
				t.Errorf("Apply: %v, want %v", err, tc.err)
			}
			if r := in.Record(); r.Lacks(r.Spec) || (r.Spec.Generation == 2) != (tc.err == nil) {
				t.Errorf("it is to be %+v, with the standby %+v and the replicas %+v", r.Spec, r.Second, r.Replicas)
			}
		})
	}
}

package broker_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/broker"
)

// simulated is a machine that holds a thousand instances in memory, for tests of when something is done.
// An instance is at once as its Spec says, unless that says what the machine lacks. What it must never see it notes.
type simulated struct {
	backend.Backend // nil: nothing else is asked for

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every change
	build   string        // of PostgreSQL 15, that is installed
	other   string        // another one that is; empty: none
	most    int           // connections that it can ever serve
	full    bool          // there is no room for anything that is new
	away    bool          // it does not answer
	crowded bool          // it would refuse whatever is new
	message string        // of an instance that serves
	seen    backend.Drill // what is seen of each restart; the zero Drill: none is a drill

	encryption    string                 // of what lies on its disks
	restorePoints backstay.RestorePoints // that it can have
	undrillable   bool                   // nobody sees what a restart costs

	instances map[backstay.InstanceID]*backend.Status
	specs     map[backstay.InstanceID]backend.Spec // that serve
	wanted    map[backstay.InstanceID]backend.Spec
	restarts  map[backstay.InstanceID]int
}

func newSimulated() *simulated {
	return &simulated{
		changed: make(chan struct{}), build: "15.1", most: 40, message: "It serves.",
		instances: map[backstay.InstanceID]*backend.Status{}, restarts: map[backstay.InstanceID]int{},
		specs: map[backstay.InstanceID]backend.Spec{}, wanted: map[backstay.InstanceID]backend.Spec{},
	}
}

// alter changes the machine, and has it look at all of its instances anew.
func (s *simulated) alter(change func(*simulated)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
	for id := range s.instances {
		s.settle(id)
	}
}

// settle brings an instance to what is wanted, or says why it cannot be.
func (s *simulated) settle(id backstay.InstanceID) {
	status, spec := s.instances[id], s.wanted[id]
	status.Wanted, status.Obstacle = spec.Generation, backend.Obstacle{}
	switch {
	case spec.Size.Connections > s.most:
		status.Obstacle = backend.Obstacle{Generation: spec.Generation, Sentence: "It is too much.", Final: true}
	case s.full && spec.Size.Connections > s.specs[id].Size.Connections:
		status.Obstacle = backend.Obstacle{Generation: spec.Generation, Sentence: "The disk is full."}
	case status.Generation < spec.Generation:
		if before, served := s.specs[id]; served && (before.Restarts != spec.Restarts || before.Build != spec.Build) {
			s.restarts[id]++
			if before.Restarts != spec.Restarts && s.seen != (backend.Drill{}) {
				status.Drill = &backend.Drill{Generation: spec.Generation, Began: s.seen.Began}
				go s.endDrill(id, spec.Generation)
			}
		}
		s.specs[id], status.Generation, status.Build = spec, spec.Generation, spec.Build
		status.Phase, status.Message = backend.Running, s.message
		status.Endpoint = backstay.Endpoint{Host: "simulated", Port: 5432}
	}
	status.Revision++
	close(s.changed)
	s.changed = make(chan struct{})
}

// endDrill tells what was seen of a restart, a moment later than that the instance serves.
func (s *simulated) endDrill(id backstay.InstanceID, generation int64) {
	time.Sleep(20 * time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.seen
	d.Generation = generation
	s.instances[id].Drill = &d
	s.instances[id].Revision++
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *simulated) Inventory(context.Context) (backend.Inventory, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return backend.Inventory{}, backstay.Errorf(backstay.Unavailable, "The machine does not answer.")
	}
	v := backend.EngineVersion{
		Engine: "postgres", Product: "PostgreSQL", Version: "15", FullVersion: s.build, RestorePoints: s.restorePoints,
		Drills: !s.undrillable,
	}
	i := backend.Inventory{Encryption: s.encryption, Engines: []backend.EngineVersion{v}}
	if s.other != "" {
		v.FullVersion = s.other
		i.Engines = append(i.Engines, v)
	}
	return i, nil
}

func (s *simulated) Admit(context.Context, backend.Spec) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.crowded {
		return backstay.Errorf(backstay.Unavailable, "The disk is nearly full.")
	}
	return nil
}

func (s *simulated) Names(context.Context, backend.Spec) ([]string, error) {
	return []string{"simulated"}, nil
}

func (s *simulated) Apply(_ context.Context, spec backend.Spec) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.instances[spec.Instance] == nil {
		s.instances[spec.Instance] = &backend.Status{Instance: spec.Instance, Phase: backend.Starting}
	}
	if spec.Generation < s.wanted[spec.Instance].Generation {
		return backstay.Errorf(backstay.Busy, "A newer generation is wanted.")
	}
	s.wanted[spec.Instance] = spec
	s.settle(spec.Instance)
	return nil
}

func (s *simulated) Await(ctx context.Context, id backstay.InstanceID, revision int64) (backend.Status, error) {
	for {
		s.mu.Lock()
		changed, status := s.changed, s.instances[id]
		if status == nil {
			s.mu.Unlock()
			return backend.Status{}, backstay.Errorf(backstay.NotFound, "no such instance")
		}
		if now := *status; now.Revision > revision {
			s.mu.Unlock()
			return now, nil
		}
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return backend.Status{}, ctx.Err()
		}
	}
}

func (s *simulated) Unwell(context.Context) ([]backend.Status, error) { return nil, nil }

func (s *simulated) Held(context.Context) (map[backstay.InstanceID]int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := map[backstay.InstanceID]int64{}
	for id, spec := range s.wanted {
		held[id] = spec.Generation
	}
	return held, nil
}

// noting is a ledger that notes which operations maintenance has begun. It runs no jobs: whoever uses it works on them.
type noting struct {
	broker.Store
	mu    *sync.Mutex
	begun *[]broker.Operation
}

func (n noting) note(op broker.Operation, err error) (broker.Operation, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil && op.Cause == broker.ByMaintenance {
		*n.begun = append(*n.begun, op)
	}
	return op, err
}

func (n noting) BeginOperation(ctx context.Context, op broker.Operation) (broker.Operation, error) {
	return n.note(n.Store.BeginOperation(ctx, op))
}

func (n noting) StartOperation(
	ctx context.Context, id backstay.OperationKey, agreed broker.Wanted,
) (broker.Operation, error) {
	return n.note(n.Store.StartOperation(ctx, id, agreed))
}

// take returns what has been begun since it was called last.
func (n noting) take() []broker.Operation {
	n.mu.Lock()
	defer n.mu.Unlock()
	begun := slices.Clone(*n.begun)
	*n.begun = nil
	return begun
}

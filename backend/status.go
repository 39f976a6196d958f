package backend

import (
	"slices"
	"time"

	"github.com/backstay/backstay"
)

// Phase is where an instance, or a node, is on its way to its Spec.
type Phase string

const (
	Preparing Phase = "preparing" // data directory and configuration are being made
	Starting  Phase = "starting"  // the engine is coming up, for the first time or again
	Running   Phase = "running"   // clients are served at the endpoint
	Failing   Phase = "failing"   // it does not serve; it is tried again, with back-off
	Removing  Phase = "removing"
)

// Status is what is observed of an instance.
type Status struct {
	Instance   backstay.InstanceID `json:"instance"`
	Revision   int64               `json:"revision"`   // grows with every change, also over restarts of the backend
	Generation int64               `json:"generation"` // the newest generation that was reached; 0 before the first
	Wanted     int64               `json:"wanted"`     // the generation of the Spec held
	Phase      Phase               `json:"phase"`
	Message    string              `json:"message"` // for the user: a sentence, or what the engine says of one that runs
	// Down is since when nobody is served of an instance that has served before; zero: it serves, or is to for the first
	// time.
	Down     time.Time         `json:"down,omitzero"`
	Endpoint backstay.Endpoint `json:"endpoint"`
	Reads    backstay.Endpoint `json:"reads,omitzero"`  // for reads; zero: nobody was given it yet
	Build    string            `json:"build,omitempty"` // the full version that serves, or served last
	Nodes    []NodeStatus      `json:"nodes,omitempty"`
	// Protected is since when the standby lacks nothing that a client was told is committed, so that it takes over when
	// the primary is lost; zero: there is none, or it may lack something.
	Protected time.Time `json:"protected,omitzero"`
	Failover  *Failover `json:"failover,omitempty"` // the last change of the primary; nil: there was none
	Drill     *Drill    `json:"drill,omitempty"`    // the one that goes on, or ended last; nil: there was none
	Obstacle  Obstacle  `json:"obstacle,omitzero"`  // why the wanted generation is not reached
	// Worked is when work on the wanted generation was last seen to go on that takes longer the more data there is, as a
	// restore does; zero: there was none. Whoever waits is patient while it moves.
	Worked time.Time `json:"worked,omitzero"`
	// Troubles are what is wrong with the instance besides, each kind at most once. It serves nevertheless, or again.
	Troubles []backstay.Trouble `json:"troubles,omitempty"`
	// Restored is what the data came from that is served, where that was a restore point.
	Restored Restored `json:"restored,omitzero"`
}

// Restored is a restore that has brought an instance its data.
type Restored struct {
	Generation int64  `json:"generation"`       // that asked for it
	Passed     string `json:"passed,omitempty"` // why it is not quite what was asked for; empty: it is
}

// Role is a node's part in its instance.
type Role string

const (
	Primary Role = "primary" // takes writes
	Standby Role = "standby" // stands ready to become the primary
	Replica Role = "replica" // serves reads only
)

// NodeStatus is what is observed of one node.
type NodeStatus struct {
	Name  string         `json:"name"`
	Role  Role           `json:"role"`
	Phase Phase          `json:"phase"`
	Lag   backstay.Bytes `json:"lag,omitempty"` // of the log that it has not applied yet; 0 of a primary
	// LagSeconds is how old what its clients read may be; 0 of a primary.
	LagSeconds int64 `json:"lag_seconds,omitempty"`
	// Reads says that it serves who was given the address for reads.
	Reads bool `json:"serves_replica_bindings,omitempty"`
}

// Failover is a change of the primary.
type Failover struct {
	At      time.Time     `json:"at"`      // when the one before had ended
	Why     string        `json:"why"`     // a sentence
	Took    time.Duration `json:"took"`    // until the new one took writes; 0: it does not yet
	Planned bool          `json:"planned"` // the one before was ended for it
}

// Drill is what was seen of a restart, or of a change of the primary, that a Spec has asked for, by somebody who wrote
// to the instance all the while as its clients do.
type Drill struct {
	Generation int64     `json:"generation"` // that asked for it
	Began      time.Time `json:"began"`
	Ended      time.Time `json:"ended,omitzero"` // zero: it goes on, and what follows is not known yet
	// Failed is the longest time in which no write was acknowledged.
	Failed  time.Duration `json:"failed"`
	Written int64         `json:"written"` // acknowledged writes; 0: nothing was seen, and Trouble says why
	Lost    int64         `json:"lost"`    // of them, that were not there afterwards
	Node    string        `json:"node"`    // that serves then
	Changed bool          `json:"changed"` // it is another one than before
	// Trouble is a sentence that says how far the rest can be relied on; empty: it can.
	Trouble string `json:"trouble,omitempty"`
}

// Obstacle is why a generation is not reached. The zero Obstacle is none. With one, an instance may
// well be Running: it serves as the last generation that was reached.
type Obstacle struct {
	Generation int64  `json:"generation"`
	Sentence   string `json:"sentence"` // for the user
	Final      bool   `json:"final"`    // trying again cannot help, only another Spec can
}

// restartTime is what a server that has ended may take to serve again before anybody is told: most are back by then.
const restartTime = 5 * time.Second

// After is the status as it follows upon the one that was told before: Down says since when nobody is served.
func (s Status) After(before Status, now time.Time) Status {
	switch {
	case s.Phase == Running || s.Generation == 0:
		s.Down = time.Time{}
	case before.Down.IsZero():
		s.Down = now
	default:
		s.Down = before.Down
	}
	return s
}

// Unwell tells whether, at that time, the instance does not serve as it is wanted, or has troubles.
func (s Status) Unwell(now time.Time) bool {
	return s.Phase == Failing || s.Obstacle != (Obstacle{}) || len(s.Troubles) > 0 || s.IsDown(now)
}

// IsDown tells whether an instance that is kept has served, and has not done so for longer than a restart takes.
func (s Status) IsDown(now time.Time) bool {
	return s.Phase != Removing && !s.Down.IsZero() && now.Sub(s.Down) > restartTime
}

// Same tells whether two statuses say the same, whatever their revisions are.
func (s Status) Same(other Status) bool {
	return s.Instance == other.Instance && s.Generation == other.Generation && s.Wanted == other.Wanted &&
		s.Phase == other.Phase && s.Message == other.Message && s.Down.Equal(other.Down) && s.Endpoint == other.Endpoint &&
		s.Reads == other.Reads && s.Build == other.Build &&
		slices.Equal(s.Nodes, other.Nodes) && s.Protected.Equal(other.Protected) &&
		same(s.Failover, other.Failover) && same(s.Drill, other.Drill) && s.Obstacle == other.Obstacle &&
		s.Worked.Equal(other.Worked) && s.Restored == other.Restored && slices.Equal(s.Troubles, other.Troubles)
}

func same[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

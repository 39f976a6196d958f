package kubernetes

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
)

// situation is all that a status is told from. Nothing that follows asks anybody else.
type situation struct {
	record    record
	wish      wish // that the instance is held to
	view      view
	seen      sight
	endpoint  backstay.Endpoint
	worked    time.Time        // see backend.Status
	described string           // what the engine says of an instance that serves
	protected time.Time        // since when a standby lacks nothing; zero: there is none
	silent    time.Time        // since when it had not answered when it was last asked; zero: it had
	obstacle  backend.Obstacle // why the wanted generation is not even begun
	deprived  error            // why what is being restored cannot be had now
	led       led              // who serves reads
	reads     backstay.Endpoint
}

// situation is that of an instance of which nothing was looked at yet.
func (in *instance) situation(r record) situation {
	return situation{record: r, endpoint: in.b.endpoint(r), reads: in.b.reads(r), led: in.readers.tell()}
}

// sight is what a connection of our own to the address in the credentials has found.
type sight struct {
	observation engine.Observation
	proved      bool  // it has proved itself by the certificate that is wanted
	err         error // nil: the instance serves, and all that it owes before that is done
	unfit       error // why it serves, and not as the wish has it
}

// holds tells whether the instance is held to the Spec that is wanted.
func (s situation) holds() bool { return s.wish.spec.Generation == s.record.Spec.Generation }

// lacks says what is still to come until the instance is as the wish has it; empty: it is.
func (s situation) lacks() string {
	o := s.seen.observation
	switch {
	case !s.view.Exists:
		return "The service instance is being prepared."
	case s.seen.err != nil:
		return s.awaited()
	case s.seen.unfit != nil:
		return backstay.SentenceOf(s.seen.unfit)
	case o.Edition != s.wish.hosting.Edition:
		return "The server has not read its configuration yet."
	case o.Restart:
		return "The server is about to start again with its configuration."
	case !s.wish.spec.Private && !s.seen.proved:
		return "The server does not prove itself by the new certificate yet."
	case !s.complete():
		return "Nodes are being made or replaced."
	case !s.view.hasRoom(s.wish.spec.Size.Storage):
		return cmp.Or(s.view.trouble(), "The volumes are about to become larger.")
	case s.record.Restarts.Owed && !(s.record.Restarts.Noted && o.Started.After(s.record.Restarts.Since)):
		return "The server is about to start again."
	case s.record.Handed.Owed && (s.record.Handed.From == "" || s.view.Primary == s.record.Handed.From):
		return "Another node is about to take over."
	case !s.view.Ready:
		return s.awaited()
	case s.wish.spec.AllNodes() > 1 && !o.Protected:
		return "The standby does not follow yet."
	}
	return ""
}

// awaited says what a server that does not serve, or not all of, is waited for.
func (s situation) awaited() string {
	if s.view.Held != "" && s.seen.err != nil {
		return fmt.Sprintf("Somebody keeps it from running in Kubernetes, by the annotation %s of its Cluster.", s.view.Held)
	}
	if t := s.view.trouble(); t != "" {
		return t
	}
	if s.record.rising() {
		return s.upgrading()
	}
	if s.view.Reason != "" && !s.view.Ready {
		return fmt.Sprintf("Kubernetes is not done: %s.", trimmed(s.view.Reason))
	}
	if s.seen.err != nil {
		return backstay.SentenceOf(s.seen.err)
	}
	return "Kubernetes is not done."
}

// complete tells whether the nodes are those that are wanted, all of them and no others.
func (s situation) complete() bool {
	if len(s.view.Nodes) != s.wish.spec.AllNodes() {
		return false
	}
	for _, p := range s.view.Nodes {
		if !p.Ready || p.Memory != quantity(s.wish.memory) || p.Image != s.wish.image.Name {
			return false
		}
	}
	return true
}

// status is what is told of the instance. Its generation is that of the record: who has reached one, notes that first.
func (s situation) status() backend.Status {
	r := s.record
	st := backend.Status{Instance: r.Spec.Instance, Wanted: r.Spec.Generation, Failover: r.Failover, Build: r.Build,
		Drill: r.lastDrill(), Obstacle: s.obstacle}
	if r.Reached != nil {
		st.Generation = r.Reached.Generation
		st.Endpoint, st.Reads = s.endpoint, s.reads
	}
	if b := r.Bring; b != nil && b.Done && b.Version == "" && r.hasReached(b.Generation) {
		st.Restored = backend.Restored{Generation: b.Generation, Passed: b.Passed}
	}
	st.Worked = s.worked
	st.Nodes, st.Troubles = s.nodes(), s.led.troubles(r.standing().Reading.Limit())
	if s.seen.err == nil && r.Reached != nil {
		st.Protected = s.protected
	}
	lacking := s.lacks()
	comes := s.holds() && st.Generation < st.Wanted
	if trouble := s.view.trouble(); trouble != "" && st.Obstacle.Sentence == "" && comes {
		st.Obstacle = backend.Obstacle{Generation: st.Wanted, Sentence: trouble}
	}
	switch {
	case !r.brings() || st.Obstacle.Sentence != "":
	case s.deprived != nil:
		st.Obstacle = backend.Obstacle{Generation: st.Wanted, Sentence: "The data cannot be restored now: " +
			sentenceFor(s.deprived) + " It is tried again."}
	case s.view.Jobs.failed > 0:
		st.Obstacle = backend.Obstacle{Generation: st.Wanted, Sentence: "The data could not be restored: the server that " +
			"was given it has ended. It is tried again."}
	}
	switch {
	case r.Removing:
		st.Phase, st.Message = backend.Removing, "The service instance is being deleted."
		st.Obstacle = backend.Obstacle{}
	case r.Reached != nil && s.seen.err == nil:
		st.Phase, st.Message = backend.Running, s.described
	case r.Reached == nil && s.obstacle.Sentence != "":
		st.Phase, st.Message = backend.Failing, s.obstacle.Sentence
	case r.Reached == nil && s.view.Primary == "":
		st.Phase, st.Message = backend.Preparing, lacking
	case r.Reached == nil || st.Generation < st.Wanted && s.obstacle.Sentence == "":
		st.Phase, st.Message = backend.Starting, lacking
	case s.mustExist() && s.view.isBare() && s.obstacle.Sentence != "":
		st.Phase, st.Message = backend.Failing, s.obstacle.Sentence
	default:
		st.Phase, st.Message = backend.Failing, s.awaited()
		if s.view.Held != "" && st.Obstacle.Sentence == "" { // nothing is tried again before somebody ends that
			st.Obstacle = backend.Obstacle{Generation: st.Wanted, Sentence: st.Message}
		}
	}
	if st.Message == "" {
		st.Message = "The service instance is coming up."
	}
	return st
}

func (s situation) nodes() (all []backend.NodeStatus) {
	for _, p := range s.view.Nodes {
		n := backend.NodeStatus{Name: p.Name, Role: backend.Standby, Phase: backend.Starting}
		if p.Name == s.view.Primary {
			n.Role = backend.Primary
			if s.seen.err == nil {
				n.Phase = backend.Running
			}
		}
		for _, f := range s.seen.observation.Followers {
			if f.Name == p.Name && f.InStep && n.Role == backend.Standby {
				n.Phase, n.LagSeconds = backend.Running, f.Seconds
				n.Lag = f.Lag / backstay.MB * backstay.MB // it changes with every commit
			}
		}
		if seconds, known := s.led.lags[p.Name]; known && n.Role == backend.Standby {
			n.LagSeconds = seconds
		}
		n.Reads = slices.Contains(s.led.to, p.Name)
		all = append(all, n)
	}
	return all
}

// reached is the record of an instance that is as the Spec wants it.
func (s situation) reached(now time.Time) record {
	r := s.record
	spec := r.Spec
	r.Reached, r.Served = &spec, true
	r.Build, r.Image = s.wish.image.FullVersion, s.wish.image.Name
	r.Restarts.Owed, r.Handed.Owed = false, false
	if b := r.Bring; b != nil && b.Done && b.Generation == spec.Generation {
		r.Restores = max(r.Restores, b.Restores)
	}
	return s.noted(r, now)
}

// noted is the record with another primary, if it is another one than before.
func (s situation) noted(r record, now time.Time) record {
	if s.view.Primary == "" || s.view.Primary == r.Primary {
		return r
	}
	if r.Primary != "" {
		f := backend.Failover{At: now, Why: fmt.Sprintf("The node %s was lost.", r.Primary)}
		if r.Handed.From == r.Primary {
			f.Why, f.Planned = "It was asked for.", true
		}
		began := s.silent
		if f.Planned {
			began = r.Handed.Since
		}
		if !began.IsZero() {
			f.At = began
		}
		f.Took = max(now.Sub(f.At), time.Millisecond) // 0 would say that it goes on
		r.Failover = &f
	}
	r.Primary = s.view.Primary
	return r
}

package instance

import (
	"context"
	"errors"
	"path/filepath"
	"slices"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/keeper/node"
)

// Replica is a node beside an instance of two: it follows the one that serves, whichever of the two that is, is read
// from, and is never chosen to serve. Nobody waits for it, and what it has counts for nothing: it can be made anew at
// any time.
type Replica struct {
	Place   Place  `json:"place"`          // that no other node of the instance ever takes
	Port    int    `json:"port"`           // that it listens at, on this machine alone
	Data    string `json:"data,omitempty"` // the name of its data directory; empty: there is none that is of use
	Term    int64  `json:"term"`           // of the primary that its data was made to follow
	Started int64  `json:"started"`        // the generation that its process was started with, if it runs

	Installation engine.Installation `json:"installation,omitzero"` // what its process runs from; zero: as the primary
	Program      string              `json:"program,omitempty"`     // that it runs, without symbolic links
}

// replicaPlaces are those of replicas: as many as there can be beside the standby, which is one to read from too.
var replicaPlaces = [backend.MaxReplicas - 1]Place{"3", "4"}

// allPlaces are all that an instance may have.
func allPlaces() []Place { return append([]Place{firstPlace, secondPlace}, replicaPlaces[:]...) }

// replica is the record's replica at a place, and where among them it is; -1: there is none.
func (r Record) replica(p Place) (found Replica, i int) {
	if i = slices.IndexFunc(r.Replicas, func(o Replica) bool { return o.Place == p }); i >= 0 {
		found = r.Replicas[i]
	}
	return found, i
}

// wantsReplica tells whether there is to be a replica at a place: the process's generation is of several nodes, and
// that or the wanted one asks for so many. Of those that there are, the first ones are kept; of an instance that goes,
// none, whatever its last backup still takes.
func (r Record) wantsReplica(p Place) bool {
	_, i := r.replica(p)
	now := r.spec(r.Started)
	return i >= 0 && !r.Removing && hasSeveral(now) && i < max(now.FurtherReplicas(), r.Spec.FurtherReplicas())
}

// keepsReplica tells whether the record keeps a replica that the process's generation has no use for, since the wanted
// one has, and was given no other.
func (r Record) keepsReplica(p Place) bool {
	_, i := r.replica(p)
	return i < r.Spec.FurtherReplicas()
}

// leaveReplicas has the data of all replicas be made anew: that in use is another one.
func (r *Record) leaveReplicas() {
	r.Term++
	r.Replicas = slices.Clone(r.Replicas)
	for i := range r.Replicas {
		r.Replicas[i].Data, r.Replicas[i].Started = "", 0
	}
}

// addReplicas gives the record replicas that listen at these ports, each at a place that is free.
func (r *Record) addReplicas(ports []int) {
	for _, p := range replicaPlaces {
		if _, i := r.replica(p); i < 0 && len(ports) > 0 {
			r.Replicas = append(slices.Clone(r.Replicas), Replica{Place: p, Port: ports[0]})
			ports = ports[1:]
		}
	}
}

// replicaNode is a replica as a Spec wants it.
func (m *Machine) replicaNode(r Record, s backend.Spec, rep Replica) (node.Node, error) {
	if rep.Installation.Dir != "" {
		r.Installation, r.Program = rep.Installation, rep.Program
	}
	n, err := m.nodeAt(r, s, rep.Place, rep.Data)
	if err != nil {
		return n, err
	}
	n.Replication = &engine.Replication{Name: rep.Place.name(), Link: r.Link, Spare: true,
		Follows: &engine.Source{Name: r.Place.name(), Address: loopback, Port: r.NodePort}}
	return m.listen(n, s, rep.Port, []string{loopback}), nil
}

// amendReplica changes what the record says of the replica at a place, if it has one.
func (in *Instance) amendReplica(p Place, change func(*Replica)) error {
	return in.amendAlone(func(r *Record) {
		if _, i := r.replica(p); i >= 0 {
			change(&r.Replicas[i])
		}
	})
}

// keepReplicas has a goroutine keep each of the replicas that the record has.
func (in *Instance) keepReplicas(life context.Context) {
	r := in.Record()
	if r.wish().removing {
		return
	}
	for _, f := range in.followers {
		if _, i := r.replica(f.place); i >= 0 {
			f.begin(life)
		}
	}
}

// dismissReplicas returns once nobody keeps the replicas any more. Their processes go on.
func (in *Instance) dismissReplicas() {
	for _, f := range in.followers {
		f.end()
	}
}

// stopReplicas ends what the record says runs of the replicas, whoever has started it. Nobody keeps them.
func (in *Instance) stopReplicas() (err error) {
	r := in.Record()
	for _, rep := range r.Replicas {
		n, nodeErr := in.m.replicaNode(r, r.spec(rep.Started), rep)
		if nodeErr != nil {
			return errors.Join(err, nodeErr)
		}
		_, stopErr := n.Stop()
		err = errors.Join(err, stopErr, n.EndRemnants(), n.Abandon(), in.m.Groups.Remove(string(Home(in.ID, rep.Place))))
	}
	return err
}

// findReplicas finds what there is at the places of the replicas of an instance whose record is lost. It may have
// followed anybody.
func (r *Record) findReplicas(m *Machine) {
	for i := range r.Replicas {
		rep := &r.Replicas[i]
		rep.Term = r.Term - 1
		if found, _ := filepath.Glob(filepath.Join(m.dir(*r, rep.Place), dataName(r.Data))); len(found) > 0 {
			rep.Data = dataName(r.Data)
		}
	}
}

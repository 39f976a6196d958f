package instance

import (
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/keeper/node"
)

// Place is one of those where nodes of an instance lie, each with a volume, a directory and a group of its own. The
// first two are alike: which of them is the primary's changes. Further ones are those of replicas.
type Place string

const (
	firstPlace  Place = "" // of the only node of an instance of one
	secondPlace Place = "2"
)

func (p Place) other() Place {
	if p == firstPlace {
		return secondPlace
	}
	return firstPlace
}

// name is what the node at that place is called by its engine, and in the status.
func (p Place) name() string {
	if p == firstPlace {
		return "1"
	}
	return string(p)
}

// homeMark is between the id of an instance and its second place: no id has it.
const homeMark = "+"

// Home is the name of a place of an instance: of its volume, its directory and its group.
func Home(id backstay.InstanceID, p Place) backstay.InstanceID {
	if p == firstPlace {
		return id
	}
	return id + homeMark + backstay.InstanceID(p)
}

// OfHome is the instance that the place of that name is one of.
func OfHome(name backstay.InstanceID) backstay.InstanceID {
	id, _, _ := strings.Cut(string(name), homeMark)
	return backstay.InstanceID(id)
}

// Homes are the names of all places that the instance may have.
func Homes(id backstay.InstanceID) (homes []backstay.InstanceID) {
	for _, p := range allPlaces() {
		homes = append(homes, Home(id, p))
	}
	return homes
}

// Home is the place of the node that serves.
func (r Record) Home() backstay.InstanceID { return Home(r.Spec.Instance, r.Place) }

// SecondHome is the other place.
func (r Record) SecondHome() backstay.InstanceID { return Home(r.Spec.Instance, r.Place.other()) }

// Second is the other node of an instance of two: it follows the one that serves.
type Second struct {
	Port    int    `json:"port"`           // that it listens at, on this machine alone
	Data    string `json:"data,omitempty"` // the name of its data directory; empty: there is none that is of use
	Fenced  bool   `json:"fenced"`         // the data was a primary's, and has not been made to follow yet
	Started int64  `json:"started"`        // the generation that its process was started with, if it runs
	Whole   bool   `json:"whole"`          // the data was in step once: it holds what there was then, at least

	Installation engine.Installation `json:"installation,omitzero"` // what its process runs from; zero: as the primary
	Program      string              `json:"program,omitempty"`     // that it runs, without symbolic links
}

// Allotment is what an instance of two takes besides.
type Allotment struct {
	NodePort, SecondPort int // of its nodes, behind a front; 0: it has a second
	Link                 backstay.Certificate
	ReplicaPorts         []int // of replicas that it has not
}

// LogValue is the allotment without the link's key.
func (a Allotment) LogValue() slog.Value { return backstay.RedactedValue(a) }

// Allot gives a record that has no second, or too few replicas, what it takes to have them; nil: nothing.
func (r *Record) Allot(a *Allotment) {
	if a == nil {
		return
	}
	if r.Second == nil && a.SecondPort != 0 {
		r.NodePort, r.Second, r.Link = a.NodePort, &Second{Port: a.SecondPort}, a.Link
	}
	r.addReplicas(a.ReplicaPorts)
}

// LacksSecond tells whether the record lacks the second that a Spec takes.
func (r Record) LacksSecond(s backend.Spec) bool { return hasSeveral(s) && r.Second == nil }

// LacksReplicas is how many replicas the record lacks of those that a Spec takes.
func (r Record) LacksReplicas(s backend.Spec) int { return max(0, s.FurtherReplicas()-len(r.Replicas)) }

// Lacks tells whether the record lacks a node that a Spec takes.
func (r Record) Lacks(s backend.Spec) bool { return r.LacksSecond(s) || r.LacksReplicas(s) > 0 }

// loopback is where nodes listen behind a front.
const loopback = "127.0.0.1"

// hasSeveral tells whether a Spec asks for more than one node.
func hasSeveral(s backend.Spec) bool { return s.Nodes > 1 }

// nodeAt is the node of a Spec at a place, with data of that name. It has no port yet.
func (m *Machine) nodeAt(r Record, s backend.Spec, p Place, data string) (node.Node, error) {
	cache, err := m.CacheDir(s.Engine)
	if err != nil {
		return node.Node{}, err
	}
	dir := m.dir(r, p)
	n := node.Node{Engine: m.Engines[s.Engine], Dir: dir, Program: r.Program, Node: engine.Node{
		Instance: s.Instance, Installation: r.Installation, DataDir: filepath.Join(dir, dataName(data)),
		LogFile: m.logFile(r, p), CacheDir: cache, Operator: operator(),
		Size: sizeHere(s.Size), TLS: s.TLS, Settings: s.Settings, Archive: s.Backup != nil,
	}}
	if r.UID != 0 {
		n.Account = &engine.Account{UID: r.UID, GID: r.UID}
	}
	if r.Port != 0 {
		n.Endpoint = backstay.Endpoint{Host: m.Host, Port: r.Port}
	}
	return n, nil
}

// BackgroundGroup is the group of the tools that work for instances while nobody waits for them. No instance is called
// so.
const BackgroundGroup = "background"

// listen has a node listen at a port of these addresses.
func (m *Machine) listen(n node.Node, s backend.Spec, port int, addresses []string) node.Node {
	n.RunDir = m.RunDir(s.Instance, port)
	if port != 0 {
		n.Ports = []engine.Port{{Name: engine.ClientPort, Number: port, Listen: addresses}}
	}
	if n.Engine != nil {
		n.Admin = n.Engine.LocalAdmin(n.Node)
	}
	n.Groups, n.Limits = m.Groups, limitsOf(n, s)
	n.Background = m.Groups.Doors(BackgroundGroup)
	return n
}

// node is the node that serves, as a Spec wants it: with a front before it, if the Spec is of several.
func (m *Machine) node(r Record, s backend.Spec) (node.Node, error) {
	n, err := m.nodeAt(r, s, r.Place, r.Data)
	if err != nil || !hasSeveral(s) || r.Second == nil {
		return m.listen(n, s, r.Port, m.Listen), err
	}
	part := &engine.Replication{Name: r.Place.name(), Link: r.Link}
	if !r.InStep.IsZero() {
		part.Awaits = r.Place.other().name()
	}
	n.Replication = part
	return m.listen(n, s, r.NodePort, []string{loopback}), nil
}

// second is the node that follows the one that serves, as a Spec wants it. The record has one.
func (m *Machine) second(r Record, s backend.Spec) (node.Node, error) {
	p := r.Place.other()
	if i := r.Second.Installation; i.Dir != "" {
		r.Installation, r.Program = i, r.Second.Program
	}
	n, err := m.nodeAt(r, s, p, r.Second.Data)
	if err != nil {
		return n, err
	}
	n.Replication = &engine.Replication{Name: p.name(), Link: r.Link,
		Follows: &engine.Source{Name: r.Place.name(), Address: loopback, Port: r.NodePort}}
	return m.listen(n, s, r.Second.Port, []string{loopback}), nil
}

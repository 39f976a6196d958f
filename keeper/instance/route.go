package instance

import (
	"net/netip"
	"slices"
	"strings"
)

// route is where reads go.
type route struct {
	known      bool  // this keeper has seen who serves reads; otherwise the front goes on as it was told before
	generation int64 // that the front's settings are of
	nodes      string
	to         []netip.AddrPort // of the nodes, whose names are between spaces; empty: nobody serves, and they wait
	shut       []netip.AddrPort // where nobody reads any more: sessions there are ended
	late       string           // the names of those that are shut for their lag
	isPrimarys bool             // the primary serves, since nobody else does
}

func (w route) equals(o route) bool {
	return w.known == o.known && w.generation == o.generation && w.nodes == o.nodes && slices.Equal(w.to, o.to) &&
		slices.Equal(w.shut, o.shut) && w.late == o.late && w.isPrimarys == o.isPrimarys
}

// add has reads go to a node too, or not any more. Nobody new is sent to one that does not know all users yet, and who
// is there stays, unless that may be a user who was dropped.
func (w *route) add(name string, at netip.AddrPort, fit, knows, stay bool) {
	switch {
	case fit && knows:
		w.nodes, w.to = strings.TrimSpace(w.nodes+" "+name), append(w.to, at)
	case !fit || !stay:
		w.shut = append(w.shut, at)
	}
}

// addLate notes that a node is not read from for its lag.
func (w *route) addLate(name string) { w.late = strings.TrimSpace(w.late + " " + name) }

// routeOf is where reads are to go now. A node that follows is read from once it has followed, as long as it answers,
// it knows whose sessions are to be there, and its clients do not read what was true too long ago. Whether it follows
// at this moment does not count: while nobody knows of anything that it lacks, it lacks nothing. New sessions go to
// the one of them that has the fewest.
func (in *Instance) routeOf(r Record) route {
	s, spec := &in.seen.second, r.spec(r.Started)
	way := route{known: true, generation: r.Started}
	primary := in.m.reachable(r.Port)
	if hasSeveral(spec) && r.Second != nil {
		primary = nodeAddress(r.NodePort)
		if s.process != nil {
			if s.isUnseen() {
				return route{generation: r.Started}
			}
			knows, stay := in.strangers.know(s.caught)
			fit, name := spec.Reading.Standby() && s.reads.Known() && !s.reads.IsLate() && in.isHeard(), r.Place.other().name()
			if way.add(name, nodeAddress(r.Second.Port), fit, knows, stay); s.reads.IsLate() {
				way.addLate(name)
			}
		}
		if known := in.routeToReplicas(r, &way); !known {
			return route{generation: r.Started}
		}
	}
	if len(way.to) == 0 && in.seen.serves {
		way.add(r.Place.name(), primary, true, true, true)
		way.isPrimarys = true
	}
	return way
}

// routeToReplicas adds the replicas to where reads go. It reports whether it is known of all what they are like.
func (in *Instance) routeToReplicas(r Record, way *route) (known bool) {
	for _, f := range in.followers {
		rep, i := r.replica(f.place)
		s := f.published()
		if i < 0 || !s.alive {
			continue
		}
		if s.unknown {
			return false
		}
		knows, stay := f.strangers.know(s.caught)
		fit := s.fit && s.term == r.Term
		if way.add(f.place.name(), nodeAddress(rep.Port), fit, knows, stay); s.lagging {
			way.addLate(f.place.name())
		}
	}
	return true
}

// isShut tells whether the reading front was told that nobody reads any more at an address.
func (in *Instance) isShut(at netip.AddrPort) bool {
	told := in.told.Load()
	return told != nil && slices.Contains(told.shut, at)
}

// reachable is how a node is reached that listens at the machine's addresses.
func (m *Machine) reachable(port int) netip.AddrPort {
	for _, address := range m.Listen {
		at, err := netip.ParseAddr(address)
		switch {
		case err != nil:
		case at == netip.IPv6Unspecified():
			return netip.AddrPortFrom(netip.IPv6Loopback(), uint16(port))
		case !at.IsUnspecified():
			return netip.AddrPortFrom(at, uint16(port))
		}
	}
	return nodeAddress(port)
}

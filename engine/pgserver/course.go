package pgserver

import (
	"math"
	"slices"
)

// course is the log that a server replays until the end of a timeline: legs on one timeline each, the oldest first.
//
//	legs on     00000001  [segments ... 4]
//	            00000003                  [5 6 7]
//	            00000004                         [8 ...
//
// A segment in which a timeline begins has a copy of what it goes on from: a server reads that, not the segment of the
// timeline before.
type course []leg

type leg struct {
	line line
	from string   // the number of its first segment, as position.segment has it; empty: the log's beginning
	left Position // where it was left for the next leg
}

// NeverLeft is where a timeline is left that nobody has left.
const NeverLeft = Position(math.MaxUint64)

// courseTo is the course to the end of a timeline that has begun so.
func courseTo(end line, forks []Fork) (c course) {
	from := ""
	for _, f := range forks {
		c = append(c, leg{line{end.server, f.Timeline}, from, f.At})
		from = f.At.segment()
	}
	return append(c, leg{end, from, NeverLeft})
}

func (c course) end() line { return c[len(c)-1].line }

// leads tells whether a server that begins with the backup can go that course: its timeline was not left before the
// backup's end.
func (c course) leads(s backupSet) bool {
	own, ok := lineOf(s)
	return ok && slices.ContainsFunc(c, func(l leg) bool { return l.line == own && l.left >= s.LSN.Stop })
}

// following is the name of the segment that a server reads after the named one.
func (c course) following(name string) string {
	number := following(name)[8:]
	for _, l := range slices.Backward(c) {
		if number >= l.from {
			return l.line.timeline + number
		}
	}
	return "" // never: the first leg has no beginning
}

// of are those segments of an archive that are on the course, in its order, which is that of their names.
func (c course) of(all map[line][]segment) (on []segment) {
	for i, l := range c {
		for _, s := range all[l.line] {
			if number := s.name[8:]; number >= l.from && (i+1 == len(c) || number < c[i+1].from) {
				on = append(on, s)
			}
		}
	}
	return on
}

// hole is a run of segments that are missing or damaged.
type hole struct {
	first  string    // the first of them
	before []segment // that are sound, back to the last hole
	after  []segment // that are sound, up to the next hole; none: it goes on until the archive's end
}

// isBefore tells whether all of the hole comes before the segment.
func (h hole) isBefore(name string) bool {
	return len(h.after) > 0 && name[8:] >= h.after[0].name[8:] && name > h.first
}

// holes returns what is missing or damaged from one segment to another, and behind that.
func (c course) holes(first, last string, all []segment) (found []hole) {
	var run []segment // that are sound and follow each other
	wanted := first
	open := -1 // the hole before the run
	for _, s := range all {
		if s.name < wanted {
			continue
		}
		last = max(last, s.name)
		if !s.sound {
			continue
		}
		if s.name != wanted {
			found, run, open = append(found, hole{first: wanted, before: run}), nil, len(found)
		}
		if run = append(run, s); open >= 0 {
			found[open].after = run
		}
		wanted = c.following(s.name)
	}
	if wanted <= last {
		found = append(found, hole{first: wanted, before: run})
	}
	return found
}

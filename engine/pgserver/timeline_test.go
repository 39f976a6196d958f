package pgserver

import (
	"slices"
	"testing"
	"time"
)

var histories = []struct {
	text string
	want []Fork
}{
	{"1\t0/7000098\tno recovery target specified\n\n2\t1/A0000D8\tafter a failover\n",
		[]Fork{{"00000001", 0x7000098}, {"00000002", 0x1_0A0000D8}}},
	{"10\t0/7000098\n", []Fork{{"0000000A", 0x7000098}}},
	{"", nil}, {"1\n", nil}, {"1\t7000098\n", nil}, {"x\t0/7000098\n", nil},
}

func TestHistory(t *testing.T) {
	t.Parallel()
	for _, c := range histories {
		if got := ReadHistory([]byte(c.text)); !slices.Equal(got, c.want) {
			t.Errorf("%q is read as %v, want %v", c.text, got, c.want)
		}
	}
}

// TestCourse goes from a first timeline over a second one, that was left in its first segment, to a third one.
func TestCourse(t *testing.T) {
	t.Parallel()
	c := courseTo(line{1, "00000004"}, []Fork{{"00000001", 0x5000098}, {"00000002", 0x50000D8}, {"00000003", 0xFF000000}})
	for _, tc := range []struct {
		timeline string
		server   int
		stop     Position
		want     bool
	}{
		{"00000001", 1, 0x5000098, true}, {"00000001", 1, 0x5000099, false}, {"00000001", 2, 0x5000098, false},
		{"00000002", 1, 0x50000D8, true}, {"00000002", 1, 0x50000D9, false}, {"00000004", 1, 0x1_00000000, true},
		{"00000005", 1, 1, false},
	} {
		var s backupSet
		s.Archive.Start, s.Database.ID, s.LSN.Stop = tc.timeline+tc.stop.segment(), tc.server, tc.stop
		if c.leads(s) != tc.want {
			t.Errorf("from a backup until %x of timeline %s: %t, want %t", tc.stop, tc.timeline, !tc.want, tc.want)
		}
	}
	for name, want := range map[string]string{
		"000000010000000000000003": "000000010000000000000004", "000000010000000000000004": "000000030000000000000005",
		"00000003000000000000000A": "00000003000000000000000B", "0000000300000000000000FE": "0000000400000000000000FF",
		"0000000400000000000000FF": "000000040000000100000000",
	} {
		if got := c.following(name); got != want {
			t.Errorf("behind %s comes %s, want %s", name, got, want)
		}
	}
}

// TestHolesInACourse: each segment that a restore needs is missed, whichever timeline it is of, and no other one.
func TestHolesInACourse(t *testing.T) {
	t.Parallel()
	c := courseTo(line{1, "00000002"}, []Fork{{"00000001", 0x5000098}})
	all := map[line][]segment{}
	add := func(timeline string, first, last Position) {
		l := line{1, timeline}
		for n := first; n <= last; n++ {
			all[l] = append(all[l], segment{name: timeline + (n * Position(SegmentSize)).segment(), sound: true})
		}
	}
	add("00000001", 1, 6)
	add("00000002", 5, 7)
	needed := []string{"000000010000000000000003", "000000010000000000000004", "000000020000000000000005",
		"000000020000000000000006", "000000020000000000000007"}
	find := func() []hole { return c.holes(needed[0], needed[len(needed)-1], c.of(all)) }
	if found := find(); len(found) != 0 {
		t.Errorf("where all is there, %+v is missing", found)
	}
	for _, of := range all {
		for i := range of {
			of[i].sound = false
			found, isNeeded := find(), slices.Contains(needed, of[i].name)
			if isNeeded != (len(found) == 1) || isNeeded && found[0].first != of[i].name {
				t.Errorf("without %s, %+v is missing", of[i].name, found)
			}
			of[i].sound = true
		}
	}
}

// TestLineAt: the instance was on a line until that one's end, and then on the next one.
func TestLineAt(t *testing.T) {
	t.Parallel()
	at := func(second int) time.Time { return time.Date(2026, 11, 28, 12, 0, second, 0, time.UTC) }
	h := head{"1-00000001": {Until: at(10)}, "1-00000002": {Until: at(20)}, "1-00000003": {Until: at(30)},
		"2-00000001": {Until: at(40)}, "2-00000002": {Until: at(50)}}
	for _, c := range []struct {
		from string
		then time.Time
		want string
	}{
		{"00000001", at(9), "00000001"}, {"00000001", at(10), "00000001"}, {"00000001", at(11), "00000002"},
		{"00000001", at(20), "00000002"}, {"00000001", at(21), "00000003"}, {"00000001", at(31), "00000003"},
		{"00000001", time.Time{}, "00000003"}, {"00000002", at(9), "00000002"}, {"00000004", at(9), "00000004"},
	} {
		if got := h.lineAt(line{1, c.from}, c.then); got != (line{1, c.want}) {
			t.Errorf("from %s on, at %v: %v, want %s", c.from, c.then, got, c.want)
		}
	}
}

package enginetest

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/datadir"
	"github.com/backstay/backstay/internal/testkit"
)

// testRejoinKilled kills the rejoining at several moments. All the while the node is fenced, and it rejoins in the end.
func testRejoinKilled(t *testing.T, s Subject) {
	p := s.pair(t)
	p.Protect(t)
	for range 3 {
		_, c := p.user(t)
		l := s.startLoad(t, c[p.leads], 2)
		l.awaitMore(t, 50)
		p.KillPrimary(t)
		p.FailOver(t)
		from := p.Primary()
		for range 2 {
			s.killDoing(t, order{Act: "rejoin", From: &from, Node: p.Standby()}, rand.N(time.Second))
		}
		p.Rejoin(t)
		p.Protect(t)
		if !s.Asynchronous {
			l.want(t, s, c[p.leads])
		}
	}
	t.Logf("%d of 3 rejoined by a copy", p.recopied)
}

// testRejoinKilledAtSteps kills the rejoining behind each of its steps, the last one too: who does it again finds a
// node that has rejoined, and needs no copy. It rejoins in the end.
func testRejoinKilledAtSteps(t *testing.T, s Subject) {
	testkit.InSomeRuns(t)
	p := s.pair(t)
	p.Protect(t)
	lastCopied := false
	again := func(dieAfter string) (steps []string) {
		_, c := p.user(t)
		l := s.startLoad(t, c[p.leads], 2)
		l.awaitMore(t, 50)
		p.KillPrimary(t)
		p.FailOver(t)
		from := p.Primary()
		steps = s.steps(t, order{Act: "rejoin", DieAfter: dieAfter, From: &from, Node: p.Standby()})
		if fenced, err := p.IsFenced(p.Standby()); dieAfter == "" && (err != nil || !fenced) {
			t.Errorf("the node that has rejoined is fenced: %t, %v", fenced, err)
		}
		if err := datadir.Abandon(p.Standby().DataDir); err != nil { // as a keeper does that begins again
			t.Fatal(err)
		}
		copies := p.recopied
		p.Rejoin(t)
		p.Protect(t)
		if !s.Asynchronous {
			l.want(t, s, c[p.leads])
		}
		lastCopied = p.recopied > copies
		return steps
	}
	for _, name := range again("") {
		again(name)
	}
	if t.Logf("%d of them were made of a copy", p.recopied); lastCopied {
		t.Error("a node that has rejoined is copied")
	}
}

package instance

import (
	"strings"
	"testing"
	"time"
)

// TestFallIsToldForATime: why a process ended that had served is told once it serves again, without paths of this
// machine, and until that is long ago. Of one that had not served, and of one whose engine says nothing, nothing is.
func TestFallIsToldForATime(t *testing.T) {
	t.Parallel()
	in := newIdle(t)
	told := func() string {
		status, _ := in.Look()
		for _, trouble := range status.Troubles {
			if trouble.Kind == fallTrouble {
				return trouble.Sentence
			}
		}
		return ""
	}
	in.noteFall("it never served")
	in.seen.serves = true
	in.noteFall("")
	if in.tellFall(); told() != "" {
		t.Errorf("it tells %q", told())
	}
	in.noteFall("it cannot read /srv/data/things")
	if in.tellFall(); !strings.Contains(told(), " UTC the server ended: it cannot read things. It was started again,") {
		t.Errorf("it tells %q", told())
	}
	in.forgetFall(in.m.Now().Add(tollTold - time.Minute))
	if told() == "" {
		t.Error("it tells nothing any more after a moment")
	}
	in.noteFall("it was full") // and has not come up since
	if in.forgetFall(in.m.Now().Add(tollTold + time.Minute)); told() == "" {
		t.Error("what is still to be told is forgotten")
	}
	in.tellFall()
	if in.forgetFall(in.m.Now().Add(tollTold + time.Minute)); told() != "" {
		t.Errorf("long after, it tells %q", told())
	}
}

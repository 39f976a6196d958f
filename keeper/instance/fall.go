package instance

import (
	"fmt"
	"time"
)

// fall is the last time that a process ended by itself which had served, and whose engine says why. The zero fall is
// none.
type fall struct {
	at  time.Time
	why string
}

// noteFall remembers why a process that has served ended. A standby that takes over tells of it in its own way.
func (in *Instance) noteFall(why string) {
	if in.seen.serves && why != "" {
		in.seen.fell = fall{in.m.Now(), WithoutPaths(why)}
	}
}

// fallTrouble is the kind of trouble by which users learn why they were cut off.
const fallTrouble = "ended"

// tellFall tells users of the fall behind which the instance serves again, once.
func (in *Instance) tellFall() {
	f := &in.seen.fell
	if f.why == "" {
		return
	}
	in.complain(fallTrouble, fmt.Sprintf("At %s UTC the server ended: %s. It was started again, and serves since %s UTC.",
		f.at.UTC().Format(time.TimeOnly), f.why, in.m.Now().UTC().Format(time.TimeOnly)))
	f.why = ""
}

// forgetFall ends what is told of a fall that was long ago.
func (in *Instance) forgetFall(now time.Time) {
	if f := &in.seen.fell; f.why == "" && !f.at.IsZero() && now.Sub(f.at) >= tollTold {
		*f = fall{}
		in.complain(fallTrouble, "")
	}
}

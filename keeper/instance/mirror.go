package instance

import (
	"context"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/keeper/node"
)

// mirrorPatience is how long the second may take to be told of a user, while somebody waits for that.
const mirrorPatience = time.Second

// mirror tells the second of a user that was made or dropped in the primary, where users do not come to it by what it
// is sent. A second that cannot be told is in step no more until it is: nobody waits for it. The error is Unavailable
// where what was the primary may not be that any more.
func (in *Instance) mirror(ctx context.Context, primary node.Node) error {
	m, ok := primary.Engine.(engine.Mirrorer)
	r := in.Record()
	if !ok || r.Second == nil {
		return nil
	}
	if r.Second.Started != 0 {
		second, err := in.m.second(r, r.spec(r.Second.Started))
		if err != nil {
			return err
		}
		limited, cancel := context.WithTimeout(ctx, mirrorPatience)
		defer cancel()
		if err = m.Mirror(limited, primary.Node, second.Node); err == nil {
			return nil
		}
		in.log.Info("a standby was not told of a user", "error", err)
	}
	return in.noteUnmirrored(primary)
}

// noteUnmirrored notes that the second lacks a user of the primary, or has one too many: what was seen of it before
// does not count.
func (in *Instance) noteUnmirrored(primary node.Node) error {
	in.write.Lock()
	defer in.write.Unlock()
	r := in.Record()
	if primary.Dir != in.m.Dir(r.Home()) {
		return backstay.Errorf(backstay.Unavailable, "The standby has taken over in the meantime.")
	}
	in.unmirrored.Add(1)
	if r.InStep.IsZero() {
		return nil
	}
	return in.amend(func(r *Record) { r.InStep = time.Time{} })
}

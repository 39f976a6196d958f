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

// mirror returns once the second knows a user that was made in the primary, or has no session any more of one that was
// dropped. One that does not come to that in time is not read from until it does; and where users do not come to it by
// what it is sent, it is in step no more until then: nobody waits for it. The error is Unavailable where what was the
// primary may not be that any more.
func (in *Instance) mirror(ctx context.Context, primary node.Node, dropped bool) error {
	e, ok := primary.Engine.(engine.Reader)
	_, own := primary.Engine.(engine.Mirrorer)
	r := in.Record()
	if !ok || r.Second == nil || !own && !dropped && r.ReadPort == 0 {
		return nil
	}
	if r.Second.Started != 0 {
		second, err := in.m.second(r, r.spec(r.Second.Started))
		if err != nil {
			return err
		}
		limited, cancel := context.WithTimeout(ctx, mirrorPatience)
		defer cancel()
		if err = e.CatchUp(limited, primary.Node, second.Node); err == nil {
			return nil
		}
		in.log.Info("a standby was not told of a user", "error", err)
	}
	if own {
		if err := in.noteUnmirrored(primary); err != nil {
			return err
		}
	}
	return in.shutReaders(ctx, primary)
}

var errTakenOver error = backstay.Errorf(backstay.Unavailable, "The standby has taken over in the meantime.")

// noteUnmirrored notes that the second lacks a user of the primary, or has one too many: what was seen of it before
// does not count.
func (in *Instance) noteUnmirrored(primary node.Node) error {
	in.write.Lock()
	defer in.write.Unlock()
	r := in.Record()
	if primary.Dir != in.m.dir(r, r.Place) {
		return errTakenOver
	}
	in.unmirrored.Add(1)
	if r.InStep.IsZero() {
		return nil
	}
	return in.amend(func(r *Record) { r.InStep = time.Time{} })
}

// catchUpPatience is how long it may take, while nobody waits for that, until no user has a session on the second that
// the primary does not have.
const catchUpPatience = 200 * time.Millisecond

// catchUp sees to it that no user has a session on the second who was dropped by now.
func (in *Instance) catchUp(ctx context.Context, e engine.Replicator, strangers int64) {
	s := &in.seen.second
	reader, ok := e.(engine.Reader)
	if !ok || !s.follows || s.caught == strangers {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, catchUpPatience)
	defer cancel()
	if err := reader.CatchUp(ctx, in.seen.node.Node, s.node.Node); err == nil {
		s.caught = strangers
	}
}

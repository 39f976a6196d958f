package instance

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/keeper/node"
)

// mirrorPatience is how long the second may take to be told of a user, while somebody waits for that.
const mirrorPatience = time.Second

// mirror returns once the nodes that follow know a user that was made in the primary, or have no session any more of
// one that was dropped. One that does not come to that in time gets no new sessions until it does, and where a user was
// dropped, those that it has are ended. Where users do not come to the second by what it is sent, that is in step no
// more until then: nobody waits for it. The error is Unavailable where what was the primary may not be that any more.
func (in *Instance) mirror(ctx context.Context, primary node.Node, dropped bool) error {
	e, ok := primary.Engine.(engine.Reader)
	_, own := primary.Engine.(engine.Mirrorer)
	r := in.Record()
	if !ok || r.Second == nil || !own && !dropped && r.ReadPort == 0 {
		return nil
	}
	behind, err := in.catchUpAll(ctx, e, r, primary)
	if err != nil || len(behind) == 0 {
		return err
	}
	var ports []int
	for _, n := range behind {
		ports = append(ports, n.port)
		n.strangers.add(dropped)
		if n.port != r.Second.Port || !own {
			continue
		}
		if err := in.noteUnmirrored(primary); err != nil {
			return err
		}
	}
	return in.shutReaders(ctx, primary, ports, dropped)
}

// told is a node that is told of the primary's users.
type told struct {
	port      int
	strangers *strangers
}

// catchUpAll has all nodes that follow know the primary's users, and returns those that do not in time. A replica that
// does not run, or follows another primary, comes to them before it is read from.
func (in *Instance) catchUpAll(ctx context.Context, e engine.Reader, r Record, primary node.Node) ([]told, error) {
	var mu sync.Mutex
	var behind []told
	var asked sync.WaitGroup
	limited, cancel := context.WithTimeout(ctx, mirrorPatience)
	defer cancel()
	ask := func(t told, n node.Node) {
		asked.Go(func() {
			if err := e.CatchUp(limited, primary.Node, n.Node); err != nil {
				in.log.Info("a node that follows was not told of a user", "node", n.Replication.Name, "error", err)
				mu.Lock()
				defer mu.Unlock()
				behind = append(behind, t)
			}
		})
	}
	defer asked.Wait()
	second := told{r.Second.Port, &in.strangers}
	if r.Second.Started == 0 {
		behind = append(behind, second)
	} else {
		n, err := in.m.second(r, r.spec(r.Second.Started))
		if err != nil {
			return nil, err
		}
		ask(second, n)
	}
	for _, f := range in.followers {
		rep, i := r.replica(f.place)
		if i < 0 || rep.Started == 0 {
			continue
		}
		n, err := in.m.replicaNode(r, r.spec(rep.Started), rep)
		if err != nil {
			return nil, err
		}
		ask(told{rep.Port, &f.strangers}, n)
	}
	asked.Wait()
	return behind, nil
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

// catchUpPatience is how long it may take, while nobody waits for that, until no user has a session on a node that
// the primary does not have. Then it is tried anew.
const catchUpPatience = 10 * time.Second

// accompany starts what those who read from a node that follows come in by, where that does not run. Its end is noticed
// when the node is looked at next.
func (s *secondSight) accompany(log *slog.Logger) {
	if err := s.node.StartCompanions(log); err != nil {
		log.Warn("a companion of a node that follows does not start", "error", err)
	}
}

// mirror has a node know the primary's users, where they do not come to it by what it is sent. It reports whether it
// does by now: where it fails, the users differ, or the node does not follow, which is seen next.
func (s *secondSight) mirror(ctx context.Context, e engine.Replicator, primary node.Node) bool {
	m, ok := e.(engine.Mirrorer)
	return ok && m.Mirror(ctx, primary.Node, s.node.Node) == nil
}

// catchUp begins to see to it that no user has a session on a node that follows who was dropped by now: endCatchUp sees
// how that ends. It takes for as long as readers hold up what the node is sent, and on a busy machine the mere logins
// take longer than all else can wait. Where a node is mirrored, that does it, and nothing is begun aside: users that
// come late may come to a primary.
func (s *secondSight) catchUp(
	life context.Context, reader engine.Reader, primary node.Node, strangers int64, mirrored bool,
) {
	if !s.follows || s.caught == strangers || s.catching != nil {
		return
	}
	if _, own := reader.(engine.Mirrorer); own {
		if mirrored {
			s.caught = strangers
		}
		return
	}
	ctx, cancel := context.WithTimeout(life, catchUpPatience)
	under, follower := &restoring{cancel: cancel, done: make(chan struct{})}, s.node.Node
	s.catching, s.catchingTo = under, strangers
	go func() {
		defer close(under.done)
		defer cancel()
		under.err = reader.CatchUp(ctx, primary.Node, follower)
	}()
}

// endCatchUp notes how what catchUp has begun has ended, if it has.
func (s *secondSight) endCatchUp(log *slog.Logger) {
	under := s.catching
	if under == nil || under.isUnderWay() {
		return
	}
	if s.catching = nil; under.err != nil {
		log.Info("a node may have sessions of users who were dropped, and is not read from", "error", under.err)
		return
	}
	s.caught = s.catchingTo
}

// isUnseen tells whether it is not known yet if a node may be read from: nobody has asked, or an earlier keeper has
// left it, and whose sessions it has is still found out.
func (s *secondSight) isUnseen() bool {
	return s.asked.IsZero() || s.node.Found && s.caught == 0 && s.catching != nil && !s.reads.IsLate()
}

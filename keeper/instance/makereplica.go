package instance

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/keeper/node"
	"github.com/backstay/backstay/volume"
)

// make makes data that follows the primary's, of what there is where that can rejoin it.
func (f *follower) make(ctx context.Context, rejoins bool) error {
	ctx, cancel := f.whileWanted(ctx)
	defer cancel()
	primary, r, err := f.primary()
	if err != nil {
		return err
	}
	worn := f.seen.failures >= wornAfter
	if err := step.Run(ctx, f.makingSteps(primary, r, rejoins, worn)...); err != nil {
		return err
	}
	f.seen.failures = 0
	return nil
}

// whileWanted returns a context that ends when nobody wants the replica any more: a copy may take long.
func (f *follower) whileWanted(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		for {
			f.in.mu.Lock()
			wished := f.in.wished
			_, i := f.in.record.replica(f.place)
			wanted := i >= 0 && f.in.record.wantsReplica(f.place) && !f.in.record.wish().removing
			f.in.mu.Unlock()
			if !wanted {
				cancel()
				return
			}
			select {
			case <-wished:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, cancel
}

var errAnotherPrimary error = backstay.Errorf(backstay.Unavailable, "There is another primary by now.")

// makingSteps end with data that follows that of the primary in the record r. Until the record says so, nobody takes it
// for that.
func (f *follower) makingSteps(primary node.Node, r Record, rejoins, worn bool) []step.Step {
	var n node.Node
	return []step.Step{
		{Name: "keeper.replica-cleared", Do: func(ctx context.Context) (err error) {
			n, err = f.clear(ctx, r, rejoins, worn)
			return err
		}},
		{Name: "keeper.replica-made", Do: func(ctx context.Context) error {
			e, err := f.in.replicator()
			if err != nil {
				return err
			}
			if rejoins {
				if err = e.Rejoin(ctx, primary.Node, n.Node); !errors.Is(err, engine.ErrCopy) {
					return err
				}
				f.log.Info("a replica follows another primary with a copy only", "why", err)
			}
			return f.copy(ctx, e, primary, n)
		}},
		{Name: "keeper.replica-recorded", Do: func(ctx context.Context) error {
			f.in.write.Lock()
			defer f.in.write.Unlock()
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return f.in.amend(func(now *Record) { // whose primary may be another one by now: then it rejoins that
				if rep, i := now.replica(f.place); i >= 0 {
					now.Replicas[i] = Replica{Place: rep.Place, Port: rep.Port, Data: filepath.Base(n.DataDir), Term: r.Term}
				}
			})
		}},
	}
}

// clear makes the replica's place as it is to be before its data is made: with its volume, and with nothing of before
// but the data that rejoins.
func (f *follower) clear(ctx context.Context, r Record, rejoins, worn bool) (n node.Node, err error) {
	if err := f.makePlace(ctx, worn); err != nil {
		return n, err
	}
	if n, err = f.node(); err != nil {
		return n, err
	}
	err = errors.Join(node.MakeDir(n.Dir, node.ThroughMode()), n.MakeDirs())
	if err == nil {
		_, err = n.Stop() // whoever has started it
	}
	if err = errors.Join(err, n.EndRemnants(), n.Abandon()); err != nil {
		return n, err
	}
	data := dataName(r.Data)
	found, err := filepath.Glob(filepath.Join(n.Dir, firstData+"*"))
	for _, path := range found {
		if !rejoins || !isOf(filepath.Base(path), data) {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}
	if err = errors.Join(err, atomicfile.SyncDir(n.Dir)); err != nil {
		return n, err
	}
	made, _ := r.replica(f.place)
	made.Data, made.Installation = data, engine.Installation{} // the primary's programs make it
	return f.in.m.replicaNode(r, r.spec(r.Started), made)
}

// makePlace makes the volume of the replica. One that cannot be mounted again and again has nothing on it that anybody
// needs.
func (f *follower) makePlace(ctx context.Context, worn bool) error {
	r, home := f.in.Record(), Home(f.in.ID, f.place)
	pool, wanted := f.in.m.pool(r, f.place), volume.Wanted{Size: r.volumeSize(), Key: r.Spec.Volume.Key}
	_, err := pool.Ensure(ctx, home, wanted)
	if err != nil && ctx.Err() == nil && worn {
		f.log.Warn("the volume of a replica cannot be mounted, and is made anew", "error", err)
		if err = f.in.clearPlace(ctx, f.place); err == nil {
			_, err = pool.Ensure(ctx, home, wanted)
		}
	}
	if err != nil {
		return volumeTrouble(err)
	}
	return nil
}

// copy copies the primary's data.
func (f *follower) copy(ctx context.Context, e engine.Replicator, primary, n node.Node) error {
	end, err := f.in.beginCopy(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := f.in.amendReplica(f.place, func(rep *Replica) { rep.Data = "" }); err != nil { // it is no data any more
		return err
	}
	if err := os.RemoveAll(n.DataDir); err != nil {
		return err
	}
	began := f.in.m.Now()
	err = e.Copy(ctx, primary.Node, n.Node, func(string) {})
	f.log.Info("a replica was copied", "took", f.in.m.Now().Sub(began), "error", err)
	return err
}

// follow starts the replica's process.
func (f *follower) follow(ctx context.Context) error {
	return step.Run(ctx, f.followSteps()...)
}

// followSteps end with a process of the replica, of the generation that the primary's was started with.
func (f *follower) followSteps() []step.Step {
	var n node.Node
	var r Record
	return []step.Step{
		{Name: "keeper.replica-prepared", Do: func(ctx context.Context) (err error) {
			r = f.in.Record()
			if n, err = f.nextNode(r); err != nil {
				return err
			}
			if err := f.mount(ctx, r, n); err != nil {
				return err
			}
			if err := f.fence(n); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(ctx, preparePatience)
			defer cancel()
			n.Program, err = n.Prepare(ctx)
			return err
		}},
		{Name: "keeper.replica-started", Do: func(context.Context) error {
			if f.in.Record().Term != r.Term {
				return errAnotherPrimary
			}
			err := f.in.amendReplica(f.place, func(rep *Replica) {
				rep.Started, rep.Installation, rep.Program = r.Started, n.Installation, n.Program
			})
			if err != nil {
				return err
			}
			p, err := n.Start(f.log)
			if err == nil {
				f.take(n, p)
			}
			return err
		}},
	}
}

// fence ends what may run of the replica, and sees to it that no server takes writes with its data, whoever starts one.
// What an earlier server has left there that has ended keeps nobody from that.
func (f *follower) fence(n node.Node) error {
	e, err := f.in.replicator()
	if err != nil {
		return err
	}
	if _, err := n.Stop(); err != nil { // it has ended, as far as is known: its file is left, and says that it runs
		return err
	}
	if err := n.EndRemnants(); err != nil {
		return err
	}
	return e.Fence(n.Node)
}

// nextNode is the replica as it is started next: from what the primary runs from.
func (f *follower) nextNode(r Record) (node.Node, error) {
	rep, i := r.replica(f.place)
	if i < 0 {
		return node.Node{}, errors.New("the instance has no such replica")
	}
	rep.Installation = r.Installation
	if rep.Program == "" {
		rep.Program = r.Program
	}
	return f.in.m.replicaNode(r, r.spec(r.Started), rep)
}

// mount has the volume of the replica be there, as large as it is to be, with its data.
func (f *follower) mount(ctx context.Context, r Record, n node.Node) error {
	wanted := volume.Wanted{Size: r.volumeSize(), Key: r.Spec.Volume.Key}
	_, err := f.in.m.pool(r, f.place).Mount(ctx, Home(f.in.ID, f.place), wanted)
	if err == nil {
		_, err = os.Lstat(n.DataDir)
	}
	if err != nil {
		return backstay.Wrapf(err, backstay.Unavailable, "Its data is missing, or cannot be read.")
	}
	return nil
}

// leave ends the replica's process. What has not followed for long is made anew.
func (f *follower) leave(ctx context.Context) error { return step.Run(ctx, f.leaveSteps()...) }

func (f *follower) leaveSteps() []step.Step {
	return []step.Step{{Name: "keeper.replica-left", Do: func(context.Context) error {
		anew := f.view().awayFor(f.in.m.Now()) >= anewPatience
		if err := f.seen.endProcess(); err != nil {
			return err
		}
		f.lose()
		return f.in.amendReplica(f.place, func(rep *Replica) {
			if rep.Started = 0; anew {
				rep.Data = ""
			}
		})
	}}}
}

// disband removes all of the replica.
func (f *follower) disband(ctx context.Context) error { return step.Run(ctx, f.disbandSteps()...) }

func (f *follower) disbandSteps() []step.Step {
	return []step.Step{{Name: "keeper.replica-disbanded", Do: func(ctx context.Context) error {
		n, err := f.node()
		if err != nil {
			return err
		}
		if _, err := n.Stop(); err != nil {
			return err
		}
		if err := errors.Join(n.EndRemnants(), f.forget(ctx)); err != nil {
			return err
		}
		err = errors.Join(os.RemoveAll(n.RunDir), f.in.clearPlace(ctx, f.place),
			f.in.m.Groups.Remove(string(Home(f.in.ID, f.place))))
		if err != nil {
			return err
		}
		return f.in.amendAlone(func(r *Record) {
			rep, i := r.replica(f.place)
			switch {
			case i < 0:
			case r.wantsReplica(f.place) || r.keepsReplica(f.place): // by now
				r.Replicas[i] = Replica{Place: rep.Place, Port: rep.Port}
			default:
				r.Replicas = append(r.Replicas[:i:i], r.Replicas[i+1:]...)
			}
		})
	}}}
}

// forget has the primary keep nothing any more for the replica, which has ended.
func (f *follower) forget(ctx context.Context) error {
	e, ok := f.in.m.Engines[f.in.Record().Spec.Engine].(engine.Forgetter)
	if !ok {
		return nil
	}
	primary, _, err := f.primary()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, seePatience)
	defer cancel()
	return e.Forget(ctx, primary.Node, f.place.name())
}

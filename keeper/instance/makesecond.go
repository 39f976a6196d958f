package instance

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/keeper/node"
)

// makeSecond begins to make data for the second that follows the primary's. endMaking sees how that ends.
func (in *Instance) makeSecond(life context.Context) {
	ctx, cancel := context.WithCancel(life)
	under := &restoring{cancel: cancel, done: make(chan struct{})}
	in.seen.second.making = under
	primary, worn := in.seen.node, in.seen.second.failures >= wornAfter && !in.seen.second.absent
	go func() {
		defer close(under.done)
		defer cancel()
		under.err = step.Run(ctx, in.makingSteps(primary, worn)...)
	}()
}

// endMaking forgets the making of the second's data that has ended, and tells of its failure.
func (in *Instance) endMaking() {
	under := in.seen.second.making
	if under == nil || under.isUnderWay() {
		return
	}
	in.seen.second.making = nil
	switch {
	case under.err == nil:
		in.seen.second.failures = 0
	case !errors.Is(under.err, context.Canceled):
		in.failSecond(toCopy, under.err)
	}
}

// makingSteps end with data of the second that follows the primary's. Until the record says so, nobody takes it for
// that. What is worn has failed again and again.
func (in *Instance) makingSteps(primary node.Node, worn bool) []step.Step {
	var second node.Node
	return []step.Step{
		{Name: "keeper.second-cleared", Do: func(ctx context.Context) (err error) {
			second, err = in.clearSecond(ctx, filepath.Base(primary.DataDir), worn)
			return err
		}},
		{Name: "keeper.second-made", Do: func(ctx context.Context) error {
			e, err := in.replicator()
			if err != nil {
				return err
			}
			if in.Record().Second.Fenced {
				err = e.Rejoin(ctx, primary.Node, second.Node)
				if err == nil || ctx.Err() != nil {
					return err
				}
				in.log.Info("what was the primary follows with a copy only", "why", err)
			}
			return in.copySecond(ctx, e, primary, second)
		}},
		{Name: "keeper.second-recorded", Do: func(ctx context.Context) error {
			in.write.Lock()
			defer in.write.Unlock()
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return in.amend(func(r *Record) {
				r.Second = &Second{Port: r.Second.Port, Data: filepath.Base(second.DataDir)}
			})
		}},
	}
}

// clearSecond makes the second's place as it is to be before its data of that name is made: with its volume, and with
// nothing of before, but what was the primary's or is kept. What the former had logged when it ended is archived.
func (in *Instance) clearSecond(ctx context.Context, data string, worn bool) (n node.Node, err error) {
	if err := in.wantSecondDisk(); err != nil {
		return n, err
	}
	if err := in.makeSecondPlace(ctx, worn); err != nil {
		return n, err
	}
	r := in.Record()
	if !r.Second.Fenced {
		before := *r.Second
		before.Data, before.Started = data, 0
		r.Second = &before
	}
	if n, err = in.m.second(r, r.spec(r.Started)); err != nil {
		return n, err
	}
	err = errors.Join(node.MakeDir(n.Dir, node.ThroughMode()), n.MakeDirs())
	if err == nil {
		_, err = n.Stop() // whoever has started it
	}
	if err = errors.Join(err, n.EndRemnants(), n.Abandon()); err != nil {
		return n, err
	}
	if r.Second.Fenced { // unless its disk did not work when it ended, it is by now
		e, err := in.replicator()
		if err == nil {
			err = e.Fence(n.Node)
		}
		if err != nil {
			return n, err
		}
	}
	if r.Second.Fenced && in.m.Vault != nil {
		if err := in.m.Vault.Ended(ctx, in.ID, n, time.Time{}); err != nil {
			in.log.Warn("what a primary had logged at its end is not in the archive", "error", err)
		}
	}
	if err := in.sweepSecond(r, n, data); err != nil {
		return n, err
	}
	made := *r.Second
	made.Installation = engine.Installation{}
	r.Second = &made
	return in.m.second(r, r.spec(r.Started)) // the primary's programs make it
}

// sweepSecond removes data that nobody needs from the second's place.
func (in *Instance) sweepSecond(r Record, n node.Node, data string) error {
	found, err := filepath.Glob(filepath.Join(n.Dir, firstData+"*"))
	for _, path := range found {
		name := filepath.Base(path)
		kept := r.keepsElsewhere() && name == r.Kept.Data
		if kept || r.Second.Fenced && isOf(name, data) {
			continue
		}
		err = errors.Join(err, os.RemoveAll(path))
	}
	return errors.Join(err, atomicfile.SyncDir(n.Dir))
}

// isOf tells whether there is data of that name under a name, or in the middle of being made to follow another primary.
func isOf(name, data string) bool { return strings.TrimSuffix(name, partSuffix) == data }

// beginCopy returns when nobody else copies the primary, and few do others, until end is called.
func (in *Instance) beginCopy(ctx context.Context) (end func(), err error) {
	if err := in.copying.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	if err := in.m.Copies.Acquire(ctx, 1); err != nil {
		in.copying.Release(1)
		return nil, err
	}
	return func() {
		in.m.Copies.Release(1)
		in.copying.Release(1)
	}, nil
}

// copySecond copies the primary's data.
func (in *Instance) copySecond(ctx context.Context, e engine.Replicator, primary, second node.Node) error {
	end, err := in.beginCopy(ctx)
	if err != nil {
		return err
	}
	defer end()
	if in.Record().Second.Fenced {
		if err := in.amendSecond(func(s *Second) { s.Fenced = false }); err != nil { // it is no data any more
			return err
		}
	}
	if err := os.RemoveAll(second.DataDir); err != nil {
		return err
	}
	began := in.m.Now()
	err = e.Copy(ctx, primary.Node, second.Node, func(what string) {
		in.tellExposed("its standby is being made: " + what)
	})
	in.log.Info("a standby was copied", "took", in.m.Now().Sub(began), "error", err)
	return err
}

// disbandSteps remove all of the second, but data that is kept in its place.
func (in *Instance) disbandSteps() []step.Step {
	return []step.Step{{Name: "keeper.second-disbanded", Do: func(ctx context.Context) error {
		r := in.Record()
		n, err := in.secondNode(r.Started)
		if err == nil {
			_, err = n.Stop()
		}
		for _, port := range []int{r.Second.Port, r.NodePort} { // what serves has another one by now
			err = errors.Join(err, os.RemoveAll(in.m.RunDir(in.ID, port)))
		}
		if err := errors.Join(err, n.EndRemnants()); err != nil {
			return err
		}
		if r.keepsElsewhere() {
			err = in.sweepSecond(r, n, "")
		} else {
			err = errors.Join(in.clearPlace(ctx, r.Place.other()), in.m.Groups.Remove(string(r.SecondHome())))
		}
		if err != nil {
			return err
		}
		in.complain(secondTrouble, "")
		return in.amendAlone(func(r *Record) {
			if r.leaveSecond(); !r.keepsSecond() {
				r.Second, r.NodePort, r.Failover = nil, 0, nil
			}
			if r.Place == firstPlace && !r.keepsElsewhere() {
				r.Apart = nil
			}
		})
	}}}
}

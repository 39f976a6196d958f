package instance

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/clone"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/keeper/node"
)

// restoring is data that is being restored in a goroutine of its own, so that the data in use is served and watched
// meanwhile. A nil one stands for none.
type restoring struct {
	generation int64
	cancel     context.CancelFunc
	done       chan struct{}
	err        error // once done is closed
}

// ended is closed when it has ended, and blocks for ever where there is none.
func (r *restoring) ended() <-chan struct{} {
	if r == nil {
		return nil
	}
	return r.done
}

func (r *restoring) isUnderWay() bool {
	if r == nil {
		return false
	}
	select {
	case <-r.done:
		return false
	default:
		return true
	}
}

// end interrupts it, and returns when it has ended.
func (r *restoring) end() {
	if r != nil {
		r.cancel()
		<-r.done
	}
}

// errRestore is that of data that could not be restored, for whatever reason.
var errRestore = errors.New("the data is not restored")

// beginRestore begins to restore the data of the wanted generation. endRestore sees how that ends.
func (in *Instance) beginRestore(life context.Context, w wish) {
	during, cancel := in.while(life, w)
	under := &restoring{generation: w.generation, cancel: cancel, done: make(chan struct{})}
	var serving *node.Node
	if in.seen.serves {
		from := in.seen.node
		serving = &from
	}
	in.seen.restoring = under
	go func() {
		defer close(under.done)
		defer cancel()
		if err := step.Run(during, in.restoreSteps(w.generation, serving)...); err != nil {
			under.err = errors.Join(errRestore, err)
		}
	}()
}

// endRestore forgets a restore that has ended, and tells of its failure.
func (in *Instance) endRestore() {
	under := in.seen.restoring
	if under == nil || under.isUnderWay() {
		return
	}
	in.seen.restoring = nil
	if under.err != nil && in.Record().wish() == (wish{generation: under.generation}) {
		in.fail(action{verb: toRestore, generation: under.generation}, under.err)
	}
}

// restoreSteps end with the data of the generation's origin beside that in use, of which serving is the node, if it
// serves. Until the record says that it is whole, nobody takes it for data.
func (in *Instance) restoreSteps(generation int64, serving *node.Node) []step.Step {
	return []step.Step{
		{Name: "keeper.backed-up", Do: func(ctx context.Context) error {
			if serving == nil || in.m.Vault == nil || in.backedUp.Load() == generation {
				return nil
			}
			in.tellProgress("A backup of now is taken, before the instance returns to an earlier moment.")
			defer in.attest(ctx)()
			err := in.m.Vault.BackUp(ctx, in.ID, *serving)
			if err == nil {
				in.backedUp.Store(generation)
			}
			return err
		}},
		{Name: "keeper.restored", Do: func(ctx context.Context) error {
			defer in.endProgress(serving)
			n, err := in.restoredNode(ctx, generation)
			if err != nil {
				return err
			}
			return in.makeRestored(ctx, in.Record().spec(generation), n)
		}},
		{Name: "keeper.restore-named", Do: func(ctx context.Context) error {
			n, err := in.restoredNode(ctx, generation)
			if err != nil {
				return err
			}
			return in.nameRestored(n)
		}},
		{Name: "keeper.restore-recorded", Do: func(context.Context) error {
			return in.amendAlone(func(r *Record) {
				if r.Spec.Generation == generation {
					r.Aside = restoredName(generation)
				}
			})
		}},
	}
}

// restoredNode is the node that will serve what is restored.
func (in *Instance) restoredNode(ctx context.Context, generation int64) (n node.Node, err error) {
	r := in.Record()
	s := r.spec(generation)
	if in.m.Engines[s.Engine] == nil {
		return n, in.noEngine()
	}
	wanted := s.Build
	if wanted == "" && r.Installation.Version == s.Version {
		wanted = r.Installation.FullVersion
	}
	if r.Installation, err = in.m.Installed.Find(ctx, s.Engine, s.Version, wanted); err != nil {
		return n, err
	}
	r.Data = restoredName(generation)
	return in.m.node(r, s)
}

// scratchOf is where data is restored until it is whole.
func scratchOf(n node.Node) string { return n.DataDir + restoredSuffix }

// makeRestored restores the data beside the place that it will have. What a restore has left that was interrupted is
// the engine's to go on with; what one has left that failed is removed, so that a full disk is not left fuller.
func (in *Instance) makeRestored(ctx context.Context, s backend.Spec, n node.Node) error {
	if _, err := os.Lstat(n.DataDir); err == nil { // it has its name already, since before a crash
		return nil
	}
	endWait := in.attest(ctx) // for those whose turn it is
	err := in.m.Copies.Acquire(ctx, 1)
	if endWait(); err != nil {
		return err
	}
	defer in.m.Copies.Release(1)
	if err := node.MakeDir(n.Dir, node.ThroughMode()); err != nil {
		return err
	}
	if err := n.MakeDirs(); err != nil {
		return err
	}
	scratch := n
	scratch.DataDir = scratchOf(n)
	began := in.m.Now()
	defer in.attest(ctx, scratch.DataDir, scratch.DataDir+partSuffix)()
	passed, err := in.fill(ctx, *s.Origin, scratch)
	if err == nil {
		err = in.checkRestored(scratch)
	}
	if err == nil {
		err = clone.Sync(scratch.DataDir)
	}
	if err == nil { // before it has its name: who finds that does not restore it again
		err = in.amendAlone(func(r *Record) { r.Restored = backend.Restored{Generation: s.Generation, Passed: passed} })
	}
	in.log.Info("a restore has ended", "origin", s.Origin.Instance, "took", in.m.Now().Sub(began), "error", err)
	if err != nil && ctx.Err() == nil {
		err = errors.Join(err, process.KillIn(scratch.DataDir), os.RemoveAll(scratch.DataDir))
	}
	return err
}

// fill makes the scratch node's data from the origin, and returns what is to be told of backups that were passed.
func (in *Instance) fill(ctx context.Context, o backend.Origin, scratch node.Node) (passed string, err error) {
	if o.Clone {
		return "", in.cloneFrom(ctx, o, scratch)
	}
	var damage error
	var left []string
	for {
		in.tellProgress("Looking for the backup to restore.")
		from, err := in.reach(ctx, o, left...)
		if len(left) > 0 && backstay.KindOf(err) == backstay.Invalid {
			return "", damage
		}
		if err != nil && damage != nil {
			err = backstay.Wrapf(err, backstay.KindOf(err), "%s %s", backstay.SentenceOf(damage), backstay.SentenceOf(err))
		}
		if err != nil {
			return "", err
		}
		damage = in.restoreFrom(ctx, o, from, scratch)
		switch isLeft := errors.Is(damage, engine.ErrLeft); {
		case isLeft && o.Backup == "":
			left = append(left, from.Point.Backup)
			continue
		case isLeft, backstay.KindOf(damage) != backstay.Invalid:
			return from.Passed, damage
		}
		in.log.Warn("a restore has found damage", "origin", o.Instance, "backup", from.Point.Backup, "error", damage)
		in.tellProgress("What is kept is looked through, for a restore has found damage in it.")
		found, err := in.m.Vault.Examine(ctx, o)
		if err != nil || !found {
			return "", errors.Join(damage, err)
		}
	}
}

// restoreFrom makes the scratch node's data from a restore point.
func (in *Instance) restoreFrom(ctx context.Context, o backend.Origin, from RestorePoint, scratch node.Node) error {
	what := "The newest backup"
	switch {
	case from.Point.Alone:
		what = "Backup " + from.Point.Backup
	case !o.At.IsZero():
		what = "The data of " + o.At.UTC().Format(time.DateTime) + " UTC"
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go in.tellSize(ctx, what, from.Passed, scratch.DataDir)
	err := scratch.Engine.(engine.Archiver).Restore(ctx, scratch.Node, from.Repository, from.Point)
	if backstay.KindOf(err) == backstay.NotFound { // it was there when somebody looked
		err = backstay.Wrapf(err, backstay.Invalid, "The backup %s is not in the repository any more.", from.Point.Backup)
	}
	return blameRepository(ctx, from.Repository, err)
}

// cloneFrom copies another instance of this machine, which serves.
func (in *Instance) cloneFrom(ctx context.Context, o backend.Origin, scratch node.Node) error {
	from, err := in.m.Source(ctx, o.Instance)
	if backstay.KindOf(err) == backstay.NotFound {
		return backstay.Wrapf(err, backstay.Invalid, "There is no instance %s to clone.", o.Instance)
	}
	if err != nil {
		return err
	}
	tell := func(what string) { in.tellProgress("The instance is being cloned: " + what) }
	tell("its source is asked.")
	return scratch.Engine.(engine.Cloner).Clone(ctx, from.Node, scratch.Node, tell)
}

// reach finds the origin's restore point. That nothing is kept of it is final.
func (in *Instance) reach(ctx context.Context, o backend.Origin, left ...string) (RestorePoint, error) {
	from, err := in.m.Vault.Reach(ctx, o, left...)
	if backstay.KindOf(err) == backstay.NotFound {
		err = backstay.Wrapf(err, backstay.Invalid, "%s", backstay.SentenceOf(err))
	}
	return from, blameRepository(ctx, from.Repository, err)
}

// checkRestored refuses data that the version which is wanted does not serve.
func (in *Instance) checkRestored(n node.Node) error {
	made := in.versionOfData(n)
	if made == "" || made == n.Installation.Version {
		return nil
	}
	return backstay.Errorf(backstay.Unsupported, "The backup is of version %s: restore it into an instance of "+
		"that version, not of %s.", made, n.Installation.Version)
}

// nameRestored gives data that is whole its name.
func (in *Instance) nameRestored(n node.Node) error {
	if _, err := os.Lstat(n.DataDir); err == nil {
		return nil
	}
	if err := os.Rename(scratchOf(n), n.DataDir); err != nil {
		return err
	}
	return atomicfile.SyncDir(n.Dir)
}

// Restorable refuses a Spec with an origin that its engine cannot begin from here.
func (m *Machine) Restorable(s backend.Spec) error {
	_, archives := m.Engines[s.Engine].(engine.Archiver)
	_, clones := m.Engines[s.Engine].(engine.Cloner)
	switch {
	case s.Origin == nil:
		return nil
	case s.Origin.Clone && (!clones || m.Source == nil):
		return backstay.Errorf(backstay.Unsupported, "Instances of engine %q cannot be cloned here.", s.Engine)
	case !s.Origin.Clone && (!archives || m.Vault == nil):
		return backstay.Errorf(backstay.Unsupported, "Backups of engine %q cannot be restored here.", s.Engine)
	}
	return nil
}

// restorable tells whether the generation's data can be restored.
func (in *Instance) restorable(ctx context.Context, generation int64, n node.Node) error {
	s := in.Record().spec(generation)
	if err := in.m.Restorable(s); err != nil || s.Origin.Clone {
		return err
	}
	if _, err := in.reach(ctx, *s.Origin); err != nil {
		return errors.Join(errRestore, err)
	}
	return nil
}

// exchangeSteps take the data that was restored into use.
func (in *Instance) exchangeSteps(generation int64) []step.Step {
	return []step.Step{
		{Name: "keeper.end-archived", Do: in.archiveUsed},
		{Name: "keeper.exchanged", Do: func(ctx context.Context) error { return in.exchange(ctx, generation) }},
	}
}

func (in *Instance) exchange(ctx context.Context, generation int64) error {
	n, err := in.restoredNode(ctx, generation)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(n.DataDir); err != nil {
		return err
	}
	in.enter(backend.Starting, "The data that was restored is taken into use.")
	if err := in.endSecond(); err != nil {
		return err
	}
	name := filepath.Base(n.DataDir)
	err = in.amendAlone(func(r *Record) { r.exchange(name, in.seen.laid, in.m.Now()) })
	if err == nil {
		in.log.Info("data that was restored is in use", "data", name, "kept", in.Record().Kept)
		in.seen.laid = in.versionOfData(n)
	}
	return err
}

// archiveUsed brings what the node that has ended has logged until its end into the archive: a return is undone by
// another one, to a moment before it. All moments that can be named are whole seconds, so what is restored is not
// served before the next one: else the second would be one of both.
//
//	what is left     commits -- end       over
//	the archive      ---------------------|
//	what is restored                      |--- serves, commits
func (in *Instance) archiveUsed(ctx context.Context) error {
	r := in.Record()
	n, err := in.m.node(r, r.spec(r.Started))
	if err != nil || in.m.Vault == nil {
		return err
	}
	if _, err := os.Lstat(n.DataDir); err != nil {
		return nil // there was none before
	}
	over := engine.WholeSecond(in.m.Now())
	if err := in.m.Vault.Ended(ctx, in.ID, n, over); err != nil {
		in.log.Warn("what was logged before a return is not in the archive yet", "error", err)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(over.Sub(in.m.Now())):
		return nil
	}
}

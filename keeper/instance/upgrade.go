package instance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/keeper/node"
)

// way is how an instance comes to data that the version of a generation serves.
type way int

const (
	asItIs     way = iota // the data in use will do
	byUpgrade             // new data is made out of it, and it is kept
	byReturn              // the data that was kept is taken into use again, and that in use is kept
	byRestore             // data is to be restored, aside from that in use
	byExchange            // data that was restored is taken into use, and that in use is kept
)

// Kept is data that was in use before an upgrade, before the return from one, or before older data was restored. The
// instance can return to it.
type Kept struct {
	Data    string    `json:"data"`    // the directory's name
	Version string    `json:"version"` // of the servers that serve it
	Since   time.Time `json:"since"`
	Drops   []string  `json:"drops,omitempty"` // users that were dropped since: they are in it
	Place   Place     `json:"place,omitempty"` // where it lies
	// Restores is the record's, of this data.
	Restores int64 `json:"restores,omitempty"`
}

// keepFor is how long data is kept that the instance might return to.
const keepFor = 7 * 24 * time.Hour

// way tells how data of the version laid becomes what the generation serves. An empty version is unknown: then it is
// left to the engine what it makes of the data.
func (r Record) way(generation int64, laid string) way {
	s := r.spec(generation)
	isBefore := r.Before != nil && generation == r.Before.Generation
	asked := s.RollBack || isBefore
	switch {
	case r.wantsDataBefore(s):
		return byReturn
	case !isBefore && restoresOf(s) > r.Restores && r.Aside == restoredName(generation):
		return byExchange
	case !isBefore && restoresOf(s) > r.Restores:
		return byRestore
	case laid == "" || laid == s.Version:
		return asItIs
	case asked && r.Kept != nil && r.Kept.Version == s.Version:
		return byReturn
	}
	return byUpgrade
}

// canRollBack refuses a generation that asks for data which is not kept, and one of another version than the data that
// it is to return to.
func (r Record) canRollBack(generation int64, laid string) error {
	if s := r.spec(generation); r.way(generation, laid) == byReturn && r.Kept.Version != s.Version {
		return backstay.Errorf(backstay.Unsupported, "The instance returns to its data of version %s first: "+
			"ask for version %s when it serves again.", r.Kept.Version, s.Version)
	}
	if s := r.spec(generation); s.RollBack && r.way(generation, laid) == byUpgrade {
		return backstay.Errorf(backstay.Unsupported, "There is no data of version %s any more to return to.", s.Version)
	}
	return nil
}

// dataFor names the data directory that the generation is to use.
func (r Record) dataFor(generation int64, laid string) string {
	switch r.way(generation, laid) {
	case byUpgrade:
		return fmt.Sprintf("%s-%d", firstData, generation)
	case byReturn:
		return r.Kept.Data
	case byRestore, byExchange:
		return restoredName(generation)
	}
	return r.Data
}

// placeFor is where the data directory lies that the generation is to use.
func (r Record) placeFor(generation int64, laid string) Place {
	if r.way(generation, laid) == byReturn {
		return r.Kept.Place
	}
	return r.Place
}

// take takes the data directory of that name into use. The one before, of that version, is kept, and what was kept
// before that goes; but data that has never served goes at once, and what served last is kept. Users that were dropped
// while data was kept are not to come back with it.
func (r *Record) take(data, version string, now time.Time) {
	if r.isUntried() {
		r.replaceUntried(data)
		return
	}
	before := r.Kept
	r.Kept = &Kept{
		Data: dataName(r.Data), Place: r.Place, Version: version, Since: now, Drops: r.Drops, Restores: r.Restores,
	}
	r.Data = data
	r.leaveSecond()
	switch {
	case before == nil:
	case before.Data == data:
		r.Restores = before.Restores
		r.moveTo(before.Place)
		drops := slices.Concat(r.Drops, before.Drops)
		slices.Sort(drops)
		r.Drops = slices.Compact(drops)
	case before.Place == r.Place:
		r.Gone = append(r.Gone, before.Data)
	} // what lies in the other place goes when that is made anew
}

// noteUser notes in the data that is kept, if there is any, that a user is dropped, or is there again.
func (in *Instance) noteUser(name string, dropped bool) error {
	in.write.Lock()
	defer in.write.Unlock()
	kept := in.Record().Kept
	if kept == nil || slices.Contains(kept.Drops, name) == dropped || !userName.MatchString(name) {
		return nil
	}
	return in.amend(func(r *Record) {
		noted := *r.Kept
		noted.Drops = slices.DeleteFunc(slices.Clone(noted.Drops), func(other string) bool { return other == name })
		if dropped {
			noted.Drops = append(noted.Drops, name)
		}
		r.Kept = &noted
	})
}

// letGo has the data that was kept be removed.
func (r *Record) letGo() {
	if r.Kept != nil && r.Kept.Place == r.Place {
		r.Gone = append(r.Gone, r.Kept.Data)
	}
	r.Kept = nil
}

// versionOfData is the version of the data in use, where the engine can tell.
func (in *Instance) versionOfData(n node.Node) string {
	u, ok := n.Engine.(engine.Upgrader)
	if !ok {
		return ""
	}
	version, err := u.MadeBy(n.Node)
	if err != nil {
		return "" // whoever starts the node finds out why
	}
	return version
}

// possible tells whether the instance can come to the generation, which n is of. While data would have to be upgraded,
// the node that the process is of serves.
func (in *Instance) possible(ctx context.Context, generation int64, n node.Node) error {
	r, laid := in.Record(), in.seen.laid
	way := r.way(generation, laid)
	if err := r.canRollBack(generation, laid); err != nil {
		return err
	}
	if way == byRestore {
		if err := in.restorable(ctx, generation, n); err != nil {
			return err
		}
	}
	if way == byReturn {
		if err := in.wantData(n); err != nil {
			return err
		}
	}
	if err := n.Engine.Check(ctx, n.Node); err != nil || way != byUpgrade {
		return err
	}
	message := fmt.Sprintf("Checking whether the data can be upgraded from %s to %s.", laid, n.Installation.Version)
	in.report(func(st *backend.Status) { st.Message = message })
	defer in.report(func(st *backend.Status) {
		if st.Message == message {
			st.Message = in.seen.node.Describe(r.Spec.Engine)
		}
	})
	return n.Engine.(engine.Upgrader).CheckUpgrade(ctx, in.seen.node.Node, n.Node)
}

// upgradeSteps end with data in use that the generation's version serves. Until the record says so, the data before is
// in use, and nothing has happened to it.
func (in *Instance) upgradeSteps(generation int64) []step.Step {
	var to node.Node
	return []step.Step{
		{Name: "keeper.upgraded", Do: func(ctx context.Context) (err error) {
			to, err = in.upgrade(ctx, generation)
			return err
		}},
		{Name: "keeper.upgrade-recorded", Do: func(context.Context) error {
			return in.takeData(generation, filepath.Base(to.DataDir), to.Installation.Version, true)
		}},
	}
}

// upgrade makes the new data. What an upgrade has left that was interrupted may be older than the data is by now.
func (in *Instance) upgrade(ctx context.Context, generation int64) (to node.Node, err error) {
	r, laid := in.Record(), in.seen.laid
	if r.Installation.Version != laid {
		if r.Installation, err = in.m.Installed.Find(ctx, r.Spec.Engine, laid, ""); err != nil {
			return to, err
		}
	}
	from, err := in.m.node(r, r.spec(r.Started))
	if err != nil {
		return to, err
	}
	if to, err = in.nodeOf(ctx, generation); err != nil {
		return to, err
	}
	if err := in.wantData(from); err != nil {
		return to, err
	}
	tell := func(what string) {
		in.enter(backend.Starting, "Upgrading from %s to %s: %s", laid, to.Installation.Version, what)
	}
	tell("the engine has ended.")
	if err := errors.Join(from.EndRemnants(), from.Abandon(), os.RemoveAll(to.DataDir)); err != nil {
		return to, err
	}
	began := in.m.Now()
	defer in.attest(ctx, to.Dir)() // whose engine has ended
	err = to.Engine.(engine.Upgrader).Upgrade(ctx, from.Node, to.Node, tell)
	in.log.Info("an upgrade has ended", "from", laid, "to", to.Installation.Version, "took", in.m.Now().Sub(began),
		"error", err)
	return to, err
}

// returnSteps take the data that was kept into use again.
func (in *Instance) returnSteps(generation int64) []step.Step {
	return []step.Step{{Name: "keeper.returned", Do: func(ctx context.Context) error {
		n, err := in.nodeOf(ctx, generation)
		if err != nil {
			return err
		}
		in.enter(backend.Starting, "Returning from %s to %s: what was written since the change of version is left behind, "+
			"and kept for seven days.", in.seen.laid, n.Installation.Version)
		if err := in.wantData(n); err != nil {
			return err
		}
		return in.takeData(generation, filepath.Base(n.DataDir), n.Installation.Version, false)
	}}}
}

func (in *Instance) takeData(generation int64, data, version string, stale bool) error {
	if err := in.endSecond(); err != nil {
		return err
	}
	err := in.amendAlone(func(r *Record) {
		r.takeFor(generation, data, in.seen.laid, in.m.Now())
		r.Stale = stale
	})
	if err == nil {
		in.log.Info("other data is in use", "data", data, "version", version, "kept", in.Record().Kept)
		in.seen.laid = version
	}
	return err
}

// tidySteps remove data that is not kept any more.
func (in *Instance) tidySteps() []step.Step {
	return []step.Step{
		{Name: "keeper.data-let-go", Do: func(context.Context) error {
			return in.amendAlone(func(r *Record) {
				if r.Kept != nil && in.m.Now().Sub(r.Kept.Since) >= keepFor {
					r.letGo()
				}
			})
		}},
		{Name: "keeper.data-removed", Do: func(context.Context) error {
			r := in.Record()
			gone, dir := r.Gone, in.m.dir(r, r.Place)
			for _, name := range gone {
				in.log.Info("data that was kept is removed", "data", name)
				if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
					return err
				}
			}
			if err := atomicfile.SyncDir(dir); err != nil {
				return err
			}
			return in.amendAlone(func(r *Record) { r.Gone = r.Gone[len(gone):] })
		}},
	}
}

// refresh makes a node that was upgraded as quick as it was before, while it serves, until end is called or ctx ends.
// It is begun again by whoever serves the node next.
func (in *Instance) refresh(ctx context.Context) (end func()) {
	n := in.seen.node
	u, ok := n.Engine.(engine.Upgrader)
	if !ok || !in.Record().Stale {
		return func() {}
	}
	ctx, end = context.WithCancel(ctx)
	go func() {
		err := u.Refresh(ctx, n.Node)
		if err == nil {
			err = in.refreshed(ctx)
		}
		if err != nil && ctx.Err() == nil {
			in.log.Warn("an upgraded instance is not as quick as it was", "error", err)
		}
	}()
	return end
}

// refreshed notes that the node need not be refreshed, unless ctx has ended: the record may be gone by then.
func (in *Instance) refreshed(ctx context.Context) error {
	in.write.Lock()
	defer in.write.Unlock()
	if ctx.Err() != nil || in.Record().Removing {
		return ctx.Err()
	}
	return in.amend(func(r *Record) { r.Stale = false })
}

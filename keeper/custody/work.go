package custody

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/repository"
)

// StepNames lists the steps that are taken for the backups of an instance: where the keeper may die in the middle.
func StepNames() (names []string) {
	var k *Custodian
	for _, steps := range [][]step.Step{
		k.backUpSteps(engine.Node{}, waited, nil), k.archiveSteps(engine.Node{}, 0, time.Time{}),
		k.expireSteps(engine.Node{}, nil), k.forgetSteps(engine.Node{}, ""), k.examineSteps(nil),
		k.proveSteps(backstay.Backup{}, nil),
	} {
		names = append(names, step.Names(steps)...)
	}
	return names
}

var errNoRepository = backstay.Errorf(backstay.Unsupported,
	"There is no repository for backups here: the operator has named none.")

// begin makes the caller the only one who changes the repository, until it calls end.
func (k *Custodian) begin(ctx context.Context) (end func(), err error) {
	if k.c.Repository.IsZero() {
		return nil, errNoRepository
	}
	select {
	case k.work <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	end = func() { <-k.work }
	if !k.hasPolicy() { // everything was forgotten meanwhile
		err = backstay.Errorf(backstay.NotFound, "No backups are kept of the instance %s.", k.id)
	} else if err = k.c.Able(k.kept().Engine); err == nil {
		err = k.c.identify(ctx)
	}
	if err != nil {
		end()
		return nil, err
	}
	return end, nil
}

func (k *Custodian) kept() backend.Backups {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.record.Kept
}

func (k *Custodian) archiver() engine.Archiver {
	a, _ := k.c.Engines[k.kept().Engine].(engine.Archiver) // begin has made sure of it
	return a
}

func (k *Custodian) repository() backstay.Repository { return k.c.own().Of(k.id, k.key()) }

// occasion is why a backup is taken.
type occasion int

const (
	nightly occasion = iota // nobody waits for it
	waited                  // somebody does
	parting                 // its instance is removed
)

// backUp takes a backup of a node that serves, when it is its turn.
func (k *Custodian) backUp(ctx context.Context, n engine.Node, why occasion) (b backstay.Backup, err error) {
	if err := k.c.backups.Acquire(ctx, 1); err != nil {
		return b, err
	}
	defer k.c.endTurn()
	return k.backUpNow(ctx, n, why)
}

// hasTurn tells whether a backup may be taken now, which endTurn ends. Who waits goes on archiving, and is told.
func (k *Custodian) hasTurn() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.waits = !k.c.backups.TryAcquire(1)
	return !k.waits
}

// endTurn ends a turn, and has somebody who waits look whether it is theirs.
func (c *Custody) endTurn() {
	c.backups.Release(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.all { // in an order of chance
		k.mu.Lock()
		waits := k.waits
		k.mu.Unlock()
		if waits {
			k.poke()
			return
		}
	}
}

// backUpNow is backUp for whoever has the turn.
func (k *Custodian) backUpNow(ctx context.Context, n engine.Node, why occasion) (b backstay.Backup, err error) {
	end, err := k.begin(ctx)
	if err != nil {
		k.note(ctx, toBackUp, 0, err)
		return b, err
	}
	defer end()
	k.setRunning(true)
	defer k.setRunning(false)
	began, before := k.c.Now(), k.sight()
	if err = k.know(ctx, n); err == nil {
		err = k.whileArchiving(ctx, n, func() error { return step.Run(ctx, k.backUpSteps(n, why, &b)...) })
	}
	if k.isInterrupted(before, err) && k.interrupted < mostInterrupted {
		k.interrupted++
		return b, fmt.Errorf("%w: %w", errInterrupted, err)
	}
	k.interrupted = 0
	k.note(ctx, toBackUp, k.c.Now().Sub(began), err)
	k.log.Info("a backup was taken", "backup", b.ID, "took", k.c.Now().Sub(began), "last", why == parting, "error", err)
	return b, err
}

// errInterrupted is that a backup was broken off that is taken again at once: whoever has asked for it is not answered.
var errInterrupted = errors.New("the end of the engine has interrupted the backup")

// mostInterrupted is how often in a row that is no failure: it may be the backups that end the engine.
const mostInterrupted = 5

// isInterrupted tells whether the instance was ended or started since it was seen like that, or does not serve, which
// may have broken off what has failed: that is no trouble of its backups, it is done again. Of one that is removed, it
// is trouble.
func (k *Custodian) isInterrupted(before Sight, err error) bool {
	now := k.sight()
	if err == nil || now.Removing || now.Serves && now.PID == before.PID {
		return false
	}
	k.log.Info("the end of an engine has interrupted its backups; they are done again", "error", err)
	return true
}

func (k *Custodian) backUpSteps(n engine.Node, why occasion, b *backstay.Backup) []step.Step {
	return []step.Step{
		{Name: "custody.backed-up", Do: func(ctx context.Context) error {
			return quietly(func() error {
				taken, err := k.archiver().Backup(ctx, n, k.repository(), why == nightly)
				*b = taken
				b.Final = why == parting
				return err
			})
		}},
		{Name: "custody.recorded", Do: func(context.Context) error {
			k.setOwed(true)
			return k.amend(func(r *Record) {
				if r.isDisproved() {
					r.StandIn = b.ID
				}
				r.Kept.List = slices.DeleteFunc(r.Kept.List, func(other backstay.Backup) bool { return other.ID == b.ID })
				r.Kept.List, r.Of = append(r.Kept.List, *b), filepath.Base(n.DataDir)
				r.Parted = why == parting
			})
		}},
	}
}

// merged is what an engine has found in a repository, with what was known of it besides. What was known and is not
// found is damaged: what is to go is forgotten before it goes.
func merged(found, known []backstay.Backup) []backstay.Backup {
	list := make([]backstay.Backup, 0, len(found))
	for _, b := range found {
		if i := indexOf(known, b.ID); i >= 0 {
			b.Final, b.Damaged = known[i].Final, known[i].Damaged
		}
		list = append(list, b)
	}
	for _, b := range known {
		if indexOf(found, b.ID) < 0 {
			b.Damaged = cmp.Or(b.Damaged, isGone)
			list = append(list, b)
		}
	}
	slices.SortStableFunc(list, func(a, b backstay.Backup) int { return a.Ended.Compare(b.Ended) })
	return list
}

// know asks the repository which backups there are, once in the life of a keeper and when it is another one: the record
// may be lost, or older than a backup that was taken as a keeper died. The backups of an earlier instance of the id go
// first.
func (k *Custodian) know(ctx context.Context, n engine.Node) error {
	k.mu.Lock()
	lookedIn, replaced := k.lookedIn, k.record.Replaced
	k.mu.Unlock()
	if lookedIn != "" && lookedIn == k.repository().Identity {
		return nil
	}
	if replaced != "" {
		if err := step.Run(ctx, k.forgetSteps(n, replaced)...); err != nil {
			return err
		}
		if err := k.amend(func(r *Record) { r.Replaced = "" }); err != nil {
			return err
		}
	}
	return k.list(ctx, n)
}

func (k *Custodian) list(ctx context.Context, n engine.Node) error {
	r := k.repository()
	found, err := k.archiver().Backups(ctx, n, r)
	if err != nil && backstay.KindOf(err) != backstay.Invalid { // where all are damaged, there are to be others
		return err
	}
	reached, err := reachedBy(ctx, k.archiver(), n, k.repository(), found)
	if err != nil {
		return err
	}
	err = k.amend(func(r *Record) {
		r.Kept.List, r.Kept.Gaps = merged(found, r.Kept.List), joined(r.Kept.Gaps, reached.Gaps)
		r.Archived = cmp.Or(r.Archived, reached.Until)
	})
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		k.lookedIn = r.Identity
	}
	return err
}

// expire removes what the policy does not keep any more. What has failed is tried again also where nothing is to be
// removed by now, or nothing may be: else the trouble would be told for as long as that.
func (k *Custodian) expire(ctx context.Context, n engine.Node) {
	now := k.c.Now()
	k.mu.Lock()
	r, owed, busy := k.record, k.owed, k.endProof != nil || now.Sub(k.read) < readPatience
	k.mu.Unlock()
	keep := backup.Keep(r.Kept.List, r.Policy.Days, now)
	idle := busy || !owed && len(keep) == len(r.Kept.List) || len(keep) == 0
	if idle && k.failures(toExpire) == 0 {
		return
	}
	end, err := k.begin(ctx)
	if err == nil {
		defer end()
		err = k.expireAlone(ctx, n, now, idle)
	}
	k.note(ctx, toExpire, k.c.Now().Sub(now), err)
}

// expireAlone is expire where nobody else changes the repository. What that has and the record does not know is learnt
// first: a record, or a database of which it is made anew, may come from before it, and what is not in keep is removed.
func (k *Custodian) expireAlone(ctx context.Context, n engine.Node, now time.Time, idle bool) error {
	if err := k.know(ctx, n); err != nil {
		return err
	}
	if err := k.list(ctx, n); err != nil {
		return err
	}
	r := k.snapshot()
	keep := backup.Keep(r.Kept.List, r.Policy.Days, now)
	if idle || len(keep) == 0 {
		return nil
	}
	return step.Run(ctx, k.expireSteps(n, keep)...)
}

// readPatience is how long after somebody began to read from the repository nothing is removed from it.
const readPatience = 2 * time.Hour

func (k *Custodian) expireSteps(n engine.Node, keep []string) []step.Step {
	return []step.Step{
		{Name: "custody.expiry-recorded", Do: func(context.Context) error {
			k.setOwed(true)
			return k.amend(func(r *Record) {
				r.Kept.List = slices.DeleteFunc(r.Kept.List, func(b backstay.Backup) bool { return !slices.Contains(keep, b.ID) })
				isOver := func(g backstay.Gap) bool {
					return len(r.Kept.List) > 0 && g.Until.Before(r.Kept.List[0].Ended)
				}
				r.Kept.Gaps, r.Lost = slices.DeleteFunc(r.Kept.Gaps, isOver), slices.DeleteFunc(r.Lost, isOver)
			})
		}},
		{Name: "custody.expired", Do: func(ctx context.Context) error {
			err := k.archiver().Expire(ctx, n, k.repository(), keep)
			if err == nil {
				err = k.list(ctx, n)
			}
			if err == nil {
				k.setOwed(false)
			}
			return err
		}},
	}
}

// last takes the last backup of an instance that is being removed, unless that is done.
func (k *Custodian) last(ctx context.Context, n engine.Node) error {
	if k.hasParted() {
		return nil
	}
	if err := k.archive(ctx, 0); err != nil {
		return err
	}
	_, err := k.backUp(ctx, n, parting)
	return err
}

// outlive keeps what an instance that is gone has left, and reports whether nothing of that is left.
func (k *Custodian) outlive(ctx context.Context) (done bool) {
	if !k.hasPolicy() {
		return true
	}
	if err := k.Removed(nil); err != nil {
		k.log.Error("the record of backups cannot be written", "error", err)
		return false
	}
	if !k.mayTry(toExpire) {
		return false
	}
	if err := k.recall(ctx); err != nil {
		k.note(ctx, toExpire, 0, err)
		return false
	}
	kept := k.kept()
	if len(kept.List) == 0 || !k.c.Now().Before(kept.Until) {
		err := k.forget(ctx)
		k.note(ctx, toExpire, 0, err)
		return err == nil
	}
	n, leave, err := k.bare()
	if err == nil {
		defer leave()
		k.expire(ctx, n)
	}
	return false
}

// Forget removes all backups of an instance that is gone.
func (k *Custodian) Forget(ctx context.Context) error {
	if !k.sight().Gone {
		return backstay.Errorf(backstay.Invalid,
			"The instance %s is there: its backups go some time after it was deleted.", k.id)
	}
	err := k.forget(ctx)
	k.poke()
	return err
}

func (k *Custodian) forget(ctx context.Context) error {
	if k.c.Repository.IsZero() && len(k.kept().List) == 0 { // there never was one
		return k.drop()
	}
	end, err := k.begin(ctx)
	if backstay.KindOf(err) == backstay.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	defer end()
	n, leave, err := k.bare()
	if err != nil {
		return err
	}
	defer leave()
	if err := step.Run(ctx, k.forgetSteps(n, k.key())...); err != nil {
		return err
	}
	return k.drop()
}

// forgetSteps remove all that lies in the repository of the instance with that key.
func (k *Custodian) forgetSteps(n engine.Node, key backstay.Secret) []step.Step {
	return []step.Step{{Name: "custody.forgotten", Do: func(ctx context.Context) error {
		r := k.c.own().Of(k.id, key)
		if r.Objects == nil {
			if err := repository.Reachable(ctx, r); err != nil { // what is not there is not gone
				return err
			}
			return os.RemoveAll(filepath.Join(r.Dir, r.Part))
		}
		s, err := repository.Open(r)
		if err != nil {
			return err
		}
		entries, err := s.List(ctx, "")
		if err != nil || len(entries) == 0 {
			return err
		}
		names := make([]string, len(entries))
		for i, e := range entries {
			names[i] = e.Name
		}
		return s.Delete(ctx, k.c.Now(), names...)
	}}}
}

func (k *Custodian) bare() (n engine.Node, leave func(), err error) {
	k.mu.Lock()
	r := k.record
	k.mu.Unlock()
	return k.c.bare(r)
}

// bare is what engines are told of a node that is not there. Its directory is there until leave is called.
func (c *Custody) bare(r Record) (n engine.Node, leave func(), err error) {
	dir, err := os.MkdirTemp(c.Dir, ".run-")
	if err != nil {
		return n, nil, err
	}
	n = engine.Node{Instance: r.Kept.Instance, Installation: r.Installation, RunDir: dir}
	if r.UID != 0 {
		n.Account = &engine.Account{UID: r.UID, GID: r.UID}
		err = os.Lchown(dir, int(r.UID), int(r.UID))
	}
	return n, func() { os.RemoveAll(dir) }, err
}

func (k *Custodian) setRunning(is bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.running = is; is {
		k.taken++
	}
}

func (k *Custodian) setOwed(is bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.owed = is
}

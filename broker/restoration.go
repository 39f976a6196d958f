package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/broker/terms"
)

// Restoration is that of a whole platform: its ledger was restored on a machine on which there is nothing of its
// instances yet. While it lasts, each instance that its backend has no record of begins from its own backups. Only an
// operator can know that what a backend has lost is lost for good: else it would be there again when its disk is.
type Restoration struct {
	End func() error // called once, when all instances are back

	mu      sync.Mutex
	ended   bool
	learned bool                         // the backends know what is kept of deleted instances
	back    map[backstay.InstanceID]bool // those that serve, with the users of all their bindings
}

// lasts tells whether instances are still missing. Of a platform that was not restored, none are.
func (r *Restoration) lasts() bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.ended
}

func (r *Restoration) isBack(id backstay.InstanceID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.back[id]
}

func (r *Restoration) setBack(id backstay.InstanceID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.back == nil {
		r.back = map[backstay.InstanceID]bool{}
	}
	r.back[id] = true
}

func (r *Restoration) end() error {
	if err := r.End(); err != nil {
		return fmt.Errorf("end the restoration of the platform: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	return nil
}

// lostOrigin returns what an instance that has served begins from where its backend has lost it: its own newest
// backup and what was archived since, while a restoration lasts. It is nil if the instance has its data, or was never
// backed up.
func (b *Broker) lostOrigin(ctx context.Context, its backend.Backend, spec backend.Spec) (*backend.Origin, error) {
	if spec.Backup == nil || spec.Served == nil || !b.Restoration.lasts() {
		return nil, nil
	}
	s, err := its.Await(ctx, spec.Instance, 0)
	if absentIsFine(err) != nil || err == nil && s.Generation > 0 { // it has served there
		return nil, absentIsFine(err)
	}
	return &backend.Origin{Instance: spec.Instance, Key: spec.Backup.Key, Return: returnsOf(spec)}, nil
}

// bringBack gives the instances that serve again the users of their bindings, of whom a restore leaves none, and ends
// the restoration when no instance is missing any more.
func (b *Broker) bringBack(ctx context.Context, entries []Entry) error {
	if !b.Restoration.lasts() {
		return nil
	}
	failures := []error{b.learnArchives(ctx)}
	missing := 0
	for _, e := range entries {
		back, err := b.bringBackInstance(ctx, e)
		if err != nil && backstay.KindOf(err) != backstay.Busy {
			failures = append(failures, fmt.Errorf("bring back instance %s: %w", e.ID, err))
		}
		if !back {
			missing++
		}
	}
	if err := errors.Join(failures...); err != nil || missing > 0 {
		return err
	}
	b.Log.Info("all service instances that have backups are back", "instances", len(entries))
	return b.Restoration.end()
}

// bringBackInstance tells whether an instance is back. One without backups never will be: that is for its users to see.
func (b *Broker) bringBackInstance(ctx context.Context, e Entry) (back bool, err error) {
	if e.Generation == 0 || b.Restoration.isBack(e.ID) {
		return true, nil
	}
	release, free := b.turns.try(e.ID)
	if !free {
		return false, errBusy(e.ID)
	}
	defer release()
	in, err := b.Store.Instance(ctx, e.ID)
	if err != nil || in.Spec == nil {
		return true, absentIsFine(err)
	}
	spec, err := b.acceptedSpec(in)
	if err != nil || spec.Backup == nil {
		return err == nil, err
	}
	its, err := b.backendOf(in)
	if err != nil {
		return false, err
	}
	s, err := its.Await(ctx, in.ID, 0)
	if err != nil || s.Phase != backend.Running {
		return false, absentIsFine(err)
	}
	if err := b.remakeUsers(ctx, in); err != nil {
		return false, err
	}
	b.Restoration.setBack(in.ID)
	return true, nil
}

// learnArchives tells the backends what is kept of deleted instances, which they have no records of any more.
func (b *Broker) learnArchives(ctx context.Context) error {
	if b.Restoration.learned {
		return nil
	}
	archives, err := b.Store.Archives(ctx)
	if err != nil {
		return err
	}
	var failures []error
	for _, a := range archives {
		if err := b.learnArchive(ctx, a); err != nil && backstay.KindOf(err) != backstay.NotFound {
			failures = append(failures, fmt.Errorf("find the backups of deleted instance %s: %w", a.ID, err))
		}
	}
	err = errors.Join(failures...)
	b.Restoration.learned = err == nil
	return err
}

// learnArchive tells of one deleted instance. For how long its backups were to be kept, the ledger does not know: it is
// as long as the last backup of any instance is.
func (b *Broker) learnArchive(ctx context.Context, a Archive) error {
	keeps := b.archiveOf(a.Backend)
	if keeps == nil {
		return nil
	}
	if _, err := b.Store.Instance(ctx, a.ID); backstay.KindOf(err) != backstay.NotFound {
		return err // nil, of one that is about to be deleted
	}
	key, err := b.open(a.Key, archiveKeyContext(a.ID))
	if err != nil {
		return err
	}
	return keeps.Learn(ctx, backend.Legacy{
		Instance: a.ID, Engine: a.Engine, Version: a.Version, Removed: a.DeletedAt,
		Until:  a.DeletedAt.AddDate(0, 0, terms.FinalDays),
		Policy: backend.BackupPolicy{Days: terms.FinalDays, Final: terms.FinalDays, Key: backstay.Secret(key)},
	})
}

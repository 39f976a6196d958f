package broker_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backup"
)

// written is what an instance holds since a moment: one number stands for all of its data.
type written struct {
	at    time.Time
	value int
}

// valueAt is what a history has come to at a moment.
func valueAt(history []written, at time.Time) (value int) {
	for _, w := range history {
		if !w.at.After(at) {
			value = w.value
		}
	}
	return value
}

// copying is a simulated machine that backs its instances up, and restores what it is asked for. That a broker would
// have data made again which is there, or asks with another instance's key, it notes as an error.
type copying struct {
	*simulated
	t        *testing.T
	now      func() time.Time
	records  map[backstay.InstanceID]*backedUp
	restores int // so far
}

// backedUp is an instance, or one that was removed and of which something is kept.
type backedUp struct {
	backend.Backups
	policy  backend.BackupPolicy
	history []written
	returns int64
	parted  bool           // it has its last backup, and there is no data any more that there could be another one of
	values  map[string]int // of the backups, by their ids
}

var _ backend.Archive = (*copying)(nil)

func (c *copying) Inventory(ctx context.Context) (backend.Inventory, error) {
	i, err := c.simulated.Inventory(ctx)
	for n := range i.Engines {
		i.Engines[n].RestorePoints = backstay.AnySecond
	}
	return i, err
}

func (c *copying) Apply(ctx context.Context, spec backend.Spec) error {
	held, err := c.Held(ctx)
	if err != nil {
		return err
	}
	generation, known := held[spec.Instance]
	if err := c.simulated.Apply(ctx, spec); err != nil || known && spec.Generation == generation {
		return err
	}
	its := c.records[spec.Instance]
	switch o := spec.Origin; {
	case !known && its != nil && its.policy.Key == spec.Backup.Key: // the ledger does not know yet that it is gone
		its.Removed, its.Until = time.Time{}, time.Time{}
	case !known:
		its = &backedUp{values: map[string]int{}, Backups: backend.Backups{
			Instance: spec.Instance, Engine: spec.Engine, Version: spec.Version,
		}}
		c.records[spec.Instance] = its
		if o != nil {
			c.restore(its, *o)
		}
	case o != nil && o.Return > its.returns:
		c.restore(its, *o)
		its.returns = o.Return
	case o != nil:
		c.t.Errorf("the data of %s would be made again, from %+v", spec.Instance, o)
	}
	if its.policy = *spec.Backup; len(its.List) == 0 || spec.Backups > its.Asked || spec.Origin != nil {
		c.backUp(its, false)
	}
	its.Asked = spec.Backups
	return nil
}

// restore makes what an instance holds that of an origin.
func (c *copying) restore(to *backedUp, o backend.Origin) {
	c.restores++
	from := c.records[o.Instance]
	value := valueAt(from.history, c.now())
	switch _, serves := c.specs[o.Instance]; {
	case o.Clone && !serves:
		c.t.Errorf("%s is to be cloned, which is gone", o.Instance)
	case o.Clone:
	case o.Key != from.policy.Key:
		c.t.Errorf("the backups of %s are to be opened with the key of another instance", o.Instance)
	case o.Alone:
		point, err := backup.Reach(from.Backups, o)
		if err != nil {
			c.t.Errorf("%s is to be restored as nothing can be: %v", o.Instance, err)
		}
		value = from.values[point.Backup]
	case !o.At.IsZero():
		value = valueAt(from.history, o.At)
	}
	to.history = append(to.history, written{c.now(), value})
}

func (c *copying) backUp(its *backedUp, final bool) {
	id := fmt.Sprint(its.Instance, "-", len(its.List))
	its.values[id] = valueAt(its.history, c.now())
	its.List = append(its.List, backstay.Backup{ID: id, Began: c.now(), Ended: c.now(), Version: "15.1", Final: final})
}

// Remove takes the last backup, and ends the instance at once.
func (c *copying) Remove(ctx context.Context, id backstay.InstanceID) error {
	held, err := c.Held(ctx)
	if _, known := held[id]; err != nil || !known {
		return backstay.Errorf(backstay.NotFound, "no such instance")
	}
	its := c.records[id]
	if its.policy.Final > 0 && !its.parted {
		c.backUp(its, true)
	}
	its.parted = true
	its.Removed, its.Until = c.now(), c.now().AddDate(0, 0, its.policy.DaysAfter())
	c.alter(func(s *simulated) {
		delete(s.instances, id)
		delete(s.specs, id)
		delete(s.wanted, id)
	})
	return nil
}

// Backups has the archive up to now, or up to the end of the instance.
func (c *copying) Backups(_ context.Context, id backstay.InstanceID) (backend.Backups, error) {
	its := c.records[id]
	if its == nil || !its.Removed.IsZero() && !c.now().Before(its.Until) {
		return backend.Backups{}, backstay.Errorf(backstay.NotFound, "nothing is kept")
	}
	kept := its.Backups
	until := c.now()
	if !kept.Removed.IsZero() {
		until = kept.Removed
	}
	kept.List = slices.Clone(kept.List)
	kept.Earliest, kept.Latest = backup.Range(kept.List, nil, until)
	return kept, nil
}

func (c *copying) AllBackups(context.Context) ([]backend.Backups, error) { return nil, nil }

func (c *copying) Prove(context.Context, backstay.InstanceID) (backend.Proof, error) {
	return backend.Proof{}, backstay.Errorf(backstay.Unsupported, "nothing is started here")
}

func (c *copying) Discard(ctx context.Context, id backstay.InstanceID) error {
	return c.Remove(ctx, id)
}

// Learn has nothing to do: its records are never lost.
func (c *copying) Learn(context.Context, backend.Legacy) error { return nil }

func (c *copying) Forget(_ context.Context, id backstay.InstanceID) error {
	delete(c.records, id)
	return nil
}

// mortalCopying is what a process that may be killed has of it.
type mortalCopying struct {
	*copying
	*fate
}

func (b mortalCopying) Apply(ctx context.Context, spec backend.Spec) error {
	return tryOnly(b.fate, func() error { return b.copying.Apply(ctx, spec) })
}

func (b mortalCopying) Await(ctx context.Context, id backstay.InstanceID, revision int64) (backend.Status, error) {
	return try(b.fate, func() (backend.Status, error) { return b.copying.Await(ctx, id, revision) })
}

func (b mortalCopying) Remove(ctx context.Context, id backstay.InstanceID) error {
	return tryOnly(b.fate, func() error { return b.copying.Remove(ctx, id) })
}

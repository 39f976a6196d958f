package custody

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/keeper/node"
)

// Custody keeps the backups of all instances of one machine.
type Custody struct {
	Dir        string              // of the records, absolute
	Key        seal.Key            // that the keys in the records are sealed with; the zero Key: they are in clear
	Repository backstay.Repository // without a part and a key; zero: there is none, and nothing is backed up
	Engines    map[string]engine.Engine
	Newest     func(ctx context.Context, engine string) ([]engine.Installation, error) // the usable ones
	// Prove restores a backup of an instance into a scratch place, starts it there and throws it away. nil: it cannot.
	Prove func(
		ctx context.Context, id backstay.InstanceID, r backstay.Repository, b backstay.Backup, to engine.Point,
	) error
	Now func() time.Time
	Log *slog.Logger

	backups *semaphore.Weighted // bounds how many are taken at once
	proofs  *semaphore.Weighted
	naming  *semaphore.Weighted // held by who decides which repository it is

	mu  sync.Mutex // never held over anything that waits
	all map[backstay.InstanceID]*Custodian
	// found is what was found damaged of instances of which there is no record.
	found map[backstay.InstanceID]engine.Findings
}

// LogValue is no more than the place of the records: the repository has a secret key.
func (c *Custody) LogValue() slog.Value { return slog.StringValue(c.Dir) }

// How many backups one machine takes, and how many it proves, at once: its databases are to be usable meanwhile.
const (
	backupsAtOnce = 2
	proofsAtOnce  = 1
)

// Load reads the records. It comes before all else.
func (c *Custody) Load() error {
	c.backups, c.proofs = semaphore.NewWeighted(backupsAtOnce), semaphore.NewWeighted(proofsAtOnce)
	c.naming = semaphore.NewWeighted(1)
	c.all, c.found = map[backstay.InstanceID]*Custodian{}, map[backstay.InstanceID]engine.Findings{}
	if err := c.sweep(); err != nil {
		return err
	}
	records, err := c.read()
	if err != nil {
		return err
	}
	for _, r := range records {
		c.all[r.Kept.Instance] = newCustodian(c, r)
	}
	return nil
}

// Able is Unsupported if the engine's nodes cannot be backed up.
func (c *Custody) Able(name string) error {
	if _, ok := c.Engines[name].(engine.Archiver); !ok {
		return backstay.Errorf(backstay.Unsupported, "Instances of the engine %s cannot be backed up here.", name)
	}
	return nil
}

// Attend begins to look after the backups of an instance, nil if it is gone: who asks for them from now on is answered
// as for such a one. What it returns keeps the backups, until its context ends or there is nothing to keep any more. It
// does nothing if somebody does that already, who goes on with the source.
func (c *Custody) Attend(id backstay.InstanceID, s Source) (keep func(context.Context)) {
	if k := c.assign(id, s); k != nil {
		return k.run
	}
	return func(context.Context) {}
}

// assign gives the custodian of an instance its source, and returns it if nobody runs it.
func (c *Custody) assign(id backstay.InstanceID, s Source) *Custodian {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.all[id]
	if !ok {
		k = newCustodian(c, Record{Kept: backend.Backups{Instance: id}})
		c.all[id] = k
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.source = s; s == nil {
		k.source = gone{}
	}
	if k.attended {
		k.poke()
		return nil
	}
	k.attended = true
	return k
}

// Known lists the instances of which there are records.
func (c *Custody) Known() []backstay.InstanceID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.all))
}

// leave forgets a custodian that has nothing to keep any more, unless its instance has come back.
func (c *Custody) leave(k *Custodian) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.source.(gone); !ok {
		return false
	}
	delete(c.all, k.id)
	return true
}

func (c *Custody) find(id backstay.InstanceID) (*Custodian, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.all[id]
	return k, ok
}

// Backups tells what is kept of an instance. It is NotFound if nothing is, and no backups are to be taken.
func (c *Custody) Backups(id backstay.InstanceID) (backend.Backups, error) {
	if k, ok := c.find(id); ok {
		if kept, any := k.Backups(); any {
			return kept, nil
		}
	}
	return backend.Backups{}, backstay.Errorf(backstay.NotFound, "No backups are kept of the instance %s.", id)
}

// AllBackups lists Backups of all instances, by their ids.
func (c *Custody) AllBackups() []backend.Backups {
	all := []backend.Backups{}
	for _, id := range c.Known() {
		if kept, err := c.Backups(id); err == nil {
			all = append(all, kept)
		}
	}
	return all
}

// Reach is instance.Vault's.
func (c *Custody) Reach(
	ctx context.Context, o backend.Origin, without ...string,
) (p instance.RestorePoint, err error) {
	p.Repository = c.own().Of(o.Instance, o.Key)
	if c.Repository.IsZero() {
		return p, errNoRepository
	}
	kept, err := c.reachable(ctx, o)
	if err != nil {
		return p, err
	}
	kept.List = slices.DeleteFunc(kept.List, func(b backstay.Backup) bool { return slices.Contains(without, b.ID) })
	p.Point, err = backup.Reach(kept, o)
	p.Passed = backup.Passed(kept, o, p.Point)
	return p, err
}

// reachable is what is kept of the origin's instance, brought up to the moment that the origin means.
func (c *Custody) reachable(ctx context.Context, o backend.Origin) (backend.Backups, error) {
	k, ok := c.recorded(o)
	if !ok {
		return c.discover(ctx, o)
	}
	kept, _ := k.Backups()
	k.reads()
	if o.Alone || !o.At.IsZero() && k.hasArchived(o.At) {
		return kept, nil
	}
	if err := k.Flush(ctx, cmp.Or(o.At, c.Now())); err != nil {
		return kept, err
	}
	kept, _ = k.Backups()
	return kept, nil
}

// recorded returns the custodian of the origin's instance, if it knows of backups. Of an instance that is restored, the
// record has just been made anew.
func (c *Custody) recorded(o backend.Origin) (*Custodian, bool) {
	k, ok := c.find(o.Instance)
	if !ok {
		return nil, false
	}
	kept, any := k.Backups()
	return k, any && k.key() == o.Key && len(kept.List) > 0
}

// discover looks for backups of which there is no record in the repository: of an instance of another machine, or of
// one whose record is lost. Which engine has made them, the repository tells.
func (c *Custody) discover(ctx context.Context, o backend.Origin) (kept backend.Backups, err error) {
	for _, name := range slices.Sorted(maps.Keys(c.Engines)) {
		archiver, ok := c.Engines[name].(engine.Archiver)
		if !ok {
			continue
		}
		installed, err := c.Newest(ctx, name)
		if err != nil {
			return kept, err
		}
		if len(installed) == 0 {
			continue
		}
		list, reached, err := c.list(ctx, archiver, o, installed[0])
		if err == nil && len(list) > 0 {
			err = c.adopt(ctx)
		}
		if backstay.KindOf(err) == backstay.Unavailable || len(list) > 0 {
			kept := backend.Backups{Instance: o.Instance, Engine: name, List: list, Gaps: reached.Gaps}
			return c.judged(kept, reached.Until), err
		}
	}
	return kept, backstay.Errorf(backstay.NotFound, "No backups are kept of the instance %s.", o.Instance)
}

// list asks the repository what is there of an instance.
func (c *Custody) list(
	ctx context.Context, a engine.Archiver, o backend.Origin, i engine.Installation,
) (list []backstay.Backup, reached engine.Archived, err error) {
	n, leave, err := c.bare(Record{Kept: backend.Backups{Instance: o.Instance}, Installation: i})
	if err != nil {
		return nil, reached, err
	}
	defer leave()
	r := c.own().Of(o.Instance, o.Key)
	found, err := a.Backups(ctx, n, r)
	if err == nil {
		reached, err = reachedBy(ctx, a, n, r, found)
	}
	return merged(found, nil), reached, err
}

// judged adds to what is kept, without a record, what was found damaged of it.
func (c *Custody) judged(kept backend.Backups, archived time.Time) backend.Backups {
	c.mu.Lock()
	defer c.mu.Unlock()
	if before, ok := c.found[kept.Instance]; ok {
		judge(kept.List, before)
		kept.Gaps = slices.Concat(kept.Gaps, before.Lost)
	}
	kept.Earliest, kept.Latest = backup.Range(kept.List, kept.Gaps, archived)
	return kept
}

// BackUp is instance.Vault's.
func (c *Custody) BackUp(ctx context.Context, id backstay.InstanceID, n node.Node) error {
	k, ok := c.find(id)
	if !ok || !k.hasPolicy() {
		return nil
	}
	_, err := k.backUp(ctx, n.Node, waited)
	return err
}

// Forget removes all backups of an instance that is gone. An absent one is success.
func (c *Custody) Forget(ctx context.Context, id backstay.InstanceID) error {
	k, ok := c.find(id)
	if !ok {
		return nil
	}
	return k.Forget(ctx)
}

// ProveNow restores the newest backup of an instance to prove that it can be restored.
func (c *Custody) ProveNow(ctx context.Context, id backstay.InstanceID) (backend.Proof, error) {
	k, ok := c.find(id)
	if !ok {
		return backend.Proof{}, backstay.Errorf(backstay.NotFound, "No backups are kept of the instance %s.", id)
	}
	return k.Prove(ctx)
}

// Removed notes that nothing is left of an instance, whose backups were wanted so last; see [Custodian.Removed].
func (c *Custody) Removed(id backstay.InstanceID, wanted *backend.BackupPolicy) error {
	if k, ok := c.find(id); ok {
		return k.Removed(wanted)
	}
	return nil
}

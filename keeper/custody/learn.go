package custody

import (
	"context"
	"slices"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
)

// Learn makes the record of backups that lie in the repository and of which there is no record here, as on a new
// machine. A record that is there stays as it is. The caller then has somebody attend to the instance.
func (c *Custody) Learn(ctx context.Context, left backend.Legacy) error {
	if _, known := c.find(left.Instance); known {
		return nil
	}
	r := Record{Policy: left.Policy, Leaving: !left.Removed.IsZero(), Kept: backend.Backups{
		Instance: left.Instance, Engine: left.Engine, Version: left.Version, Removed: left.Removed, Until: left.Until,
	}}
	if err := c.fillFromRepository(ctx, &r); err != nil {
		return err
	}
	if err := c.save(r); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.all[left.Instance]; !known {
		k := newCustodian(c, r)
		k.read = c.Now() // somebody is about to
		c.all[left.Instance] = k
	}
	return nil
}

// fillFromRepository adds to a record what the repository tells. It is NotFound if there is no backup.
func (c *Custody) fillFromRepository(ctx context.Context, r *Record) error {
	if c.Repository.IsZero() {
		return errNoRepository
	}
	if err := c.Able(r.Kept.Engine); err != nil {
		return err
	}
	installed, err := c.Newest(ctx, r.Kept.Engine)
	if err != nil {
		return err
	}
	if len(installed) == 0 {
		return backstay.Errorf(backstay.Unavailable, "There is no %s on this machine.", r.Kept.Engine)
	}
	r.Installation = installed[0]
	archiver := c.Engines[r.Kept.Engine].(engine.Archiver) // Able has made sure of it
	o := backend.Origin{Instance: r.Kept.Instance, Key: r.Policy.Key}
	list, reached, err := c.list(ctx, archiver, o, r.Installation)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return backstay.Errorf(backstay.NotFound, "No backups are kept of the instance %s.", r.Kept.Instance)
	}
	if err := c.adopt(ctx); err != nil {
		return err
	}
	r.Kept.List, r.Kept.Gaps, r.Archived = list, reached.Gaps, reached.Until
	r.Kept.List[len(list)-1].Final = r.Leaving
	return nil
}

// reachedBy is what the repository says of the archive behind the backups that were found there. It reaches the end of
// the last one at least. Until is zero where there is no archive.
func reachedBy(
	ctx context.Context, a engine.Archiver, n engine.Node, r backstay.Repository, found []backstay.Backup,
) (reached engine.Archived, err error) {
	if len(found) == 0 || a.RestorePoints(n.Installation) != backstay.AnySecond {
		return reached, nil
	}
	if reached, err = a.Reached(ctx, n, r); err != nil {
		return reached, err
	}
	if last := found[len(found)-1].Ended; reached.Until.Before(last) {
		reached.Until = last
	}
	return reached, nil
}

// joined are the gaps that are known with those that are told of. Of such that begin at one moment, the longest stays.
func joined(known, told []backstay.Gap) []backstay.Gap {
	for _, g := range told {
		i := slices.IndexFunc(known, func(k backstay.Gap) bool { return k.From.Equal(g.From) })
		switch {
		case i < 0:
			known = append(known, g)
		case known[i].Until.Before(g.Until):
			known[i] = g
		}
	}
	return known
}

// recall asks the repository for the backups of an instance that is gone, if its record knows of none: the record may
// have been lost, or made anew since.
func (k *Custodian) recall(ctx context.Context) error {
	if k.c.Repository.IsZero() || len(k.kept().List) > 0 {
		return nil
	}
	end, err := k.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	n, leave, err := k.bare()
	if err != nil {
		return err
	}
	defer leave()
	if n.Installation.Product == "" { // the instance was never started here
		installed, err := k.c.Newest(ctx, k.kept().Engine)
		if err != nil || len(installed) == 0 {
			return err
		}
		n.Installation = installed[0]
	}
	return k.know(ctx, n)
}

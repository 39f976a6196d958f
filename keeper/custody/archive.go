package custody

import (
	"cmp"
	"context"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper/node"
)

// archive brings the archive of an instance that serves up to now.
func (k *Custodian) archive(ctx context.Context, age time.Duration) error {
	before := k.sight()
	end, err := k.begin(ctx)
	if err == nil {
		defer end()
		s := k.sight() // by now: what it served from may have been left meanwhile
		if !s.Serves {
			return nil
		}
		err = k.archiveOf(ctx, s.Node, age, time.Time{})
	}
	k.noteArchive(ctx, before, err)
	return err
}

// archiveEnd brings what a node has logged that has ended into the archive. Over is engine.Archiver's.
func (k *Custodian) archiveEnd(ctx context.Context, n engine.Node, over time.Time) error {
	before := k.sight()
	end, err := k.begin(ctx)
	if err == nil {
		defer end()
		err = k.archiveOf(ctx, n, 0, over)
	}
	k.noteArchive(ctx, before, err)
	return err
}

// archiveOf archives a node. The caller is the one who changes the repository.
func (k *Custodian) archiveOf(ctx context.Context, n engine.Node, age time.Duration, over time.Time) error {
	err := k.know(ctx, n)
	if err == nil {
		err = step.Run(ctx, k.archiveSteps(n, age, over)...)
	}
	return err
}

func (k *Custodian) noteArchive(ctx context.Context, before Sight, err error) {
	if !k.isInterrupted(before, err) {
		k.note(ctx, toArchive, 0, err)
	}
}

// whileArchiving does what may take hours, and goes on archiving meanwhile. The caller is the one who changes the
// repository.
func (k *Custodian) whileArchiving(ctx context.Context, n engine.Node, do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	tick := time.NewTicker(archiveEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
		}
		if !k.mayTry(toArchive) {
			continue
		}
		before := k.sight()
		if err := step.Run(ctx, k.archiveSteps(n, archiveAge, time.Time{})...); !k.isInterrupted(before, err) {
			k.note(ctx, toArchive, 0, err)
		}
	}
}

func (k *Custodian) archiveSteps(n engine.Node, age time.Duration, over time.Time) []step.Step {
	return []step.Step{{Name: "custody.archived", Do: func(ctx context.Context) error {
		a, err := k.archiver().Archive(ctx, n, k.repository(), age, over)
		if err != nil {
			return err
		}
		k.mu.Lock()
		a.Until = cmp.Or(a.Until, k.record.Archived) // who goes on with another's archive says nothing at first
		idle := len(a.Gaps) == 0 && k.stored && k.c.Now().Sub(k.saved) < saveEvery
		if idle {
			k.record.Archived = a.Until
		}
		k.mu.Unlock()
		if idle {
			return nil
		}
		return k.amend(func(r *Record) {
			r.Archived = a.Until
			r.Kept.Gaps = joined(r.Kept.Gaps, a.Gaps)
		})
	}}}
}

// Flush brings the archive of an instance that serves up to a moment that is past, if there is an archive.
func (k *Custodian) Flush(ctx context.Context, to time.Time) error {
	s := k.sight()
	if s.Gone || !s.Serves {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, flushPatience)
	defer cancel()
	err := wait.Until(limited, wait.Every(flushPause), func() (again bool, err error) {
		if err := k.archive(limited, 0); err != nil {
			return false, err
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		return !k.record.Archived.IsZero() && k.record.Archived.Before(to), nil
	})
	if ctx.Err() == nil && limited.Err() != nil { // how far it has come, is told with what can be restored
		return nil
	}
	return err
}

// hasArchived tells whether the archive reaches a moment.
func (k *Custodian) hasArchived(moment time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.record.Archived.Before(moment)
}

// How long the archive may take to come up to now, and how often it is tried: the server hands over what it has logged
// a moment after it was asked to.
const (
	flushPatience = 30 * time.Second
	flushPause    = 100 * time.Millisecond
)

// Ended is instance.Vault's.
func (c *Custody) Ended(ctx context.Context, id backstay.InstanceID, n node.Node, over time.Time) error {
	k, ok := c.find(id)
	if !ok || !k.hasPolicy() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, endPatience)
	defer cancel()
	return k.archiveEnd(ctx, n.Node, over)
}

// endPatience is how long the archive of an instance that is going may keep it from that.
const endPatience = 30 * time.Second

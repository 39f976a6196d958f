package keeper

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/keeper/node"
)

// stopAll ends all engines in an orderly way, and then the keeper. What they have logged goes into their archives: who
// stops a machine may not start it again.
func (k *Keeper) stopAll() error {
	k.refuseMore()
	defer k.stop(errStop) // last, so that who asked is answered
	k.endLife()
	k.running.Wait()
	var all errgroup.Group
	archiving := semaphore.NewWeighted(archiveAtOnce)
	for _, in := range k.all() {
		all.Go(func() error {
			stopped, err := in.Stop()
			if stopped && err == nil {
				k.archiveEnd(in, archiving)
			}
			return err
		})
	}
	return errors.Join(all.Wait(), k.unmountAll())
}

// How long the archive of an engine that has ended may keep us, with the wait for its turn, and how many are written at
// once.
const (
	stopPatience  = 10 * time.Second
	archiveAtOnce = 8
)

// archiveEnd brings what an engine has logged until its end into the archive. What does not get there in time, as where
// the repository is away, waits on the volume for the next keeper. It begins with the next whole second: only those can
// be restored, and before, nobody may say that nothing is committed in that one any more.
func (k *Keeper) archiveEnd(in *instance.Instance, turns *semaphore.Weighted) {
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	if in.Record().Spec.Backup == nil {
		return
	}
	err := wait.Pause(ctx, time.Until(engine.WholeSecond(time.Now())))
	var n node.Node
	if err == nil {
		n, err = in.Node()
	}
	if err == nil {
		err = turns.Acquire(ctx, 1)
	}
	if err == nil {
		defer turns.Release(1)
		err = k.custody.Ended(ctx, in.ID, n, time.Time{})
	}
	if err != nil {
		k.Log.Warn("what was logged last is not in the archive", "instance", in.ID, "error", err)
	}
}

// unmountAll unmounts all volumes, whose engines have ended.
func (k *Keeper) unmountAll() error {
	var failed error
	for _, d := range k.machine.Disks.All() {
		found, err := d.Images().Found()
		for _, id := range found {
			err = errors.Join(err, d.Images().Unmount(context.Background(), id))
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

// StopEngines ends the engines of a data directory that have lost their keeper, and returns how many
// they were. It is ErrKept if they have one: then that is to be asked.
func StopEngines(dataDir string, engines map[string]engine.Engine) (count int, err error) {
	c := Config{DataDir: dataDir, Engines: engines, Log: slog.New(slog.DiscardHandler)}
	if _, err := os.Stat(c.recordsDir()); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	unlock, err := c.lock()
	if err != nil {
		return 0, err
	}
	defer unlock()
	k := newKeeper(c)
	records, err := k.machine.Records.Load()
	if err != nil {
		return 0, err
	}
	for _, r := range records {
		stopped, err := instance.New(k.machine, r).Stop()
		if stopped {
			count++
		}
		if err != nil {
			return count, err
		}
	}
	return count, errors.Join(k.machine.SweepProof(), k.awaitMakers(), k.unmountAll())
}

// awaitMakers waits for what still makes a golden directory for a keeper that is gone.
func (k *Keeper) awaitMakers() error {
	for name := range k.Engines {
		cache, err := k.machine.CacheDir(name)
		if err == nil {
			err = datadir.Await(cache)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

package keeper

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/volume"
)

// stopAll ends all engines in an orderly way, and then the keeper.
func (k *Keeper) stopAll() error {
	k.refuseMore()
	defer k.stop(errStop) // last, so that who asked is answered
	k.endLife()
	k.running.Wait()
	var all errgroup.Group
	for _, in := range k.all() {
		all.Go(func() error {
			_, err := in.Stop()
			return err
		})
	}
	return errors.Join(all.Wait(), k.unmountAll())
}

// unmountAll unmounts all volumes, whose engines have ended.
func (k *Keeper) unmountAll() error {
	pool := k.machine.Pools[volume.Image]
	found, err := pool.Found()
	for _, id := range found {
		err = errors.Join(err, pool.Unmount(context.Background(), id))
	}
	return err
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

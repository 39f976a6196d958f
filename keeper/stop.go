package keeper

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
)

// killGrace is how long the kernel may take to end what was killed.
const killGrace = 20 * time.Second

// stopAll ends all engines in an orderly way, and then the keeper.
func (k *Keeper) stopAll() error {
	k.mu.Lock()
	k.stopping = true // no supervisor begins any more
	k.mu.Unlock()
	defer k.stop(errStop) // last, so that who asked is answered
	k.endLife()
	k.running.Wait()
	var all errgroup.Group
	for _, s := range k.supervisors {
		all.Go(func() error {
			if err := s.stopNode(); err != nil {
				return fmt.Errorf("stop instance %s: %w", s.id, err)
			}
			return nil
		})
	}
	return all.Wait()
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
	records, err := c.load()
	if err != nil {
		return 0, err
	}
	k := &Keeper{Config: c}
	for _, r := range records {
		s := newSupervisor(k, r)
		p, err := s.find()
		if err == nil && p != nil {
			count++
			err = errors.Join(s.end(p), p.Close())
		}
		if err != nil {
			return count, fmt.Errorf("stop instance %s: %w", s.id, err)
		}
	}
	return count, k.awaitMakers()
}

// awaitMakers waits for what still makes a golden directory for a keeper that is gone.
func (k *Keeper) awaitMakers() error {
	for name := range k.Engines {
		cache, err := k.cacheDir(name)
		if err == nil {
			err = datadir.Await(cache)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

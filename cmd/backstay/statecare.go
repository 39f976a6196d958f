package main

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper"
)

// upgradePatience is how long an upgrade of our own database may take. Whoever starts this program again then waits on.
const upgradePatience = 10 * time.Minute

// upgradeState brings our own database to the newest version that is installed and does not end its backups, in the
// way in which any instance is upgraded: on a copy, with the data before kept for a week. Where that cannot be, it goes
// on as it is, and says why.
func (p *platform) upgradeState(ctx context.Context, instances *local.Backend) error {
	spec, err := keeper.Wanted(string(p.cfg.data), p.Keys.Records, stateInstance)
	if err != nil {
		return err
	}
	inventory, err := instances.Inventory(ctx)
	if err != nil {
		return err
	}
	next, ok := nextStateVersion(inventory, spec.Version)
	if newest, _ := stateVersion(inventory, ""); newest.Version != next.Version {
		p.log.Warn("the state database goes to no version that cannot be backed up here", "version", newest.Version)
	}
	status, err := instances.Await(ctx, stateInstance, 0)
	if err != nil || !ok || next.Version == spec.Version && status.Obstacle.Generation != spec.Generation {
		return err
	}
	from := spec.Version
	spec.Version, spec.Build, spec.Generation = next.Version, "", spec.Generation+1
	if err := instances.Admit(ctx, spec); err != nil {
		p.log.Warn("the state database is not upgraded, and goes on as it is", "from", from, "to", spec.Version,
			"reason", backstay.SentenceOf(err))
		return nil
	}
	p.log.Info("the state database is upgraded", "from", from, "to", spec.Version)
	if err := instances.Apply(ctx, spec); err != nil {
		return err
	}
	return p.awaitUpgrade(ctx, instances, spec.Generation)
}

// nextStateVersion is the newest version that our own database can go to from another, which may be that, or begin
// with, where from is empty. What is backed up, and what begins, goes to none that would end that: who restores the
// platform has nothing else.
func nextStateVersion(inventory backend.Inventory, from string) (backend.EngineVersion, bool) {
	kept := func(e backend.EngineVersion) bool { return e.RestorePoints != backstay.NoRestorePoints }
	current, ok := stateVersion(inventory, from)
	for _, e := range inventory.Engines { // newest first
		if e.Engine == stateEngine && (e.Version == from || kept(e) || from != "" && !kept(current)) {
			return e, true
		}
	}
	return current, ok
}

// awaitUpgrade returns when our own database serves in the wanted version, or when it is given up and serves as before.
func (p *platform) awaitUpgrade(ctx context.Context, instances *local.Backend, generation int64) error {
	ctx, cancel := context.WithTimeout(ctx, upgradePatience)
	defer cancel()
	var last backend.Status
	for {
		s, err := instances.Await(ctx, stateInstance, last.Revision)
		if err != nil {
			return err
		}
		if s.Message != last.Message {
			p.log.Info("the state database", "says", s.Message)
		}
		last = s
		obstacle := s.Obstacle.Generation == generation && s.Obstacle.Final
		if obstacle {
			p.log.Error("the state database could not be upgraded, and goes on as it was", "reason", s.Obstacle.Sentence)
		}
		if obstacle || s.Generation >= generation && s.Phase == backend.Running {
			return nil
		}
	}
}

// statePolicy is when our own database is backed up, and with which key: one that is made of what it is sealed with,
// which the recovery note in the repository tells to whoever has the sealing key.
func statePolicy(key seal.Key) *backend.BackupPolicy {
	return &backend.BackupPolicy{
		Window: "02:00-02:30", Days: 7, Final: 35, Key: key.Derive("repository of the platform"),
	}
}

// firstBackup is how long after the first start our own database is backed up for the first time: whoever has just
// begun has nothing to lose yet, and is not to wait for it.
const firstBackup = time.Minute

// protectState has our own database backed up each night, and archived in between. One that an operator has brought is
// theirs to back up.
func (p *platform) protectState(ctx context.Context) error {
	if p.cfg.Database != "" {
		return nil
	}
	instances := p.launcher.Backend
	spec, err := keeper.Wanted(string(p.cfg.data), p.Keys.Records, stateInstance)
	if err == nil && spec.Backup == nil && wait.Pause(ctx, firstBackup) != nil {
		return nil // serve ends
	}
	if err == nil {
		err = stateCanBeBackedUp(ctx, instances, spec.Version)
	}
	if err == nil {
		_, err = changeState(ctx, p.cfg.data, p.Keys, instances, func(s *backend.Spec) {
			s.Backup = statePolicy(p.Keys.State)
		})
	}
	if err != nil && ctx.Err() == nil {
		p.log.Error("the state database is not backed up", "error", err)
	}
	return nil // it serves on
}

// stateCanBeBackedUp is Unsupported where the machine lacks what that takes, for our own database of a version.
func stateCanBeBackedUp(ctx context.Context, instances *local.Backend, version string) error {
	inventory, err := instances.Inventory(ctx)
	if err != nil {
		return err
	}
	if e, ok := stateVersion(inventory, version); ok && e.RestorePoints == backstay.NoRestorePoints {
		return backstay.Errorf(backstay.Unsupported, "PostgreSQL %s, of which the state database is, cannot be backed up "+
			"on this machine for want of a pgBackRest that knows it: backstay doctor says which does.", version)
	}
	return nil
}

// changeState changes what is wanted of our own database, where that makes a difference.
// It returns what is wanted then.
func changeState(
	ctx context.Context, dir dataDir, keys seal.Ring, instances *local.Backend, change func(*backend.Spec),
) (backend.Spec, error) {
	spec, err := keeper.Wanted(string(dir), keys.Records, stateInstance)
	if err != nil {
		return spec, fmt.Errorf("read what is wanted of the state database: %w", err)
	}
	wanted := spec
	change(&wanted)
	if reflect.DeepEqual(spec, wanted) {
		return spec, nil
	}
	wanted.Generation++
	return wanted, instances.Apply(ctx, wanted)
}

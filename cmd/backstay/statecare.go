package main

import (
	"context"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/keeper"
)

// upgradePatience is how long an upgrade of our own database may take. Whoever starts this program again then waits on.
const upgradePatience = 10 * time.Minute

// upgradeState brings our own database to the newest version that is installed, in the way in which any instance is
// upgraded: on a copy, with the data before kept for a week. Where that cannot be, it goes on as it is, and says why.
func (p *platform) upgradeState(ctx context.Context, instances *local.Backend) error {
	spec, err := keeper.Wanted(string(p.cfg.data), stateInstance)
	if err != nil {
		return err
	}
	inventory, err := instances.Inventory(ctx)
	if err != nil {
		return err
	}
	newest, ok := stateVersion(inventory, "")
	status, err := instances.Await(ctx, stateInstance, 0)
	if err != nil || !ok || newest.Version == spec.Version && status.Obstacle.Generation != spec.Generation {
		return err
	}
	from := spec.Version
	spec.Version, spec.Build, spec.Generation = newest.Version, "", spec.Generation+1
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

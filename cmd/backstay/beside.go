package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/state"
)

// beside accepts what an operator asks for beside the control plane that runs, which then carries it out.
type beside struct {
	*cli
	store  *state.Store
	places places
	broker *broker.Broker
	market *market.Market
	actor  backstay.Actor
}

func (c *cli) openBeside(ctx context.Context, cfg *config) (*beside, error) {
	catalog, err := cfg.loadCatalog()
	if err != nil {
		return nil, err
	}
	_, keys, err := cfg.openKeys(ctx)
	if err != nil {
		return nil, err
	}
	store, err := c.openRunning(ctx, cfg)
	if err != nil {
		return nil, err
	}
	instances, log := local.New(cfg.data.keeperSocket()), slog.New(slog.NewTextHandler(c.stderr, nil))
	all, cluster := c.places(ctx, cfg)
	own := &broker.Broker{Store: store.Broker(),
		Backends: withCluster(map[string]backend.Backend{broker.Local: instances}, cluster), Offered: catalog,
		Key: keys.State, Now: time.Now, Log: log}
	b := &beside{cli: c, store: store, places: all, broker: own,
		actor: operator()}
	b.market = &market.Market{
		Store: store, Brokers: market.Brokers{ownBroker.ID: own}, Key: keys.State, Log: log,
		Open: cfg.registered().Open, CopyFreely: true,
	}
	b.actor.Role = backstay.Administrator
	return b, nil
}

// await returns when a job on an instance has ended, and says meanwhile how it comes along. When we are told to end, it
// is done all the same.
func (b *beside) await(ctx context.Context, job backstay.Job, say func(string)) error {
	said := ""
	for {
		now, err := b.market.AwaitJob(ctx, job.ID, time.Second)
		switch {
		case err != nil:
			return err
		case now.State == backstay.JobComplete:
			return nil
		case now.State == backstay.JobFailed:
			return backstay.Errorf(now.Kind, "%s", now.Sentence)
		case ctx.Err() != nil:
			return ctx.Err()
		}
		in, err := b.store.Instances(ctx, market.InstanceFilter{IDs: []backstay.InstanceID{
			backstay.InstanceID(job.Resource),
		}})
		if err == nil && len(in.Items) > 0 && in.Items[0].LastOperation.Description != said {
			said = in.Items[0].LastOperation.Description
			say(said)
		}
	}
}

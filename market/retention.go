package market

import (
	"context"
	"time"
)

// Retention is how long the market remembers what has happened.
type Retention struct {
	Events time.Duration // audit events
	Usage  time.Duration // usage events, as far as they tell nothing of what there still was then
	Jobs   time.Duration // jobs that have ended
}

// Day is how long retention counts a day.
const Day = 24 * time.Hour

// DefaultRetention is as long as Cloud Foundry keeps audit events and jobs; usage can be billed for a whole year
// that has just ended.
var DefaultRetention = Retention{Events: 31 * Day, Usage: 400 * Day, Jobs: 90 * Day}

const (
	forgetEvery = time.Hour
	forgetBatch = 1000 // what one transaction removes: so little that nobody waits for it
)

// ForgetRegularly removes what is too old, at once and then every hour, until ctx ends.
func (m *Market) ForgetRegularly(ctx context.Context, r Retention) error {
	tick := time.NewTicker(forgetEvery)
	defer tick.Stop()
	for {
		if err := m.Forget(ctx, r, m.now()); err != nil && ctx.Err() == nil {
			m.Log.Warn("old events and jobs were not removed; this is tried again", "in", forgetEvery, "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Forget removes what is too old at that time.
func (m *Market) Forget(ctx context.Context, r Retention, now time.Time) error {
	if err := forget(ctx, m.Store.RemoveEvents, now.Add(-r.Events)); err != nil {
		return err
	}
	if err := forget(ctx, m.Store.RemoveUsage, now.Add(-r.Usage)); err != nil {
		return err
	}
	return forget(ctx, m.Store.RemoveJobs, now.Add(-r.Jobs))
}

func forget(ctx context.Context, remove func(context.Context, time.Time, int) (int, error), before time.Time) error {
	for {
		if removed, err := remove(ctx, before, forgetBatch); err != nil || removed < forgetBatch {
			return err
		}
	}
}

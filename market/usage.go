package market

import (
	"context"
	"time"

	"github.com/backstay/backstay"
)

// UsageEvents lists the usage events. Only those who see everything see any.
func (m *Market) UsageEvents(
	ctx context.Context, actor backstay.Actor, f UsageFilter,
) (List[backstay.UsageEvent], error) {
	if viewer(actor) != nil {
		return List[backstay.UsageEvent]{}, nil
	}
	return m.Store.UsageEvents(ctx, f)
}

// UsageEvent returns one usage event.
func (m *Market) UsageEvent(
	ctx context.Context, actor backstay.Actor, id backstay.UsageEventID,
) (backstay.UsageEvent, error) {
	l, err := m.UsageEvents(ctx, actor, UsageFilter{IDs: []backstay.UsageEventID{id}})
	return single(l, err, "Service usage event")
}

// ReseedUsage removes all usage events, and records each instance that there is as created now.
func (m *Market) ReseedUsage(ctx context.Context, actor backstay.Actor) error {
	if err := m.permit(ctx, actor, place{}, Administrators); err != nil {
		return err
	}
	return m.Store.ReseedUsage(
		ctx,
		newEvent(actor, "service_usage_event.purge_and_reseed", backstay.Target{Type: "service_usage_event"},
			place{}, nil),
	)
}

// Usage returns what the instances in use from one moment until another cost. It is Invalid if usage is not known
// since that moment: a bill with gaps would look like any other.
func Usage(ctx context.Context, s UsageStore, from, until time.Time) ([]Charge, error) {
	events, err := s.UsageBetween(ctx, from, until)
	if err != nil {
		return nil, err
	}
	// Asked for last, so that nothing of what was read above can have been removed before.
	known, err := s.UsageHorizon(ctx)
	if err != nil {
		return nil, err
	}
	if from.Before(known) {
		return nil, backstay.Errorf(backstay.Invalid, "Usage is known without gaps since %s, not since %s.",
			ceilSecond(known).UTC().Format(time.RFC3339), from.UTC().Format(time.RFC3339))
	}
	return Bill(events, from, until), nil
}

func ceilSecond(t time.Time) time.Time {
	if whole := t.Truncate(time.Second); whole.Before(t) {
		return whole.Add(time.Second)
	}
	return t
}

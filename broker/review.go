package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/backstay/backstay"
)

// reviewEvery is how many looks at the maintenance windows there are for each review of what waits for them.
const reviewEvery = 12

// keepWindows returns a look at the maintenance windows: it does what is due, and now and then reviews what is not yet.
// One goroutine does both, so that nothing is reviewed that is just being begun.
func (b *Broker) keepWindows() func(context.Context) error {
	looks := 0
	return func(ctx context.Context) error {
		err := b.Maintain(ctx)
		if looks++; looks%reviewEvery == 1 {
			err = errors.Join(err, b.ReviewQueue(ctx))
		}
		return err
	}
}

// ReviewQueue sees whether the changes that wait for maintenance windows could be made now. Of one that could not, it
// notes the reason, which users are told. What is refused for the same reason once more, because it is not sold any
// more or not to be had here, does not wait any longer: it ends as failed. What may come true until the window stays.
func (b *Broker) ReviewQueue(ctx context.Context) error {
	scheduled, err := b.Store.Schedule(ctx)
	if err != nil {
		return err
	}
	var failures []error
	for _, s := range scheduled {
		if s.Pending.ID == "" || s.Busy {
			continue
		}
		if err := b.review(ctx, s); err != nil && backstay.KindOf(err) != backstay.Busy {
			failures = append(failures, fmt.Errorf("review what waits for the window of instance %s: %w", s.ID, err))
		}
	}
	return errors.Join(failures...)
}

func (b *Broker) review(ctx context.Context, s Scheduled) error {
	in, err := b.Store.Instance(ctx, s.ID)
	if err != nil || in.Pending.ID != s.Pending.ID || in.Busy {
		return absentIsFine(err)
	}
	c, err := b.agreeOnPending(ctx, in)
	if err == nil {
		err = b.admitChange(ctx, in, c)
	}
	reason := ""
	if err != nil {
		reason = backstay.SentenceOf(err)
	}
	switch {
	case isRefusal(err) && in.Pending.Reason == reason:
		pending, err := b.toldPending(in)
		if err != nil {
			return err
		}
		return b.Store.FailOperation(ctx, in.Pending.ID, fmt.Sprintf(
			"What waited for the maintenance window (%s) is not to be had any more, and waits no longer: %s",
			pending.what(), reason))
	case err != nil && !isRefusal(err) && backstay.KindOf(err) != backstay.Unavailable:
		return err
	case in.Pending.wasTried() && !isRefusal(err): // why it was not done in its window is told until the next one
		return nil
	}
	return b.Store.RemarkOperation(ctx, in.Pending.ID, reason)
}

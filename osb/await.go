package osb

import (
	"context"
	"time"

	"github.com/backstay/backstay"
)

// AwaitOperation polls until an operation on an instance is told of otherwise than in seen.
func (c *Client) AwaitOperation(
	ctx context.Context, r backstay.LastOperationRequest, seen backstay.Operation,
) (backstay.Operation, error) {
	return c.await(ctx, seen, func() (backstay.Operation, error) { return c.LastOperation(ctx, r) })
}

// AwaitBindingOperation polls until an operation on a binding is told of otherwise than in seen.
func (c *Client) AwaitBindingOperation(
	ctx context.Context, r backstay.LastBindingOperationRequest, seen backstay.Operation,
) (backstay.Operation, error) {
	return c.await(ctx, seen, func() (backstay.Operation, error) { return c.LastBindingOperation(ctx, r) })
}

// goneOften is how often a broker that was asked to make or to change something must say that it is gone before that is
// believed: said once, it is an answer that makes no sense, and the platform is to go on polling.
const goneOften = 3

// await polls with pauses that double, or as long as the broker wants. Failures of the broker do not end it.
func (c *Client) await(
	ctx context.Context, seen backstay.Operation, ask func() (backstay.Operation, error),
) (backstay.Operation, error) {
	gone, mayBeGone := 0, seen.Type != backstay.Create && seen.Type != backstay.Update
	pause, wanted := c.firstPause(), seen.RetryAfter
	for {
		if err := sleep(ctx, max(pause, wanted)); err != nil {
			return seen, err
		}
		pause = min(2*pause, c.longestPause())
		op, err := ask()
		wanted = op.RetryAfter
		switch {
		case ctx.Err() != nil:
			return seen, context.Cause(ctx)
		case backstay.KindOf(err) == backstay.NotFound:
			if gone++; mayBeGone || gone >= goneOften {
				return op, err
			}
		case err == nil && (op.State != seen.State || op.Description != seen.Description):
			return op, nil
		default:
			gone = 0
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

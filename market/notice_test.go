package market_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
)

// frank is a broker that did not do quite what it was asked for, and says so.
type frank struct{ *listener }

const older = "The backup of yesterday is damaged. That of the day before is restored instead."

func (f frank) LastOperation(
	ctx context.Context, r backstay.LastOperationRequest,
) (backstay.Operation, error) {
	op, err := f.listener.LastOperation(ctx, r)
	if op.State == backstay.Succeeded {
		op.Notice = older
	}
	return op, err
}

func (f frank) AwaitOperation(
	ctx context.Context, r backstay.LastOperationRequest, seen backstay.Operation,
) (backstay.Operation, error) {
	if _, err := f.listener.AwaitOperation(ctx, r, seen); err != nil {
		return backstay.Operation{}, err
	}
	return f.LastOperation(ctx, r)
}

// TestANoticeIsAnEvent, of the operation that it is about, and of no other one.
func TestANoticeIsAnEvent(t *testing.T) {
	t.Parallel()
	b := newListener()
	f := newFloorOf(t, markettest.NewWith(t, frank{b}), b)
	id := f.create(t, "db")
	l, err := f.Events(t.Context(), markettest.Admin, market.EventFilter{
		TargetIDs: []string{string(id)}, Types: []string{"audit.service_instance.notice"},
	})
	must(t, err)
	if len(l.Items) != 1 {
		t.Fatalf("there are %d events", len(l.Items))
	}
	var says struct{ Operation, Reason string }
	must(t, json.Unmarshal(l.Items[0].Data, &says))
	if e := l.Items[0]; says.Operation != "create" || says.Reason != older || !e.Actor.Broker || e.SpaceID != f.spaces[0].ID {
		t.Errorf("it is recorded as %+v with %s", e, e.Data)
	}
}

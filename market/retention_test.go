package market_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
)

// on is a clock that is so many days ahead.
func on(day int) func() time.Time {
	return func() time.Time { return time.Now().Add(time.Duration(day) * market.Day) }
}

// TestEventsAreKeptForAMonth lives through one: a day before its end all is there, a day after
// nothing.
func TestEventsAreKeptForAMonth(t *testing.T) {
	t.Parallel()
	m := &market.Market{Store: markettest.OpenStore(t), Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: on(32)}
	const many = 2500 // more than two batches
	for range many {
		if err := m.Store.RecordEvent(t.Context(), backstay.Event{
			ID: backstay.EventID(uuid.NewString()), Type: "audit.test",
		}); err != nil {
			t.Fatal(err)
		}
	}
	count := func() int {
		l, err := m.Events(t.Context(), markettest.Admin, market.EventFilter{})
		if err != nil {
			t.Fatal(err)
		}
		return len(l.Items)
	}
	if err := m.Forget(t.Context(), market.DefaultRetention, on(30)()); err != nil {
		t.Fatal(err)
	}
	if got := count(); got != many {
		t.Errorf("on day 30, %d events are left; want %d", got, many)
	}
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error)
	go func() { stopped <- m.ForgetRegularly(ctx, market.DefaultRetention) }()
	deadline := time.Now().Add(time.Minute)
	for count() > 0 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if got := count(); got != 0 {
		t.Errorf("on day 32, %d events are left", got)
	}
	stop()
	if err := <-stopped; !errors.Is(err, context.Canceled) {
		t.Errorf("told to stop, it says %v", err)
	}
}

package market_test

import (
	"os"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// TestEventsAreKeptForAMonth lives through one: a day before its end all is there, a day after
// nothing.
func TestEventsAreKeptForAMonth(t *testing.T) {
	t.Parallel()
	m := &market.Market{Store: markettest.OpenStore(t)}
	const many = 2500 // more than two batches
	for range many {
		if err := m.Store.RecordEvent(t.Context(), backstay.Event{ID: backstay.EventID(uuid.NewString()), Type: "audit.test"}); err != nil {
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
	for _, c := range []struct{ day, left int }{{30, many}, {32, 0}} {
		if err := m.Forget(t.Context(), market.DefaultRetention, time.Now().Add(time.Duration(c.day)*market.Day)); err != nil {
			t.Fatal(err)
		}
		if got := count(); got != c.left {
			t.Errorf("on day %d, %d events are left; want %d", c.day, got, c.left)
		}
	}
}

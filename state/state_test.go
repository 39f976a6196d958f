package state_test

import (
	"os"
	"testing"

	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

func TestMarketStore(t *testing.T) {
	t.Parallel()
	markettest.RunStore(t, func(t testing.TB) market.Store { return markettest.OpenStore(t) })
}

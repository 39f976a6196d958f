package state_test

import (
	"testing"

	"github.com/backstay/backstay/market/markettest"
	"github.com/backstay/backstay/uaa"
	"github.com/backstay/backstay/uaa/uaatest"
)

func TestUAAStore(t *testing.T) {
	t.Parallel()
	uaatest.RunStore(t, func(t testing.TB) uaa.Store { return markettest.OpenStore(t) })
}

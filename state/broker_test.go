package state_test

import (
	"testing"

	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/market/markettest"
)

func TestBrokerStore(t *testing.T) {
	t.Parallel()
	brokertest.RunStore(t, func(t testing.TB) broker.Store { return markettest.OpenStore(t).Broker() })
}

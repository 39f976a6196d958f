package brokertest_test

import (
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/brokertest"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	brokertest.Run(t, func(testing.TB) backstay.Broker { return brokertest.NewMemory() })
}

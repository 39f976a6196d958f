package osb_test

import (
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/osb/osbtest"
)

// TestBackToBack runs the contract of brokers on the client and the handler, as one broker.
func TestBackToBack(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*brokertest.Memory){
		"as ours is": func(*brokertest.Memory) {},
		"whole":      func(m *brokertest.Memory) { m.Updateable, m.AsyncBindings = true, true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			brokertest.Run(t, func(t testing.TB) backstay.Broker {
				m := brokertest.NewMemory()
				set(m)
				return osbtest.Serve(t, m)
			})
		})
	}
}

package tenant_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/broker/terms"
)

// cloner is a broker that shows what it is asked to begin with, by refusing it.
type cloner struct {
	*brokertest.Memory
	asked json.RawMessage
}

func (*cloner) RenameSources(
	parameters json.RawMessage, rename func(backstay.InstanceID) backstay.InstanceID,
) json.RawMessage {
	return terms.RenameSources(parameters, rename)
}

func (c *cloner) AdmitProvision(_ context.Context, r backstay.ProvisionRequest) error {
	c.asked = r.Parameters
	return backstay.Errorf(backstay.Invalid, "%s", r.Parameters)
}

// TestSourcesAreTheClientsOwn: the broker looks for what a client names by its own id, and says it in the client's words.
// A name that can be no id of that platform comes to it as it is.
func TestSourcesAreTheClientsOwn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	broker := &cloner{Memory: h.memory}
	h.Broker = broker
	a := h.client(t, "a", 10)
	const guid = "7f0c5e43-0000-4000-8000-00000000000a"
	for _, c := range []struct {
		platform, named, told string
		known                 bool // by another id to the broker
	}{
		{"cloudfoundry", guid, guid, true}, {"cloudfoundry", strings.ToUpper(guid), guid, true},
		{"cloudfoundry", "my-redis", "my-redis", false}, {"kubernetes", "my-redis", "my-redis", true},
	} {
		r := brokertest.NewRequest(t, a)
		r.InstanceID, r.Context.Platform = backstay.InstanceID(uuid.NewString()), c.platform
		r.Parameters = json.RawMessage(`{"clone_of":"` + c.named + `"}`)
		_, err := a.Provision(t.Context(), r)
		if said := backstay.SentenceOf(err); !strings.Contains(said, `"clone_of":"`+c.told+`"`) {
			t.Errorf("%s of %s is refused with %q", c.named, c.platform, said)
		}
		if as := string(broker.asked); strings.Contains(as, c.told) == c.known {
			t.Errorf("%s of %s comes to the broker as %s", c.named, c.platform, as)
		}
	}
}

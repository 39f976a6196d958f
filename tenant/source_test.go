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
	asked  json.RawMessage
	copyOf backstay.InstanceID
}

func (*cloner) Source(_ context.Context, parameters json.RawMessage) (backstay.Source, error) {
	id, err := terms.SourceOf(parameters)
	return backstay.Source{InstanceID: id, Context: backstay.Context{SpaceID: "the broker's"}}, err
}

func (*cloner) RenameSources(
	parameters json.RawMessage, rename func(backstay.InstanceID) backstay.InstanceID,
) json.RawMessage {
	return terms.RenameSources(parameters, rename)
}

func (c *cloner) AdmitProvision(_ context.Context, r backstay.ProvisionRequest) error {
	c.asked, c.copyOf = r.Parameters, r.CopyOf
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

// TestAClientVouchesForItsOwn: whatever a client says that somebody has consented to, it is an instance of its own, the
// one that its parameters name.
func TestAClientVouchesForItsOwn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	broker := &cloner{Memory: h.memory}
	h.Broker = broker
	const guid = "7f0c5e43-0000-4000-8000-00000000000a"
	ids := map[backstay.InstanceID]bool{guid: true} // as another client, or the market here, has it
	for _, name := range []string{"a", "b"} {
		c := h.client(t, name, 10)
		for _, named := range []string{guid, strings.ToUpper(guid)} {
			parameters := json.RawMessage(`{"clone_of":"` + named + `"}`)
			source, err := c.Source(t.Context(), parameters)
			if err != nil || source != (backstay.Source{InstanceID: guid}) {
				t.Errorf("the source is told as %+v, %v", source, err)
			}
			r := brokertest.NewRequest(t, c)
			r.InstanceID, r.Context.Platform = backstay.InstanceID(uuid.NewString()), "cloudfoundry"
			r.Parameters, r.CopyOf = parameters, source.InstanceID
			if _, err := c.Provision(t.Context(), r); err == nil {
				t.Fatal("this broker admits nothing")
			}
			of, err := terms.SourceOf(broker.asked)
			must(t, err)
			if broker.copyOf != of {
				t.Errorf("client %s vouches for %s, and asks for %s", name, broker.copyOf, of)
			}
		}
		if ids[broker.copyOf] {
			t.Errorf("client %s reaches what another one has", name)
		}
		ids[broker.copyOf] = true
	}
	_, err := h.client(t, "c", 10).Source(t.Context(), json.RawMessage(`{"clone_of":"my-redis"}`))
	wantKind(t, err, backstay.Invalid)
}

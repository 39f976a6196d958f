package market_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
)

// copier is a broker that wants consent to each copy, and knows one instance to copy.
type copier struct {
	*listener
	source backstay.Source
}

func (c *copier) Source(_ context.Context, parameters json.RawMessage) (backstay.Source, error) {
	if !strings.Contains(string(parameters), "clone_of") {
		return backstay.Source{}, nil
	}
	return c.source, nil
}

func (c *copier) AdmitProvision(ctx context.Context, r backstay.ProvisionRequest) error {
	source, err := c.Source(ctx, r.Parameters)
	if err != nil || source.InstanceID == "" || source.SpaceID == r.Context.SpaceID {
		return err
	}
	if r.CopyOf != source.InstanceID {
		return backstay.Errorf(backstay.Unsupported, "Not without consent.")
	}
	return nil
}

func (c *copier) Provision(ctx context.Context, r backstay.ProvisionRequest) (backstay.Provisioned, error) {
	if err := c.AdmitProvision(ctx, r); err != nil {
		return backstay.Provisioned{}, err
	}
	r.Parameters = nil // which this broker does not keep
	return c.listener.Provision(ctx, r)
}

// TestCopyTakesConsent copies into another space: never without the consent of a developer of the one that it comes
// from, once with it, and with an event where it comes from.
func TestCopyTakesConsent(t *testing.T) {
	t.Parallel()
	b := &copier{listener: newListener()}
	m := markettest.NewWith(t, b)
	f := newFloorOf(t, m, b.listener)
	source, from, to := f.create(t, "db"), f.spaces[0], f.spaces[1]
	b.source = backstay.Source{InstanceID: source, Context: backstay.Context{
		OrganizationID: from.OrganizationID, SpaceID: from.ID, InstanceName: "db",
	}}
	ask := func(name string, space backstay.SpaceID) (backstay.Job, error) {
		in, err := f.Instance(t.Context(), markettest.Admin, source)
		must(t, err)
		return f.CreateInstance(t.Context(), markettest.Admin, market.NewInstance{
			Name: name, SpaceID: space, PlanID: in.PlanID, Parameters: json.RawMessage(`{"clone_of": "db"}`),
		})
	}
	consent := func(to backstay.SpaceID) {
		id := string(to)
		update := market.InstanceUpdate{Update: market.Update{
			Metadata: backstay.MetadataUpdate{Labels: map[string]*string{backstay.CopyLabel: &id}},
		}}
		_, _, err := f.UpdateInstance(t.Context(), markettest.Admin, source, update)
		must(t, err)
	}
	refused := func(name string) {
		t.Helper()
		if _, err := ask(name, to.ID); backstay.KindOf(err) != backstay.Unsupported {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
	j, err := ask("beside", from.ID)
	f.do(t, j, err) // which takes no consent
	refused("without-consent")
	consent(from.ID)
	refused("consent-to-another-space")
	consent(to.ID)
	j, err = ask("copy", to.ID)
	made := f.do(t, j, err)
	refused("once-more")

	events, err := f.Events(t.Context(), markettest.Admin, market.EventFilter{Types: []string{"audit.service_instance.copy"}})
	must(t, err)
	if len(events.Items) != 1 {
		t.Fatalf("events %+v, want one", events.Items)
	}
	e := events.Items[0]
	if e.SpaceID != from.ID || e.OrganizationID != from.OrganizationID || e.Target.ID != string(source) ||
		!strings.Contains(string(e.Data), made) || !strings.Contains(string(e.Data), string(to.ID)) {
		t.Errorf("event %+v, data %s", e, e.Data)
	}
}

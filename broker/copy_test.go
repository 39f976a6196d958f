package broker_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/brokertest"
)

// TestCopyElsewhere: data goes into another space with consent only, and without it the refusal says whose is needed;
// also of a deleted instance, which only an operator brings elsewhere.
func TestCopyElsewhere(t *testing.T) {
	t.Parallel()
	h, _ := backedUpHouse(t)
	consented := false
	var asked []string
	h.MayCopy = func(_ context.Context, of backstay.InstanceID, to backstay.ProvisionRequest) (bool, error) {
		asked = append(asked, fmt.Sprint(of, " to ", to.Context.SpaceID))
		return consented, nil
	}
	h.run(t)
	source := h.mustMake(t)
	elsewhere := func(parameter string) backstay.ProvisionRequest {
		r := brokertest.NewRequest(t, h)
		r.Context.SpaceID = "elsewhere"
		r.Parameters = fmt.Appendf(nil, `{%q: %q}`, parameter, source.InstanceID)
		return r
	}
	refused := func(parameter, wayOut string) {
		t.Helper()
		err := h.AdmitProvision(t.Context(), elsewhere(parameter))
		wantKind(t, err, backstay.Unsupported)
		if said := backstay.SentenceOf(err); !strings.Contains(said, wayOut) {
			t.Errorf("it is refused with %q, which does not say %q", said, wayOut)
		}
	}
	const consent = "cf set-label service-instance NAME copy-to=elsewhere"
	refused("clone_of", consent)
	refused("restore_from_latest_snapshot_of", consent)
	want := fmt.Sprint(source.InstanceID, " to elsewhere")
	if len(asked) != 2 || asked[0] != want || asked[1] != want {
		t.Errorf("consent was asked for %q, want %q twice", asked, want)
	}

	consented = true
	r := elsewhere("clone_of")
	_, err := h.Provision(t.Context(), r)
	must(t, err)
	if op := h.outcome(t, r.InstanceID, ""); op.State != backstay.Succeeded {
		t.Errorf("with consent it ended as %+v", op)
	}
	wantSource := func(r backstay.ProvisionRequest, want backstay.ProvisionRequest) {
		t.Helper()
		from, err := h.Source(t.Context(), r.Parameters)
		must(t, err)
		if from.InstanceID != want.InstanceID || from.SpaceID != want.Context.SpaceID ||
			from.OrganizationID != want.Context.OrganizationID || from.InstanceName != want.Context.InstanceName {
			t.Errorf("the source is told as %+v, want that of %+v", from, want)
		}
	}
	wantSource(r, source)
	wantSource(source, backstay.ProvisionRequest{})

	consented = false
	_, err = h.Deprovision(t.Context(), backstay.DeprovisionRequest{InstanceID: source.InstanceID})
	must(t, err)
	h.gone(t, source.InstanceID)
	refused("restore_from_latest_snapshot_of", fmt.Sprintf("backstay restore %s --to ORG/SPACE", source.InstanceID))
	wantSource(r, source)
}

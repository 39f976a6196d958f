package broker_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/brokertest"
)

// TestCopyElsewhere: data goes into another space with consent only. Without it the refusal says whose is needed, and
// is the one for what never was, also of a deleted instance.
func TestCopyElsewhere(t *testing.T) {
	t.Parallel()
	h, _ := backedUpHouse(t)
	h.run(t)
	source := h.mustMake(t)
	elsewhere := func(parameter string, of backstay.InstanceID) backstay.ProvisionRequest {
		r := brokertest.NewRequest(t, h)
		r.Context.SpaceID = "elsewhere"
		r.Parameters = fmt.Appendf(nil, `{%q: %q}`, parameter, of)
		return r
	}
	refused := func(parameter string, of backstay.InstanceID) string {
		t.Helper()
		r := elsewhere(parameter, of)
		r.CopyOf = "another"
		err := h.AdmitProvision(t.Context(), r)
		wantKind(t, err, backstay.Invalid)
		return strings.ReplaceAll(backstay.SentenceOf(err), string(of), "GUID")
	}
	refusedAsIfNone := func() {
		t.Helper()
		for _, parameter := range []string{"clone_of", "restore_from_latest_snapshot_of"} {
			const never = "7f0c5e43-0000-4000-8000-000000000000"
			said, saidOfNone := refused(parameter, source.InstanceID), refused(parameter, never)
			if said != saidOfNone {
				t.Errorf("%s of what is elsewhere is refused with %q, and of what never was with %q", parameter, said, saidOfNone)
			}
			for _, wayOut := range []string{
				"cf set-label service-instance NAME copy-to=elsewhere", "backstay restore GUID --to ORG/SPACE",
			} {
				if !strings.Contains(said, wayOut) {
					t.Errorf("it is refused with %q, which does not say %q", said, wayOut)
				}
			}
		}
	}
	refusedAsIfNone()

	r := elsewhere("clone_of", source.InstanceID)
	r.CopyOf = source.InstanceID
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
	const never = "7f0c5e43-0000-4000-8000-000000000000"
	wantSource(elsewhere("clone_of", never), backstay.ProvisionRequest{InstanceID: never})

	_, err = h.Deprovision(t.Context(), backstay.DeprovisionRequest{InstanceID: source.InstanceID})
	must(t, err)
	h.gone(t, source.InstanceID)
	refusedAsIfNone()
	wantSource(r, source)
}

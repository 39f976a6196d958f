package markettest

import (
	"maps"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

// aCopyUsesItsConsentUp accepts copies into the space that was consented to, into another one, and of what was deleted.
func aCopyUsesItsConsentUp(t *testing.T, f *fixture) {
	source := f.mustHave(t, "source")
	consent := labels(backstay.CopyLabel, string(f.space.ID))
	must(t, f.UpdateMetadata(t.Context(), market.OfInstance, string(source.ID), consent, none))
	must(t, f.UpdateMetadata(t.Context(), market.OfInstance, string(source.ID), labels("other", "stays"), none))
	accept := func(name string, of backstay.InstanceID, to backstay.SpaceID) {
		in, j := f.newInstance(name)
		copied := backstay.Event{ID: backstay.EventID(in.ID), Type: "audit.service_instance.copy"}
		must(t, f.AcceptCopy(t.Context(), in, nil, market.Copy{Of: of, To: to, Event: copied}, none, j))
		if _, err := f.Job(t.Context(), j.ID); err != nil {
			t.Error(err)
		}
	}
	wantLabels := func(want map[string]string) {
		t.Helper()
		l, err := f.Instances(t.Context(), market.InstanceFilter{IDs: []backstay.InstanceID{source.ID}})
		must(t, err)
		if got := l.Items[0].Metadata.Labels; !maps.Equal(got, want) {
			t.Errorf("labels %v, want %v", got, want)
		}
	}
	accept("elsewhere", source.ID, "another")
	accept("of-none", "deleted", f.space.ID)
	wantLabels(map[string]string{backstay.CopyLabel: string(f.space.ID), "other": "stays"})
	accept("copy", source.ID, f.space.ID)
	wantLabels(map[string]string{"other": "stays"})
	if types := f.types(t, market.EventFilter{}); len(types) != 3 {
		t.Errorf("events %v; want one of each copy", types)
	}
}

package market_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
)

// Overwrites has the broker of these tests know the parameter, which it then refuses to carry out.
func (l *listener) Overwrites(parameters json.RawMessage) bool {
	var given map[string]any
	return json.Unmarshal(parameters, &given) == nil && given["restore_to_point_in_time"] != nil
}

// TestReturnTakesConsent asks for a return to an earlier moment where nobody minds, where managers want to be asked,
// and where one of them has consented.
func TestReturnTakesConsent(t *testing.T) {
	t.Parallel()
	f := newUpdateableFloor(t)
	in, other := f.create(t, "db"), f.create(t, "other")
	back := market.InstanceUpdate{Parameters: json.RawMessage(`{"restore_to_point_in_time": "2026-11-01 00:00:00"}`)}
	asked := func(id backstay.InstanceID) backstay.Kind {
		_, _, err := f.UpdateInstance(t.Context(), markettest.Admin, id, back)
		return backstay.KindOf(err)
	}
	const passed = backstay.Invalid // the broker of this test does not know the parameter
	if kind := asked(in); kind != passed {
		t.Errorf("where nobody minds: %v", kind)
	}
	f.label(t, "wanted")
	_, _, err := f.UpdateInstance(t.Context(), markettest.Admin, in, back)
	if kind := backstay.KindOf(err); kind != backstay.Forbidden {
		t.Errorf("without consent: %v", kind)
	}
	_, command, _ := strings.Cut(backstay.SentenceOf(err), "consents by: cf set-label org ")
	organization, label, _ := strings.Cut(command, " ")
	key, value, _ := strings.Cut(label, "=")
	if organization != "owner" || key != market.ConsentLabel {
		t.Errorf("the refusal names the organization %q and the label %q: %v", organization, key, err)
	}
	f.label(t, value)
	for range 2 { // it lasts
		if kind := asked(in); kind != passed {
			t.Errorf("with the consent that the refusal names: %v", kind)
		}
	}
	if kind := asked(other); kind != backstay.Forbidden {
		t.Errorf("with consent to another instance: %v", kind)
	}
}

// label gives the organization of the first space the label by which its managers consent.
func (f *floor) label(t *testing.T, value string) {
	t.Helper()
	labels := backstay.MetadataUpdate{Labels: map[string]*string{market.ConsentLabel: &value}}
	_, err := f.UpdateOrganization(t.Context(), markettest.Admin, f.spaces[0].OrganizationID,
		market.OrganizationUpdate{Update: market.Update{Metadata: labels}})
	must(t, err)
}

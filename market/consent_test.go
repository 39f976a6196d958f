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

// returner is a broker whose instances return to an earlier moment, of which it keeps nothing.
type returner struct{ *listener }

func (returner) Overwrites(_ context.Context, parameters json.RawMessage) (bool, error) {
	return strings.Contains(string(parameters), "restore_to_point_in_time"), nil
}

func (returner) AdmitUpdate(context.Context, backstay.UpdateRequest) error { return nil }

func (r returner) Update(ctx context.Context, u backstay.UpdateRequest) (backstay.Updated, error) {
	u.Parameters = nil
	return r.listener.Update(ctx, u)
}

// TestReturnTakesConsent asks for a return to an earlier moment where nobody minds, where managers want to be asked,
// and where one of them has consented, which is for one return.
func TestReturnTakesConsent(t *testing.T) {
	t.Parallel()
	b := returner{newListener()}
	b.Updateable = true
	f := newFloorOf(t, markettest.NewWith(t, b), b.listener)
	in, other := f.create(t, "db"), f.create(t, "other")
	back := market.InstanceUpdate{Parameters: json.RawMessage(`{"restore_to_point_in_time": "2026-11-01 00:00:00"}`)}
	returns := func(id backstay.InstanceID) {
		t.Helper()
		if j := f.update(t, id, back); j.State != backstay.JobComplete {
			t.Errorf("the return ended as %+v", j)
		}
	}
	refused := func(id backstay.InstanceID) error {
		t.Helper()
		_, _, err := f.UpdateInstance(t.Context(), markettest.Admin, id, back)
		if kind := backstay.KindOf(err); kind != backstay.Forbidden {
			t.Errorf("without consent: %v", err)
		}
		return err
	}
	returns(in)
	f.label(t, "wanted")
	_, command, _ := strings.Cut(backstay.SentenceOf(refused(in)), "consents to one return by: cf set-label org ")
	organization, label, _ := strings.Cut(command, " ")
	key, value, _ := strings.Cut(label, "=")
	if organization != "owner" || key != market.ConsentLabel {
		t.Errorf("the refusal names the organization %q and the label %q", organization, key)
	}
	f.label(t, value)
	refused(other)
	returns(in)
	refused(in)
	f.label(t, value)
	returns(in)
}

// label gives the organization of the first space the label by which its managers consent.
func (f *floor) label(t *testing.T, value string) {
	t.Helper()
	labels := backstay.MetadataUpdate{Labels: map[string]*string{market.ConsentLabel: &value}}
	_, err := f.UpdateOrganization(t.Context(), markettest.Admin, f.spaces[0].OrganizationID,
		market.OrganizationUpdate{Update: market.Update{Metadata: labels}})
	must(t, err)
}

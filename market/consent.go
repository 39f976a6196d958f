package market

import (
	"context"

	"github.com/backstay/backstay"
)

// ConsentLabel is the label by which an organization's managers want to be asked before earlier data takes the place
// of what an instance holds. Its value is the id of the instance for which one of them has consented, or anything else.
const ConsentLabel = "restore-in-place"

// ConsentWanted is the label's value once a consent is used up: managers still want to be asked.
const ConsentWanted = "wanted"

// consentFor returns the organization whose consent an update uses up, since it puts earlier data in the place of what
// an instance holds; empty if it needs none. It is Forbidden where the organization wants a manager's consent to that,
// and there is none.
func (m *Market) consentFor(
	ctx context.Context, in backstay.Instance, at place, from supply, parameters []byte,
) (backstay.OrganizationID, error) {
	o, ok := from.broker.(backstay.Overwriter)
	if !ok || parameters == nil {
		return "", nil
	}
	l, err := m.Store.Organizations(ctx, OrganizationFilter{IDs: []backstay.OrganizationID{at.organization}})
	organization, err := single(l, err, "Organization")
	if err != nil {
		return "", err
	}
	consent, wanted := organization.Metadata.Labels[ConsentLabel]
	if !wanted {
		return "", nil
	}
	overwrites, err := o.Overwrites(ctx, parameters)
	switch {
	case backstay.KindOf(err) == backstay.Unsupported, err == nil && !overwrites:
		return "", nil
	case err != nil:
		return "", err
	case consent != string(in.ID):
		return "", backstay.Errorf(backstay.Forbidden,
			"Organization %s wants a manager's consent before earlier data takes the place of what %s holds. A manager of it "+
				"consents to one return by: cf set-label org %[1]s %[3]s=%[4]s", organization.Name, in.Name, ConsentLabel, in.ID)
	}
	return organization.ID, nil
}

package market

import (
	"context"

	"github.com/backstay/backstay"
)

// Copy is what is recorded in the space of an instance whose data goes into another space.
type Copy struct {
	Of    backstay.InstanceID // which may have been deleted
	To    backstay.SpaceID
	Event backstay.Event // for those who see the events of the space that the data comes from

	NeedsConsent bool // which only one copy gets of several that are accepted at once
}

// copyFor returns what is recorded elsewhere of a new instance whose data is to come from another space, with consent;
// nil of any other. A developer of the one space consents by a label; that a developer of the other asks for the copy,
// CreateInstance has made sure. To what is asked for without consent, the broker says no.
func (m *Market) copyFor(
	ctx context.Context, actor backstay.Actor, in backstay.Instance, from supply, parameters []byte,
) (*Copy, error) {
	broker, ok := from.broker.(backstay.Copier)
	if !ok || parameters == nil {
		return nil, nil
	}
	source, err := broker.Source(ctx, parameters)
	switch backstay.KindOf(err) {
	case backstay.Invalid, backstay.Unsupported, backstay.Unavailable: // the broker will say what is wrong, if anything is
		return nil, nil
	}
	if err != nil || source.InstanceID == "" {
		return nil, err
	}
	consented, err := m.findSource(ctx, &source, from.offering.BrokerID, in.SpaceID)
	if err != nil || !consented || source.SpaceID == "" || source.SpaceID == in.SpaceID {
		return nil, err
	}
	event := instanceEvent(actor, "copy", backstay.Instance{ID: source.InstanceID, Name: source.InstanceName},
		place{source.OrganizationID, source.SpaceID},
		request(details{"target_space_guid": in.SpaceID, "target_service_instance_guid": in.ID, "target_name": in.Name}))
	return &Copy{Of: source.InstanceID, To: in.SpaceID, Event: event, NeedsConsent: !m.CopyFreely}, nil
}

// findSource adds where the source of a copy is, and tells whether its data may come to a space. What a broker says of
// an instance that is not its own does not count.
func (m *Market) findSource(
	ctx context.Context, source *backstay.Source, of backstay.BrokerID, to backstay.SpaceID,
) (consented bool, err error) {
	l, err := m.Store.Instances(ctx, InstanceFilter{
		IDs: []backstay.InstanceID{source.InstanceID}, BrokerIDs: []backstay.BrokerID{of},
	})
	for _, in := range l.Items {
		at, err := m.placeOf(ctx, in.SpaceID)
		if err != nil {
			return false, err
		}
		source.Context = contextOf(in, at)
		consented = in.Metadata.Labels[backstay.CopyLabel] == string(to)
	}
	return consented || m.CopyFreely, err
}

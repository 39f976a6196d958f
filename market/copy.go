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

// MayCopy tells whether a new instance may begin with the data of one that is in another space. A developer of the one
// space has consented by a label; that a developer of the other asks for it, CreateInstance has made sure. What was
// accepted was consented to: the job that carries it out asks nobody again.
func (m *Market) MayCopy(
	ctx context.Context, of backstay.InstanceID, to backstay.ProvisionRequest,
) (bool, error) {
	found, err := m.Store.Instances(ctx, InstanceFilter{IDs: []backstay.InstanceID{of, to.InstanceID}})
	for _, in := range found.Items {
		consented := in.ID == of && in.Metadata.Labels[backstay.CopyLabel] == string(to.Context.SpaceID)
		if consented || in.ID == to.InstanceID {
			return true, nil
		}
	}
	return false, err
}

// copyFor returns what is recorded elsewhere of a new instance that the broker admits; nil if its data, should it begin
// with any, comes from its own space.
func (m *Market) copyFor(
	ctx context.Context, actor backstay.Actor, in backstay.Instance, from supply, parameters []byte,
) (*Copy, error) {
	broker, ok := from.broker.(backstay.Copier)
	if !ok {
		return nil, nil
	}
	source, err := broker.Source(ctx, parameters)
	if err != nil || source.InstanceID == "" || source.SpaceID == in.SpaceID {
		return nil, err
	}
	event := instanceEvent(actor, "copy", backstay.Instance{ID: source.InstanceID, Name: source.InstanceName},
		place{source.OrganizationID, source.SpaceID},
		request(details{"target_space_guid": in.SpaceID, "target_service_instance_guid": in.ID, "target_name": in.Name}))
	return &Copy{Of: source.InstanceID, To: in.SpaceID, Event: event, NeedsConsent: !m.CopyFreely}, nil
}

package tenant

import (
	"cmp"
	"context"
	"encoding/json"

	"github.com/backstay/backstay"
)

type details map[string]any

func (v *view) record(ctx context.Context, e backstay.Event) error {
	return v.registry.Store.RecordEvent(ctx, e)
}

// instanceEvent is that a client asks for something to be done to an instance, recorded before the broker is asked:
// what is done was asked for, even if we die in between. It says for whom the platform asks.
func (v *view) instanceEvent(
	verb string, c backstay.Call, id backstay.InstanceID, at backstay.Context, d details,
) backstay.Event {
	d["instance_id"] = id
	if at != (backstay.Context{}) {
		d["context"] = details{
			"platform": at.Platform, "organization": cmp.Or(at.OrganizationName, string(at.OrganizationID)),
			"space": cmp.Or(at.SpaceName, string(at.SpaceID)),
		}
	}
	target := backstay.Target{
		ID: string(v.instance(id)), Type: "service_instance", Name: cmp.Or(at.InstanceName, string(id)),
	}
	return v.event("service_instance.start_"+verb, c, target, d)
}

func (v *view) bindingEvent(
	verb string, c backstay.Call, in backstay.InstanceID, id backstay.BindingID, d details,
) backstay.Event {
	d["instance_id"], d["binding_id"] = in, id
	target := backstay.Target{ID: string(v.binding(id)), Type: "service_binding", Name: string(id)}
	return v.event("service_binding."+verb, c, target, d)
}

func (v *view) event(kind string, c backstay.Call, t backstay.Target, d details) backstay.Event {
	if c.Identity.Platform != "" {
		d["originating_identity"] = details{
			"platform": c.Identity.Platform, "value": json.RawMessage(cmp.Or(string(c.Identity.Value), "{}")),
		}
	}
	if c.RequestID != "" {
		d["request_identity"] = c.RequestID
	}
	return backstay.Event{
		ID: newEventID(), Type: "audit." + kind, Target: t, Data: encode(details{"request": d}),
		Actor: actorOf(v.tenant, v.address),
	}
}

package market

import (
	"context"
	"encoding/json"

	"github.com/backstay/backstay"
)

// details are what an event tells beyond who, what and where. Secrets must not enter.
type details map[string]any

// hidden stands in events for what is secret, in Cloud Foundry's words.
const hidden = "[PRIVATE DATA HIDDEN]"

func newEvent(by backstay.Actor, kind string, t backstay.Target, at place, d details) backstay.Event {
	e := backstay.Event{ID: backstay.EventID(newID()), Type: "audit." + kind, Actor: by, Target: t, SpaceID: at.space, OrganizationID: at.organization}
	if d != nil {
		e.Data, _ = json.Marshal(d) // strings, numbers and what has been JSON
	}
	return e
}

func organizationEvent(by backstay.Actor, verb string, o backstay.Organization, d details) backstay.Event {
	return newEvent(by, "organization."+verb, backstay.Target{ID: string(o.ID), Type: "organization", Name: o.Name}, place{organization: o.ID}, d)
}

func spaceEvent(by backstay.Actor, verb string, s backstay.Space, d details) backstay.Event {
	return newEvent(by, "space."+verb, backstay.Target{ID: string(s.ID), Type: "space", Name: s.Name}, place{s.OrganizationID, s.ID}, d)
}

func appEvent(by backstay.Actor, verb string, a backstay.App, at place, d details) backstay.Event {
	return newEvent(by, "app."+verb, backstay.Target{ID: string(a.ID), Type: "app", Name: a.Name}, at, d)
}

func instanceEvent(by backstay.Actor, verb string, in backstay.Instance, at place, d details) backstay.Event {
	return newEvent(by, "service_instance."+verb, backstay.Target{ID: string(in.ID), Type: "service_instance", Name: in.Name}, at, d)
}

func bindingEvent(by backstay.Actor, verb string, b backstay.Binding, at place, d details) backstay.Event {
	kind := "service_binding"
	if b.Type == backstay.KeyBinding {
		kind = "service_key"
	}
	return newEvent(by, kind+"."+verb, backstay.Target{ID: string(b.ID), Type: kind, Name: b.Name}, at, d)
}

// roleEvent is about the user: Cloud Foundry names the role in the type.
func roleEvent(by backstay.Actor, verb string, r backstay.Role, u backstay.User, at place) backstay.Event {
	return newEvent(by, "user."+r.Type+"_"+verb, backstay.Target{ID: string(u.ID), Type: "user", Name: u.PresentationName()}, at, nil)
}

// request is the details of an event as Cloud Foundry shapes them: what was asked for.
func request(d details) details { return details{"request": d} }

// shownParameters are parameters as events may show them: names, and values that cannot be secrets.
func shownParameters(raw []byte) any {
	var given map[string]any
	if json.Unmarshal(raw, &given) != nil {
		return nil
	}
	for name, value := range given {
		switch value.(type) {
		case bool, float64, nil:
		default:
			given[name] = hidden
		}
	}
	return given
}

// RecordRefusal records that by was refused a change: method and path are the request's.
func (m *Market) RecordRefusal(ctx context.Context, by backstay.Actor, method, path string, t backstay.Target, reason string) error {
	e := newEvent(by, "request.refused", t, place{}, details{"request": details{"method": method, "path": path}, "error": reason})
	return m.Store.RecordEvent(ctx, e)
}

package market

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"strings"
	"time"

	"github.com/backstay/backstay"
)

// details are what an event tells beyond who, what and where. Secrets must not enter.
type details map[string]any

// hidden stands in events for what is secret, in Cloud Foundry's words.
const hidden = "[PRIVATE DATA HIDDEN]"

func newEvent(actor backstay.Actor, kind string, t backstay.Target, at place, d details) backstay.Event {
	e := backstay.Event{
		ID: backstay.EventID(newID()), Type: "audit." + kind, Actor: actor, Target: t,
		SpaceID: at.space, OrganizationID: at.organization,
	}
	if d != nil {
		e.Data, _ = json.Marshal(d) // strings, numbers and what has been JSON
	}
	return e
}

func organizationEvent(actor backstay.Actor, verb string, o backstay.Organization, d details) backstay.Event {
	return newEvent(
		actor, "organization."+verb, backstay.Target{ID: string(o.ID), Type: "organization", Name: o.Name},
		place{organization: o.ID}, d,
	)
}

func spaceEvent(actor backstay.Actor, verb string, s backstay.Space, d details) backstay.Event {
	return newEvent(
		actor, "space."+verb, backstay.Target{ID: string(s.ID), Type: "space", Name: s.Name},
		place{s.OrganizationID, s.ID}, d,
	)
}

func appEvent(actor backstay.Actor, verb string, a backstay.App, at place, d details) backstay.Event {
	return newEvent(actor, "app."+verb, backstay.Target{ID: string(a.ID), Type: "app", Name: a.Name}, at, d)
}

func instanceEvent(actor backstay.Actor, verb string, in backstay.Instance, at place, d details) backstay.Event {
	return newEvent(
		actor, "service_instance."+verb, backstay.Target{ID: string(in.ID), Type: "service_instance", Name: in.Name},
		at, d,
	)
}

func userProvidedEvent(actor backstay.Actor, verb string, in backstay.Instance, at place, d details) backstay.Event {
	const kind = "user_provided_service_instance"
	return newEvent(actor, kind+"."+verb, backstay.Target{ID: string(in.ID), Type: kind, Name: in.Name}, at, d)
}

func bindingEvent(actor backstay.Actor, verb string, b backstay.Binding, at place, d details) backstay.Event {
	kind := "service_binding"
	if b.Type == backstay.KeyBinding {
		kind = "service_key"
	}
	return newEvent(actor, kind+"."+verb, backstay.Target{ID: string(b.ID), Type: kind, Name: b.Name}, at, d)
}

// bindingDetails say what is bound to what, beside more: a binding is the target of its events, as it is in
// Cloud Foundry.
func bindingDetails(b backstay.Binding, more details) details {
	d := details{"service_instance_guid": b.InstanceID}
	if b.AppID != "" {
		d["app_guid"] = b.AppID
	}
	maps.Copy(d, more)
	return request(d)
}

// roleEvent is about the user: Cloud Foundry names the role in the type.
func roleEvent(actor backstay.Actor, verb string, r backstay.Role, u backstay.User, at place) backstay.Event {
	return newEvent(
		actor, "user."+r.Type+"_"+verb, backstay.Target{ID: string(u.ID), Type: "user", Name: u.PresentationName()},
		at, nil,
	)
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

// Events lists the audit events that by may see.
func (m *Market) Events(ctx context.Context, actor backstay.Actor, f EventFilter) (List[backstay.Event], error) {
	f.Viewer = viewer(actor)
	return m.Store.Events(ctx, f)
}

// Event returns one audit event.
func (m *Market) Event(ctx context.Context, actor backstay.Actor, id backstay.EventID) (backstay.Event, error) {
	l, err := m.Events(ctx, actor, EventFilter{IDs: []backstay.EventID{id}})
	return single(l, err, "Event")
}

// Refusal is a change that somebody may not make, or not so.
type Refusal struct {
	Method, Path string
	Named        []string // ids of what the request is about, the most telling first
	Kind         string   // what it is that the path names: "app"
	Title        string   // of the error
	Reason       string   // for people; empty if it would tell a secret
}

// Somebody who is refused the same again within a moment says nothing new, and nobody fills the events
// with attempts on one organization, or on none, while attempts on others are still recorded.
const (
	refusalMoment = time.Minute
	refusalLimit  = 60 // in a moment, of one actor in one organization
)

// clip bounds what a request can make an event keep.
func clip(s string) string {
	if len(s) <= maxClip {
		return s
	}
	return strings.ToValidUTF8(s[:maxClip], "") + "…"
}

const maxClip = 1000

// RecordRefusal records that by was refused a change, where those find it who see the events of the place:
// that of the first thing named that there is, whether by may see it or not.
func (m *Market) RecordRefusal(ctx context.Context, actor backstay.Actor, r Refusal) error {
	var l Location
	if len(r.Named) > 0 {
		l.Target = backstay.Target{ID: clip(r.Named[0]), Type: clip(r.Kind)}
	}
	for _, id := range r.Named {
		found, err := m.Store.Locate(ctx, id)
		if err == nil {
			l = found
			break
		}
		if backstay.KindOf(err) != backstay.NotFound {
			return err
		}
	}
	d := request(details{
		"method": r.Method, "path": clip(r.Path), "error": r.Title, "reason": cmp.Or(clip(r.Reason), hidden),
	})
	e := newEvent(actor, "request.refused", l.Target, place{l.OrganizationID, l.SpaceID}, d)
	return m.Store.RecordRefusal(ctx, e, m.now().Add(-refusalMoment), refusalLimit)
}

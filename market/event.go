package market

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay"
)

// details are what an event tells beside who did what, and where. They must not contain secrets.
type details map[string]any

// hidden takes the place of secrets in events. The words are Cloud Foundry's.
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

// bindingDetails are the details of an event about a binding: which instance and which app it binds, and what else
// is given in more. The target of such an event is the binding, as in Cloud Foundry.
func bindingDetails(b backstay.Binding, more details) details {
	d := details{"service_instance_guid": b.InstanceID}
	if b.AppID != "" {
		d["app_guid"] = b.AppID
	}
	maps.Copy(d, more)
	return request(d)
}

// roleEvent is an event about the user who has the role: Cloud Foundry names the role in the event's type.
func roleEvent(actor backstay.Actor, verb string, r backstay.Role, u backstay.User, at place) backstay.Event {
	return newEvent(
		actor, "user."+r.Type+"_"+verb, backstay.Target{ID: string(u.ID), Type: "user", Name: u.PresentationName()},
		at, nil,
	)
}

// request returns details as Cloud Foundry nests them in an event: what was asked for, below "request".
func request(d details) details { return details{"request": d} }

// shownParameters returns parameters as an event may show them: all names, and only values that cannot be secrets.
func shownParameters(raw []byte) any {
	var given map[string]any
	if json.Unmarshal(raw, &given) != nil {
		return nil
	}
	for name, value := range given {
		switch value.(type) {
		case bool, float64, nil:
		default:
			if !slices.Contains(parametersOfRestores, name) {
				given[name] = hidden
			}
		}
	}
	return given
}

// parametersOfRestores say from which instance and moment data comes, or that a backup is asked for. Whoever looks
// for where data has gone must see that.
var parametersOfRestores = []string{
	"restore_from_latest_snapshot_of", "restore_from_latest_snapshot_before", "restore_from_point_in_time_of",
	"restore_from_point_in_time_before", "restore_to_point_in_time", "clone_of", "backup",
}

// noticed are the events of what a broker tells of an operation that was not done quite as it was asked for.
func (m *Market) noticed(ctx context.Context, j backstay.Job, op backstay.Operation) ([]backstay.Event, error) {
	if op.Notice == "" {
		return nil, nil
	}
	in, at, from, err := m.jobInstance(ctx, j)
	if err != nil {
		return nil, err
	}
	l, err := m.Store.ServiceBrokers(ctx, BrokerFilter{IDs: []backstay.BrokerID{from.offering.BrokerID}})
	by, err := single(l, err, "Service broker")
	d := details{"operation": op.Type, "reason": op.Notice}
	return []backstay.Event{instanceEvent(brokerActor(by), "notice", in, at, d)}, err
}

// readMoment is how long a reader of a secret is not recorded again: whoever polls says nothing new.
const readMoment = time.Minute

// recordRead records that the actor is shown a secret. Nothing is shown that cannot be recorded.
func (m *Market) recordRead(ctx context.Context, e backstay.Event) error {
	return m.Store.RecordRead(ctx, e, m.now().Add(-readMoment))
}

// Events lists the audit events that the actor may see.
func (m *Market) Events(ctx context.Context, actor backstay.Actor, f EventFilter) (List[backstay.Event], error) {
	f.Viewer = viewer(actor)
	return m.Store.Events(ctx, f)
}

// Event returns one audit event.
func (m *Market) Event(ctx context.Context, actor backstay.Actor, id backstay.EventID) (backstay.Event, error) {
	l, err := m.Events(ctx, actor, EventFilter{IDs: []backstay.EventID{id}})
	return single(l, err, "Event")
}

// Refusal is a request that was refused.
type Refusal struct {
	Method, Path string
	Named        []string // ids of what the request is about, the most telling first
	Kind         string   // what it is that the path names: "app"
	Title        string   // of the error
	Reason       string   // for people; empty if it would tell a secret
}

// A refusal that repeats one of the last moment says nothing new, and is not recorded. The limit keeps one actor
// from filling the events of an organization, or of none, with attempts; it counts for each organization, so that
// attempts on another one are still recorded.
const (
	refusalMoment = time.Minute
	refusalLimit  = 60 // in a moment, of one actor in one organization
)

// clip shortens text from a request that an event keeps.
func clip(s string) string {
	if len(s) <= maxClip {
		return s
	}
	return strings.ToValidUTF8(s[:maxClip], "") + "…"
}

const maxClip = 1000

// RecordRefusal records that the actor was refused a change, as an event in the place of the first thing that the
// request names and that exists: those who see the events of that place find it, whether the actor may see the
// thing or not.
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

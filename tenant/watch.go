package tenant

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/backstay/backstay"
)

// errSilent is the error of what the broker does not tell.
var errSilent = backstay.Errorf(backstay.Unsupported, "The broker does not tell that.")

// own are the platform's ids of the client's instances, by the broker's. What the broker tells of others is not for it.
func (v *view) own(ctx context.Context) (map[backstay.InstanceID]backstay.InstanceID, error) {
	claims, err := v.registry.Store.Claims(ctx, v.tenant.ID, v.registry.Now().Add(claimSkew))
	all := map[backstay.InstanceID]backstay.InstanceID{}
	for _, c := range claims {
		all[c.InstanceID] = backstay.InstanceID(c.ExternalID)
	}
	return all, err
}

// Watches tells whether the broker does.
func (v *view) Watches(ctx context.Context) bool {
	w, ok := v.broker().(backstay.Watcher)
	return ok && w.Watches(ctx)
}

// AwaitChanges tells of the client's own instances. Moments are counted for all clients, so there may be another one
// without a change.
func (v *view) AwaitChanges(
	ctx context.Context, after int64,
) (changed []backstay.InstanceID, seen int64, err error) {
	w, ok := v.broker().(backstay.Watcher)
	if !ok {
		return nil, after, errSilent
	}
	for seen = after; len(changed) == 0; {
		all, now, err := w.AwaitChanges(ctx, seen)
		if err != nil && seen != after {
			return nil, seen, nil
		}
		if err != nil {
			return nil, after, err
		}
		own, err := v.own(ctx)
		if err != nil {
			return nil, after, err
		}
		seen = now
		for _, id := range all {
			if external, ok := own[id]; ok {
				changed = append(changed, external)
			}
		}
	}
	return changed, seen, nil
}

// Unhealthy tells which of the client's instances do not serve.
func (v *view) Unhealthy(ctx context.Context) (map[backstay.InstanceID]string, error) {
	t, ok := v.broker().(backstay.HealthTeller)
	if !ok {
		return nil, errSilent
	}
	all, err := t.Unhealthy(ctx)
	if err != nil {
		return nil, err
	}
	own, err := v.own(ctx)
	told := map[backstay.InstanceID]string{}
	for id, reason := range all {
		if external, ok := own[id]; ok {
			told[external] = v.words(external).in(reason)
		}
	}
	return told, err
}

// Troubles tells what is wrong with the client's instances.
func (v *view) Troubles(ctx context.Context) (map[backstay.InstanceID][]backstay.Trouble, error) {
	t, ok := v.broker().(backstay.TroubleTeller)
	if !ok {
		return nil, errSilent
	}
	all, unknown := t.Troubles(ctx)
	own, err := v.own(ctx)
	told := map[backstay.InstanceID][]backstay.Trouble{}
	for id, troubles := range all {
		external, ok := own[id]
		if !ok {
			continue
		}
		w := v.words(external)
		for _, trouble := range troubles {
			trouble.Sentence = w.in(trouble.Sentence)
			told[external] = append(told[external], trouble)
		}
	}
	return told, errors.Join(unknown, err)
}

// Source tells whose data a new instance is to begin with, by the platform's id of it. Where that is, the platform
// knows.
func (v *view) Source(ctx context.Context, parameters json.RawMessage) (backstay.Source, error) {
	c, ok := v.broker().(backstay.Copier)
	if !ok {
		return backstay.Source{}, errSilent
	}
	w := &words{}
	source, err := c.Source(ctx, v.parameters(cloudFoundry, parameters, w)) // which alone asks
	return backstay.Source{InstanceID: backstay.InstanceID(w.in(string(source.InstanceID)))}, w.err(err)
}

// AllowDrills tells the broker of an instance of the client's.
func (v *view) AllowDrills(ctx context.Context, id backstay.InstanceID, allowed bool) error {
	h, ok := v.broker().(backstay.DrillHolder)
	if !ok {
		return errSilent
	}
	return h.AllowDrills(ctx, v.instance(id), allowed)
}

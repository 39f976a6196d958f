package brokertest

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/backstay/backstay"
)

// atWindow is the parameter by which users ask that an update wait, until [Memory.OpenWindow]. By false they
// withdraw what waits.
const atWindow = "apply_at_maintenance_window"

// window splits what an update asks for at once from what it says of waiting: nil is nothing.
func window(r backstay.UpdateRequest) (now backstay.UpdateRequest, wait *bool) {
	var object map[string]json.RawMessage
	if json.Unmarshal(r.Parameters, &object) != nil || object[atWindow] == nil {
		return r, nil
	}
	wait = new(string(object[atWindow]) == "true")
	if delete(object, atWindow); len(object) == 0 {
		r.Parameters = nil
	} else {
		r.Parameters, _ = json.Marshal(object) // of what was JSON
	}
	return r, wait
}

// queue keeps an update for the window, in the place of one that waits already, or withdraws that. Either is done at
// once. The caller holds the lock.
func (m *Memory) queue(in *memoryInstance, r backstay.UpdateRequest, wait bool) backstay.Updated {
	in.pending = nil
	if wait {
		in.pending = &r
	}
	in.key = newKey()
	in.op = backstay.Operation{
		Type: backstay.Update, State: backstay.Succeeded, Description: in.description(in.accepted.InstanceID),
	}
	m.announce()
	return backstay.Updated{Operation: in.key}
}

// description tells how the instance is, and what waits.
func (in *memoryInstance) description(id backstay.InstanceID) string {
	is := fmt.Sprintf("DB Instance 'backstay-%s' status is 'available'", id)
	if in.pending != nil {
		is += fmt.Sprintf(" (pending: %s)", in.pending.PlanID)
	}
	return is
}

// OpenWindow makes the change that waits, as a broker does in a maintenance window.
func (m *Memory) OpenWindow(id backstay.InstanceID) {
	m.Change(id, func(in *backstay.ProvisionRequest) {
		if pending := m.instances[id].pending; pending != nil {
			*in = updated(*in, *pending)
			m.instances[id].pending = nil
		}
	})
}

// MissWindow ends the change that waits as failed, for that reason.
func (m *Memory) MissWindow(id backstay.InstanceID, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	in := m.instances[id]
	in.pending, in.key = nil, newKey()
	in.op = backstay.Operation{
		Type: backstay.Update, State: backstay.Failed, Description: reason, UpdatedAt: time.Now(),
	}
	m.changes = append(m.changes, id)
	m.announce()
}

// Change changes an instance as a broker does of its own accord: nobody has asked.
func (m *Memory) Change(id backstay.InstanceID, change func(*backstay.ProvisionRequest)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	in := m.instances[id]
	change(&in.accepted)
	in.op.Description = in.description(id)
	m.changes = append(m.changes, id)
	m.announce()
}

// Release makes another version the newest one of both plans: their instances may be upgraded to it.
func (m *Memory) Release(version string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.version = version
}

// Watches tells that changes are told.
func (m *Memory) Watches(context.Context) bool { return true }

// AwaitChanges counts what was changed by [Memory.Change].
func (m *Memory) AwaitChanges(ctx context.Context, after int64) ([]backstay.InstanceID, int64, error) {
	for {
		m.mu.Lock()
		changed, changes := m.changed, m.changes
		m.mu.Unlock()
		if after > int64(len(changes)) {
			after = 0
		}
		if int64(len(changes)) > after {
			return changes[after:], int64(len(changes)), nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, after, ctx.Err()
		}
	}
}

// shown is the parameters in force, and what waits, as users are told.
func (in *memoryInstance) shown() json.RawMessage {
	if in.pending == nil {
		return in.accepted.Parameters
	}
	all := map[string]any{}
	if in.accepted.Parameters != nil {
		_ = json.Unmarshal(in.accepted.Parameters, &all) // it was an object when it was accepted
	}
	all["pending_change"] = map[string]any{"plan": in.pending.PlanID, "parameters": in.pending.Parameters}
	encoded, _ := json.Marshal(all)
	return encoded
}

package brokertest

import (
	"bytes"
	"context"

	"github.com/backstay/backstay"
)

// memoryBinding is a binding as it was asked for, with how its last operation comes along.
type memoryBinding struct {
	request backstay.BindRequest
	op      backstay.Operation
	key     backstay.OperationKey
}

// AdmitBind refuses all parameters.
func (m *Memory) AdmitBind(_ context.Context, r backstay.BindRequest) error {
	return knownParameters(r.Parameters)
}

// Bind makes up credentials with the keys of the real thing.
func (m *Memory) Bind(ctx context.Context, r backstay.BindRequest) (backstay.Bound, error) {
	if err := m.AdmitBind(ctx, r); err != nil {
		return backstay.Bound{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	in, ok := m.instances[r.InstanceID]
	switch {
	case !ok:
		return backstay.Bound{}, unknownInstance(r.InstanceID)
	case in.op.State == backstay.InProgress:
		return backstay.Bound{}, busy(r.InstanceID)
	}
	if err := checkOffering(r.ServiceID); err != nil {
		return backstay.Bound{}, err
	}
	if r.PlanID != "" && checkPlan(MemoryOffering, r.PlanID) != nil {
		return backstay.Bound{}, backstay.Errorf(backstay.Invalid, "Service plan '%s' is not offered here.", r.PlanID)
	}
	b, known := m.findBinding(r.BindingID)
	switch {
	case known && !sameBinding(b.request, r):
		return backstay.Bound{}, backstay.Errorf(backstay.Taken,
			"Service binding %s exists with other attributes.", r.BindingID)
	case !known:
		b = &memoryBinding{request: r}
		in.bindings[r.BindingID] = b
		m.beginBinding(b, backstay.Create)
	}
	if b.op.State == backstay.InProgress {
		return backstay.Bound{Async: true, Operation: b.key}, nil
	}
	return backstay.Bound{Existed: known, BindingDetails: b.details()}, nil
}

// findBinding finds a binding of any instance. The caller holds the lock.
func (m *Memory) findBinding(id backstay.BindingID) (*memoryBinding, bool) {
	for _, in := range m.instances {
		if b, ok := in.bindings[id]; ok {
			return b, true
		}
	}
	return nil, false
}

func sameBinding(kept, r backstay.BindRequest) bool {
	return kept.InstanceID == r.InstanceID && kept.AppID == r.AppID && bytes.Equal(kept.Parameters, r.Parameters)
}

func (b *memoryBinding) details() backstay.BindingDetails {
	id := string(b.request.BindingID)
	user := "u" + id[len(id)-8:] // ids begin with the time, and many alike
	return backstay.BindingDetails{Credentials: backstay.Credentials{
		"host": "127.0.0.1", "port": 20000, "name": "main", "username": user, "password": "p-" + user,
		"uri":     "postgres://" + user + ":p-" + user + "@127.0.0.1:20000/main",
		"jdbcuri": "jdbc:postgresql://127.0.0.1:20000/main?password=p-" + user + "&ssl=true&user=" + user,
	}}
}

// beginBinding replaces the binding's operation by a new one, which ends at once or a moment later.
func (m *Memory) beginBinding(b *memoryBinding, t backstay.OperationType) {
	b.key = newKey()
	b.op = backstay.Operation{Type: t, State: backstay.InProgress, Description: string(t) + " is on its way"}
	if m.AsyncBindings {
		m.announce()
		go func(key backstay.OperationKey) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.finishBinding(b, key)
		}(b.key)
		return
	}
	m.finishBinding(b, b.key)
}

// finishBinding ends an operation, unless another one has replaced it. The caller holds the lock.
func (m *Memory) finishBinding(b *memoryBinding, key backstay.OperationKey) {
	if b.key != key {
		return
	}
	b.op.State, b.op.Description = backstay.Succeeded, string(b.op.Type)+" is done"
	if in, ok := m.instances[b.request.InstanceID]; ok && b.op.Type == backstay.Delete {
		delete(in.bindings, b.request.BindingID)
	}
	m.announce()
}

// Unbind forgets the credentials.
func (m *Memory) Unbind(_ context.Context, r backstay.UnbindRequest) (backstay.Unbound, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := m.binding(r.InstanceID, r.BindingID)
	if err == nil {
		err = checkOffering(r.ServiceID)
	}
	if err != nil {
		return backstay.Unbound{}, err
	}
	if b.op.Type != backstay.Delete {
		m.beginBinding(b, backstay.Delete)
	}
	return backstay.Unbound{Async: b.op.State == backstay.InProgress, Operation: b.key}, nil
}

// binding finds a binding. The caller holds the lock.
func (m *Memory) binding(instance backstay.InstanceID, id backstay.BindingID) (*memoryBinding, error) {
	if in, ok := m.instances[instance]; ok && in.bindings[id] != nil {
		return in.bindings[id], nil
	}
	return nil, backstay.Errorf(backstay.NotFound, "Service binding %s not found", id)
}

// FetchBinding tells a binding once more.
func (m *Memory) FetchBinding(_ context.Context, r backstay.FetchBindingRequest) (backstay.FetchedBinding, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := m.binding(r.InstanceID, r.BindingID)
	switch {
	case err != nil:
		return backstay.FetchedBinding{}, err
	case b.op.Type == backstay.Create && b.op.State != backstay.Succeeded:
		return backstay.FetchedBinding{}, backstay.Errorf(backstay.NotFound, "Service binding %s not found", r.BindingID)
	}
	return backstay.FetchedBinding{BindingDetails: b.details(), Parameters: b.request.Parameters}, nil
}

// LastBindingOperation tells how the binding comes along.
func (m *Memory) LastBindingOperation(
	_ context.Context, r backstay.LastBindingOperationRequest,
) (backstay.Operation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := m.binding(r.InstanceID, r.BindingID)
	if err != nil {
		return backstay.Operation{}, err
	}
	return b.op, nil
}

// AwaitBindingOperation tells it as soon as it differs from seen.
func (m *Memory) AwaitBindingOperation(
	ctx context.Context, r backstay.LastBindingOperationRequest, seen backstay.Operation,
) (backstay.Operation, error) {
	return m.await(ctx, seen, func() (backstay.Operation, error) { return m.LastBindingOperation(ctx, r) })
}

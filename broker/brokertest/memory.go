package brokertest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/backstay/backstay"
)

// Memory is a whole broker without a backend, for tests of those who ask brokers for services: what
// it provisions are entries of a map. It keeps the contract of [Run].
type Memory struct {
	mu        sync.Mutex
	changed   chan struct{} // closed and replaced at every change
	instances map[backstay.InstanceID]*memoryInstance
}

type memoryInstance struct {
	request  backstay.ProvisionRequest
	op       backstay.Operation
	bindings map[backstay.BindingID]backstay.Credentials
}

// NewMemory returns a broker that offers postgres with the plans Free and M-dedicated-15.
func NewMemory() *Memory {
	return &Memory{changed: make(chan struct{}), instances: map[backstay.InstanceID]*memoryInstance{}}
}

const (
	memoryOffering backstay.OfferingID = "00000000-0000-4000-8000-00000000000a"
	memoryFree     backstay.PlanID     = "00000000-0000-4000-8000-00000000000b"
	memoryMedium   backstay.PlanID     = "00000000-0000-4000-8000-00000000000c"
)

// Catalog has one offering.
func (m *Memory) Catalog(context.Context) ([]backstay.Offering, error) {
	schema := json.RawMessage(`{"type":"object","additionalProperties":false,"properties":{"enable_extensions":{"type":"array"}}}`)
	plan := func(id backstay.PlanID, name string, free bool, amount float64) backstay.Plan {
		return backstay.Plan{
			ID: id, OfferingID: memoryOffering, Name: name, Description: name + " of postgres", Free: free, Available: true,
			Costs:   []backstay.Cost{{Amount: amount, Currency: "GBP", Unit: "MONTHLY"}},
			Schemas: backstay.Schemas{CreateInstance: schema},
		}
	}
	return []backstay.Offering{{
		ID: memoryOffering, Name: "postgres", Description: "PostgreSQL in memory", DocumentationURL: "https://www.postgresql.org/docs/",
		Tags: []string{"postgres", "relational"}, Shareable: true, Available: true,
		Plans: []backstay.Plan{plan(memoryMedium, "M-dedicated-15", false, 120), plan(memoryFree, "Free", true, 0)},
	}}, nil
}

// AdmitProvision refuses unknown plans and parameters.
func (m *Memory) AdmitProvision(_ context.Context, r backstay.ProvisionRequest) error {
	if r.OfferingID != memoryOffering || r.PlanID != memoryFree && r.PlanID != memoryMedium {
		return backstay.Errorf(backstay.NotFound, "Service plan '%s' is not offered here.", r.PlanID)
	}
	return knownParameters(r.Parameters, "enable_extensions")
}

// AdmitBind refuses all parameters.
func (m *Memory) AdmitBind(_ context.Context, r backstay.BindRequest) error {
	return knownParameters(r.Parameters)
}

func knownParameters(given json.RawMessage, known ...string) error {
	var object map[string]any
	if given != nil && json.Unmarshal(given, &object) != nil {
		return backstay.Errorf(backstay.Invalid, "Parameters must be a JSON object")
	}
	for _, name := range known {
		delete(object, name)
	}
	for name := range object {
		return backstay.Errorf(backstay.Invalid, "Unknown parameter: %s.", name)
	}
	return nil
}

// Provision accepts an instance, which is there a moment later.
func (m *Memory) Provision(ctx context.Context, r backstay.ProvisionRequest) error {
	if err := m.AdmitProvision(ctx, r); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if in, ok := m.instances[r.InstanceID]; ok {
		if in.request.PlanID != r.PlanID || in.request.SpaceID != r.SpaceID || !bytes.Equal(in.request.Parameters, r.Parameters) {
			return backstay.Errorf(backstay.Taken, "Service instance %s exists with other attributes.", r.InstanceID)
		}
		return nil
	}
	op := backstay.Operation{Type: backstay.Create, State: backstay.InProgress, Description: "on its way"}
	m.instances[r.InstanceID] = &memoryInstance{request: r, op: op, bindings: map[backstay.BindingID]backstay.Credentials{}}
	m.announce()
	go m.finish(r.InstanceID, backstay.Create)
	return nil
}

// Deprovision accepts the end of an instance, which is gone a moment later.
func (m *Memory) Deprovision(_ context.Context, id backstay.InstanceID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	in, ok := m.instances[id]
	if !ok {
		return unknownInstance(id)
	}
	in.op = backstay.Operation{Type: backstay.Delete, State: backstay.InProgress, Description: "on its way out"}
	m.announce()
	go m.finish(id, backstay.Delete)
	return nil
}

// finish ends an operation, unless another one has replaced it.
func (m *Memory) finish(id backstay.InstanceID, t backstay.OperationType) {
	m.mu.Lock()
	defer m.mu.Unlock()
	in, ok := m.instances[id]
	if !ok || in.op.Type != t {
		return
	}
	if t == backstay.Delete {
		delete(m.instances, id)
	} else {
		in.op.State, in.op.Description = backstay.Succeeded, fmt.Sprintf("DB Instance 'backstay-%s' status is 'available'", id)
	}
	m.announce()
}

func (m *Memory) announce() {
	close(m.changed)
	m.changed = make(chan struct{})
}

func unknownInstance(id backstay.InstanceID) error {
	return backstay.Errorf(backstay.NotFound, "Service instance %s not found", id)
}

// LastOperation tells how the instance comes along.
func (m *Memory) LastOperation(_ context.Context, id backstay.InstanceID) (backstay.Operation, error) {
	op, _, err := m.look(id)
	return op, err
}

func (m *Memory) look(id backstay.InstanceID) (backstay.Operation, <-chan struct{}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	in, ok := m.instances[id]
	if !ok {
		return backstay.Operation{}, nil, unknownInstance(id)
	}
	return in.op, m.changed, nil
}

// AwaitOperation tells it as soon as it differs from seen.
func (m *Memory) AwaitOperation(ctx context.Context, id backstay.InstanceID, seen backstay.Operation) (backstay.Operation, error) {
	for {
		op, changed, err := m.look(id)
		if err != nil || op.State != seen.State || op.Description != seen.Description {
			return op, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return op, ctx.Err()
		}
	}
}

// Parameters are those that were given.
func (m *Memory) Parameters(_ context.Context, id backstay.InstanceID) (map[string]any, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	in, ok := m.instances[id]
	if !ok {
		return nil, unknownInstance(id)
	}
	parameters := map[string]any{}
	if in.request.Parameters == nil {
		return parameters, nil
	}
	return parameters, json.Unmarshal(in.request.Parameters, &parameters)
}

// Bind makes up credentials with the keys of the real thing.
func (m *Memory) Bind(ctx context.Context, r backstay.BindRequest) (backstay.Credentials, error) {
	if err := m.AdmitBind(ctx, r); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	in, ok := m.instances[r.InstanceID]
	switch {
	case !ok:
		return nil, unknownInstance(r.InstanceID)
	case in.op.State == backstay.InProgress:
		return nil, backstay.Errorf(backstay.Busy, "An operation for service instance %s is in progress.", r.InstanceID)
	case in.bindings[r.BindingID] == nil:
		id := string(r.BindingID)
		user := "u" + id[len(id)-8:] // ids begin with the time, and many alike
		in.bindings[r.BindingID] = backstay.Credentials{
			"host": "127.0.0.1", "port": 20000, "name": "main", "username": user, "password": "p-" + user,
			"uri":     "postgres://" + user + ":p-" + user + "@127.0.0.1:20000/main",
			"jdbcuri": "jdbc:postgresql://127.0.0.1:20000/main?password=p-" + user + "&ssl=true&user=" + user,
		}
	}
	return in.bindings[r.BindingID], nil
}

// Unbind forgets the credentials.
func (m *Memory) Unbind(_ context.Context, instance backstay.InstanceID, binding backstay.BindingID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if in, ok := m.instances[instance]; ok {
		delete(in.bindings, binding)
	}
	return nil
}

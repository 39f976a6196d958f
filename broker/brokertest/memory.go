package brokertest

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
)

// Memory is a whole broker without a backend, for tests of those who ask brokers for services: what
// it provisions are entries of a map. It keeps the contract of [Run]. Its fields are set before use.
type Memory struct {
	Updateable    bool // instances may change their plan and their parameters
	AsyncBindings bool // bindings are made and ended a moment after they were asked for

	mu        sync.Mutex
	changed   chan struct{} // closed and replaced at every change
	instances map[backstay.InstanceID]*memoryInstance
	changes   []backstay.InstanceID // that nobody has asked for, in their order
	version   string                // the newest one of both plans
}

// memoryInstance is an instance as it was accepted, with what its last operation makes of it.
type memoryInstance struct {
	accepted backstay.ProvisionRequest
	wanted   backstay.ProvisionRequest
	op       backstay.Operation
	key      backstay.OperationKey
	bindings map[backstay.BindingID]*memoryBinding
	pending  *backstay.UpdateRequest // what waits for the window; nil for nothing
}

// NewMemory returns a broker that offers postgres with the plans Free and M-dedicated-15.
func NewMemory() *Memory {
	return &Memory{
		changed: make(chan struct{}), instances: map[backstay.InstanceID]*memoryInstance{}, version: "15.1.0",
	}
}

// The ids of the catalog of [Memory].
const (
	MemoryOffering backstay.ServiceID     = "00000000-0000-4000-8000-00000000000a"
	MemoryFree     backstay.ServicePlanID = "00000000-0000-4000-8000-00000000000b"
	MemoryMedium   backstay.ServicePlanID = "00000000-0000-4000-8000-00000000000c"
)

// missingExtension is what no instance comes up with, though the broker takes it as a parameter.
const missingExtension = "missing"

// Catalog has one offering.
func (m *Memory) Catalog(context.Context) ([]backstay.CatalogOffering, error) {
	schema := json.RawMessage(
		`{"type":"object","additionalProperties":false,"properties":{"enable_extensions":{"type":"array"}}}`)
	m.mu.Lock()
	defer m.mu.Unlock()
	schemas := backstay.Schemas{CreateInstance: schema}
	if m.Updateable {
		schemas.UpdateInstance = schema
	}
	plan := func(id backstay.ServicePlanID, name string, free bool, amount float64) backstay.CatalogPlan {
		return backstay.CatalogPlan{
			ID: id, Name: name, Description: name + " of postgres", Free: free, Schemas: schemas,
			Costs: []backstay.Cost{{Amount: amount, Currency: "GBP", Unit: "MONTHLY"}}, MaintenanceInfo: m.maintenanceInfo(),
		}
	}
	return []backstay.CatalogOffering{{
		ID: MemoryOffering, Name: "postgres", Description: "PostgreSQL in memory",
		DocumentationURL: "https://www.postgresql.org/docs/", Tags: []string{"postgres", "relational"}, Shareable: true,
		Bindable: true, InstancesRetrievable: true, BindingsRetrievable: true, PlanUpdateable: m.Updateable,
		Plans: []backstay.CatalogPlan{plan(MemoryMedium, "M-dedicated-15", false, 120), plan(MemoryFree, "Free", true, 0)},
	}}, nil
}

// maintenanceInfo is the version of both plans. The caller holds the lock.
func (m *Memory) maintenanceInfo() *backstay.MaintenanceInfo {
	if !m.Updateable {
		return nil
	}
	return &backstay.MaintenanceInfo{
		Version: m.version, Description: "PostgreSQL " + strings.TrimSuffix(m.version, ".0"),
	}
}

// AdmitProvision refuses unknown plans and parameters.
func (m *Memory) AdmitProvision(_ context.Context, r backstay.ProvisionRequest) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.admitProvision(r)
}

// admitProvision is AdmitProvision of whoever holds the lock.
func (m *Memory) admitProvision(r backstay.ProvisionRequest) error {
	if err := checkPlan(r.ServiceID, r.PlanID); err != nil {
		return err
	}
	if err := m.checkMaintenanceInfo(r.MaintenanceInfo); err != nil {
		return err
	}
	return knownParameters(r.Parameters, "enable_extensions")
}

func checkPlan(offering backstay.ServiceID, plan backstay.ServicePlanID) error {
	if offering != MemoryOffering || plan != MemoryFree && plan != MemoryMedium {
		return backstay.Errorf(backstay.NotFound, "Service plan '%s' is not offered here.", plan)
	}
	return nil
}

// checkOffering refuses what is said to be of another offering than the one that there is.
func checkOffering(said backstay.ServiceID) error {
	if said == "" || said == MemoryOffering {
		return nil
	}
	return backstay.Errorf(backstay.Invalid, "The service instance is not of the service offering '%s'.", said)
}

func (m *Memory) checkMaintenanceInfo(given *backstay.MaintenanceInfo) error {
	return backstay.CatalogPlan{Name: "of postgres", MaintenanceInfo: m.maintenanceInfo()}.CheckMaintenanceInfo(given)
}

func knownParameters(given json.RawMessage, known ...string) error {
	var object map[string]any
	if given != nil && json.Unmarshal(given, &object) != nil {
		return backstay.Errorf(backstay.Invalid, "Parameters must be a JSON object")
	}
	for name := range object {
		if !slices.Contains(known, name) {
			return backstay.Errorf(backstay.Invalid, "Unknown parameter: %s.", name)
		}
	}
	return nil
}

// Provision accepts an instance, which is there a moment later.
func (m *Memory) Provision(_ context.Context, r backstay.ProvisionRequest) (backstay.Provisioned, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	in, known := m.instances[r.InstanceID]
	if known && !sameInstance(in.accepted, r) {
		return backstay.Provisioned{}, backstay.Errorf(backstay.Taken,
			"Service instance %s exists with other attributes.", r.InstanceID)
	}
	if err := m.admitProvision(r); err != nil {
		return backstay.Provisioned{}, err
	}
	if !known {
		in = &memoryInstance{accepted: r, bindings: map[backstay.BindingID]*memoryBinding{}}
		m.instances[r.InstanceID] = in
		m.begin(in, backstay.Create, r)
	}
	return backstay.Provisioned{Async: !in.made(), Existed: in.made(), Operation: in.key}, nil
}

func sameInstance(kept, r backstay.ProvisionRequest) bool {
	return kept.ServiceID == r.ServiceID && kept.PlanID == r.PlanID && kept.Context.SpaceID == r.Context.SpaceID &&
		kept.Context.OrganizationID == r.Context.OrganizationID && bytes.Equal(kept.Parameters, r.Parameters)
}

// made tells whether the instance has been there, whatever becomes of it.
func (in *memoryInstance) made() bool {
	return in.op.Type != backstay.Create || in.op.State == backstay.Succeeded
}

// AdmitUpdate refuses what Update refuses but for an operation in progress.
func (m *Memory) AdmitUpdate(_ context.Context, r backstay.UpdateRequest) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	in, ok := m.instances[r.InstanceID]
	if !ok {
		return unknownInstance(r.InstanceID)
	}
	return m.checkUpdate(in, r)
}

func (m *Memory) checkUpdate(in *memoryInstance, r backstay.UpdateRequest) error {
	if err := checkOffering(r.ServiceID); err != nil {
		return err
	}
	if r.PlanID != "" {
		if err := checkPlan(r.ServiceID, r.PlanID); err != nil {
			return err
		}
	}
	switch {
	case m.Updateable:
	case r.PlanID != "" && r.PlanID != in.accepted.PlanID:
		return backstay.Errorf(backstay.Unsupported, "The service does not support changing plans.")
	case r.Parameters != nil:
		return backstay.Errorf(backstay.Unsupported, "The service does not support changing parameters.")
	}
	if err := m.checkMaintenanceInfo(r.MaintenanceInfo); err != nil {
		return err
	}
	return knownParameters(r.Parameters, "enable_extensions", atWindow)
}

// Update accepts a change of plan or parameters, which is made a moment later.
func (m *Memory) Update(_ context.Context, r backstay.UpdateRequest) (backstay.Updated, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	in, ok := m.instances[r.InstanceID]
	if !ok {
		return backstay.Updated{}, unknownInstance(r.InstanceID)
	}
	if err := m.checkUpdate(in, r); err != nil {
		return backstay.Updated{}, err
	}
	r, wait := window(r)
	if wait != nil && in.op.State != backstay.InProgress {
		return m.queue(in, r, *wait), nil
	}
	wanted := updated(in.accepted, r)
	switch {
	case in.op.State == backstay.InProgress && in.op.Type == backstay.Update && sameUpdate(in.wanted, wanted):
		return backstay.Updated{Async: true, Operation: in.key}, nil
	case in.op.State == backstay.InProgress || !in.made():
		return backstay.Updated{}, busy(r.InstanceID)
	case sameUpdate(in.accepted, wanted):
		return backstay.Updated{}, nil
	}
	m.begin(in, backstay.Update, wanted)
	return backstay.Updated{Async: true, Operation: in.key}, nil
}

// updated is what an update makes of an instance.
func updated(in backstay.ProvisionRequest, r backstay.UpdateRequest) backstay.ProvisionRequest {
	if r.PlanID != "" {
		in.PlanID = r.PlanID
	}
	if r.MaintenanceInfo != nil {
		in.MaintenanceInfo = r.MaintenanceInfo
	}
	if r.Parameters == nil {
		return in
	}
	all := map[string]json.RawMessage{}
	for _, given := range []json.RawMessage{in.Parameters, r.Parameters} {
		var object map[string]json.RawMessage
		if given != nil && json.Unmarshal(given, &object) == nil {
			maps.Copy(all, object)
		}
	}
	in.Parameters, _ = json.Marshal(all) // of what was JSON
	return in
}

func sameUpdate(a, b backstay.ProvisionRequest) bool {
	sameVersion := a.MaintenanceInfo == b.MaintenanceInfo ||
		a.MaintenanceInfo != nil && b.MaintenanceInfo != nil && a.MaintenanceInfo.Version == b.MaintenanceInfo.Version
	return a.PlanID == b.PlanID && bytes.Equal(a.Parameters, b.Parameters) && sameVersion
}

func busy(id backstay.InstanceID) error {
	return backstay.Errorf(backstay.Busy, "An operation for service instance %s is in progress.", id)
}

// Deprovision accepts the end of an instance, which is gone a moment later.
func (m *Memory) Deprovision(_ context.Context, r backstay.DeprovisionRequest) (backstay.Deprovisioned, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	in, ok := m.instances[r.InstanceID]
	if !ok {
		return backstay.Deprovisioned{}, unknownInstance(r.InstanceID)
	}
	if err := checkOffering(r.ServiceID); err != nil {
		return backstay.Deprovisioned{}, err
	}
	if in.op.Type != backstay.Delete {
		m.begin(in, backstay.Delete, in.accepted)
	}
	return backstay.Deprovisioned{Async: true, Operation: in.key}, nil
}

// begin replaces the instance's operation by a new one.
func (m *Memory) begin(in *memoryInstance, t backstay.OperationType, wanted backstay.ProvisionRequest) {
	in.wanted, in.key = wanted, newKey()
	in.op = backstay.Operation{Type: t, State: backstay.InProgress, Description: string(t) + " is on its way"}
	m.announce()
	go m.finish(wanted.InstanceID, in.key)
}

func newKey() backstay.OperationKey { return backstay.OperationKey(uuid.NewString()) }

// finish ends an operation, unless another one has replaced it.
func (m *Memory) finish(id backstay.InstanceID, key backstay.OperationKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	in, ok := m.instances[id]
	if !ok || in.key != key {
		return
	}
	switch {
	case in.op.Type == backstay.Delete:
		delete(m.instances, id)
	case bytes.Contains(in.wanted.Parameters, []byte(`"`+missingExtension+`"`)):
		in.op.State, in.op.Description = backstay.Failed, "The extension '"+missingExtension+"' is not installed."
	default:
		in.accepted = in.wanted
		in.op.State = backstay.Succeeded
		in.op.Description = in.description(id)
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

// FetchInstance tells an instance as it is in force.
func (m *Memory) FetchInstance(
	_ context.Context, r backstay.FetchInstanceRequest,
) (backstay.FetchedInstance, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	in, ok := m.instances[r.InstanceID]
	if !ok || !in.made() {
		return backstay.FetchedInstance{}, unknownInstance(r.InstanceID)
	}
	return backstay.FetchedInstance{
		ServiceID: in.accepted.ServiceID, PlanID: in.accepted.PlanID, Parameters: in.shown(),
		MaintenanceInfo: in.accepted.MaintenanceInfo,
	}, nil
}

// LastOperation tells how the instance comes along.
func (m *Memory) LastOperation(_ context.Context, r backstay.LastOperationRequest) (backstay.Operation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	in, ok := m.instances[r.InstanceID]
	if !ok {
		return backstay.Operation{}, unknownInstance(r.InstanceID)
	}
	return in.op, nil
}

// AwaitOperation tells it as soon as it differs from seen.
func (m *Memory) AwaitOperation(
	ctx context.Context, r backstay.LastOperationRequest, seen backstay.Operation,
) (backstay.Operation, error) {
	return m.await(ctx, seen, func() (backstay.Operation, error) { return m.LastOperation(ctx, r) })
}

// await asks until the answer differs from seen, again at every change.
func (m *Memory) await(
	ctx context.Context, seen backstay.Operation, ask func() (backstay.Operation, error),
) (backstay.Operation, error) {
	for {
		m.mu.Lock()
		changed := m.changed
		m.mu.Unlock()
		op, err := ask()
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

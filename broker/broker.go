package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/pki"
)

// Broker is ours. Its fields are set once, before use; its methods are safe for concurrent use.
type Broker struct {
	Store     Store
	Backend   backend.Backend
	Authority *pki.Authority // signs the certificates of endpoints
	Offered   Catalog
	Key       seal.Key // seals parameters, Specs and passwords before they reach the Store
	Log       *slog.Logger

	mu   sync.Mutex
	runs map[backstay.InstanceID]*run // the operations that Work is at
}

var (
	_ backstay.Broker           = (*Broker)(nil)
	_ backstay.Admitter         = (*Broker)(nil)
	_ backstay.OperationAwaiter = (*Broker)(nil)
	_ backstay.HealthTeller     = (*Broker)(nil)
)

// Catalog lists the offerings whose engines the backend has, with the plans it can serve.
func (b *Broker) Catalog(ctx context.Context) ([]backstay.CatalogOffering, error) {
	inventory, err := b.Backend.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	var offerings []backstay.CatalogOffering
	for i := range b.Offered.Offerings {
		o := &b.Offered.Offerings[i]
		plans := b.Offered.plans(o, inventory)
		if len(plans) == 0 {
			continue
		}
		offering := backstay.CatalogOffering{
			ID: backstay.ServiceID(o.ID), Name: o.Name, Description: o.Description, DocumentationURL: o.Documentation,
			Tags: o.Tags, Bindable: true, InstancesRetrievable: true, Shareable: o.Shareable, Private: o.Private,
		}
		for _, p := range plans {
			offering.Plans = append(offering.Plans, p.CatalogPlan)
		}
		offerings = append(offerings, offering)
	}
	return offerings, nil
}

// findPlan returns the plan of that id of that offering: a plan of another one is not it.
func (b *Broker) findPlan(
	ctx context.Context, offering backstay.ServiceID, id backstay.ServicePlanID,
) (plan, error) {
	inventory, err := b.Backend.Inventory(ctx)
	if err != nil {
		return plan{}, err
	}
	for i := range b.Offered.Offerings {
		o := &b.Offered.Offerings[i]
		if o.ID != string(offering) {
			continue
		}
		for _, p := range b.Offered.plans(o, inventory) {
			if p.ID == id {
				return p, nil
			}
		}
	}
	return plan{}, backstay.Errorf(backstay.NotFound,
		"Service plan '%s' of service offering '%s' is not offered here.", id, offering)
}

// AdmitProvision refuses what Provision or the backend would refuse.
func (b *Broker) AdmitProvision(ctx context.Context, r backstay.ProvisionRequest) error {
	p, err := b.findPlan(ctx, r.ServiceID, r.PlanID)
	if err != nil {
		return err
	}
	if err := p.offering.Parameters.Create.Check(r.Parameters); err != nil {
		return err
	}
	return b.Backend.Admit(ctx, p.spec(r, backstay.Certificate{}))
}

// spec is what the plan wants of the backend for the request.
func (p plan) spec(r backstay.ProvisionRequest, c backstay.Certificate) backend.Spec {
	return backend.Spec{
		Instance: r.InstanceID, Generation: 1, Engine: p.engine.Engine, Version: p.engine.Version,
		Size:     backstay.Size{Storage: p.size.Storage, Memory: p.size.Memory, Connections: p.size.Connections},
		Settings: r.Parameters, TLS: c,
	}
}

// AdmitUpdate refuses what Update refuses: everything.
func (b *Broker) AdmitUpdate(ctx context.Context, r backstay.UpdateRequest) error {
	in, err := b.Store.Instance(ctx, r.InstanceID)
	switch {
	case err != nil:
		return err
	case r.PlanID != "" && r.PlanID != in.PlanID:
		return backstay.Errorf(backstay.Unsupported, "The service does not support changing plans.")
	case r.Parameters != nil:
		return backstay.Errorf(backstay.Unsupported, "The service does not support changing parameters.")
	case r.MaintenanceInfo != nil:
		return backstay.Errorf(backstay.Unsupported, "The service does not support upgrades.")
	}
	return nil
}

// Update changes nothing yet: what would have to change it refuses.
func (b *Broker) Update(ctx context.Context, r backstay.UpdateRequest) (backstay.Updated, error) {
	return backstay.Updated{}, b.AdmitUpdate(ctx, r)
}

// Provision accepts an instance and records the job that will bring it up.
func (b *Broker) Provision(ctx context.Context, r backstay.ProvisionRequest) (backstay.Provisioned, error) {
	kept, err := b.Store.Instance(ctx, r.InstanceID)
	if backstay.KindOf(err) == backstay.NotFound {
		kept, err = b.accept(ctx, r)
	}
	if err != nil {
		return backstay.Provisioned{}, err
	}
	made := kept.Operation.Type != backstay.Create || kept.Operation.State == backstay.Succeeded
	answer := backstay.Provisioned{
		Async: !made, Existed: made, Operation: backstay.OperationKey(kept.OperationID),
	}
	return answer, b.sameRequest(kept, r)
}

func (b *Broker) accept(ctx context.Context, r backstay.ProvisionRequest) (Instance, error) {
	p, err := b.findPlan(ctx, r.ServiceID, r.PlanID)
	if err != nil {
		return Instance{}, err
	}
	if err := p.offering.Parameters.Create.Check(r.Parameters); err != nil {
		return Instance{}, err
	}
	names, err := b.Backend.Names(ctx, p.spec(r, backstay.Certificate{}))
	if err != nil {
		return Instance{}, fmt.Errorf("ask for the names of the endpoint: %w", err)
	}
	certificate, err := b.Authority.Issue(names, time.Now())
	if err != nil {
		return Instance{}, fmt.Errorf("issue certificate: %w", err)
	}
	spec, err := json.Marshal(p.spec(r, certificate))
	if err != nil {
		return Instance{}, fmt.Errorf("encode spec: %w", err)
	}
	in := Instance{
		ID: r.InstanceID, ServiceID: r.ServiceID, PlanID: r.PlanID,
		OrganizationID: r.Context.OrganizationID, SpaceID: r.Context.SpaceID,
		Spec: b.Key.Seal(spec, specContext(r.InstanceID)), OperationID: uuid.NewString(),
		Operation: backstay.Operation{
			Type: backstay.Create, State: backstay.InProgress, Description: "The service instance is about to be created.",
		},
	}
	if r.Parameters != nil {
		in.Parameters = b.Key.Seal(r.Parameters, parametersContext(r.InstanceID))
	}
	return b.Store.AddInstance(ctx, in)
}

// sameRequest refuses an id that is in use for something else (OSB 2.17, "Provisioning", 409).
func (b *Broker) sameRequest(kept Instance, r backstay.ProvisionRequest) error {
	parameters, err := b.openParameters(kept)
	if err != nil {
		return err
	}
	if kept.ServiceID != r.ServiceID || kept.PlanID != r.PlanID || kept.SpaceID != r.Context.SpaceID ||
		!bytes.Equal(parameters, r.Parameters) {
		return backstay.Errorf(backstay.Taken, "Service instance %s exists with other attributes.", r.InstanceID)
	}
	return nil
}

func (b *Broker) openParameters(in Instance) (json.RawMessage, error) {
	if in.Parameters == nil {
		return nil, nil
	}
	return b.Key.Open(in.Parameters, parametersContext(in.ID))
}

func (b *Broker) openSpec(in Instance) (s backend.Spec, err error) {
	plain, err := b.Key.Open(in.Spec, specContext(in.ID))
	if err != nil {
		return s, fmt.Errorf("open spec of %s: %w", in.ID, err)
	}
	return s, json.Unmarshal(plain, &s)
}

// Deprovision accepts the end of an instance. A create that still runs is ended by it.
func (b *Broker) Deprovision(ctx context.Context, r backstay.DeprovisionRequest) (backstay.Deprovisioned, error) {
	in, err := b.Store.Instance(ctx, r.InstanceID)
	if err != nil {
		return backstay.Deprovisioned{}, err
	}
	if in.Operation.Type == backstay.Delete && in.Operation.State == backstay.InProgress {
		return backstay.Deprovisioned{Async: true, Operation: backstay.OperationKey(in.OperationID)}, nil
	}
	op := backstay.Operation{
		Type: backstay.Delete, State: backstay.InProgress, Description: "The service instance is about to be deleted.",
	}
	id := uuid.NewString()
	answer := backstay.Deprovisioned{Async: true, Operation: backstay.OperationKey(id)}
	return answer, b.Store.BeginOperation(ctx, r.InstanceID, id, op)
}

// LastOperation tells how the instance's operation comes along.
func (b *Broker) LastOperation(ctx context.Context, r backstay.LastOperationRequest) (backstay.Operation, error) {
	in, err := b.Store.Instance(ctx, r.InstanceID)
	return in.Operation, err
}

// AwaitOperation tells it as soon as there is something new.
func (b *Broker) AwaitOperation(
	ctx context.Context, r backstay.LastOperationRequest, seen backstay.Operation,
) (backstay.Operation, error) {
	return b.Store.AwaitOperation(ctx, r.InstanceID, seen)
}

// Unhealthy tells which instances do not come up, and why.
func (b *Broker) Unhealthy(ctx context.Context) (map[backstay.InstanceID]string, error) {
	unwell, err := b.Backend.Unwell(ctx)
	reasons := make(map[backstay.InstanceID]string, len(unwell))
	for _, s := range unwell {
		if s.Phase == backend.Failing { // else it serves, as it did before it was to change
			reasons[s.Instance] = s.Message
		}
	}
	return reasons, err
}

// FetchInstance tells an instance as it is in force.
func (b *Broker) FetchInstance(
	ctx context.Context, r backstay.FetchInstanceRequest,
) (backstay.FetchedInstance, error) {
	in, err := b.Store.Instance(ctx, r.InstanceID)
	if err != nil {
		return backstay.FetchedInstance{}, err
	}
	parameters, err := b.openParameters(in)
	return backstay.FetchedInstance{ServiceID: in.ServiceID, PlanID: in.PlanID, Parameters: parameters}, err
}

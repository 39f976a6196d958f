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
	_ backstay.ParameterFetcher = (*Broker)(nil)
	_ backstay.OperationAwaiter = (*Broker)(nil)
	_ backstay.HealthTeller     = (*Broker)(nil)
)

// Catalog lists the offerings whose engines the backend has, with the plans it can serve.
func (b *Broker) Catalog(ctx context.Context) ([]backstay.Offering, error) {
	inventory, err := b.Backend.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	var offerings []backstay.Offering
	for i := range b.Offered.Offerings {
		o := &b.Offered.Offerings[i]
		plans := b.Offered.plans(o, inventory)
		if len(plans) == 0 {
			continue
		}
		offering := backstay.Offering{
			ID: backstay.OfferingID(o.ID), Name: o.Name, Description: o.Description, DocumentationURL: o.Documentation,
			Tags: o.Tags, Shareable: o.Shareable, Available: true, Private: o.Private,
		}
		for _, p := range plans {
			offering.Plans = append(offering.Plans, p.Plan)
		}
		offerings = append(offerings, offering)
	}
	return offerings, nil
}

// findPlan returns the plan of that id of that offering: a plan of another one is not it.
func (b *Broker) findPlan(ctx context.Context, offering backstay.OfferingID, id backstay.PlanID) (plan, error) {
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
	return plan{}, backstay.Errorf(backstay.NotFound, "Service plan '%s' of service offering '%s' is not offered here.", id, offering)
}

// AdmitProvision refuses what Provision or the backend would refuse.
func (b *Broker) AdmitProvision(ctx context.Context, r backstay.ProvisionRequest) error {
	p, err := b.findPlan(ctx, r.OfferingID, r.PlanID)
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

// Provision accepts an instance and records the job that will bring it up.
func (b *Broker) Provision(ctx context.Context, r backstay.ProvisionRequest) error {
	kept, err := b.Store.Instance(ctx, r.InstanceID)
	if backstay.KindOf(err) == backstay.NotFound {
		kept, err = b.accept(ctx, r)
	}
	if err != nil {
		return err
	}
	return b.sameRequest(kept, r)
}

func (b *Broker) accept(ctx context.Context, r backstay.ProvisionRequest) (Instance, error) {
	p, err := b.findPlan(ctx, r.OfferingID, r.PlanID)
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
		ID: r.InstanceID, OfferingID: r.OfferingID, PlanID: r.PlanID, OrganizationID: r.OrganizationID, SpaceID: r.SpaceID,
		Spec: b.Key.Seal(spec, specContext(r.InstanceID)), OperationID: uuid.NewString(),
		Operation: backstay.Operation{Type: backstay.Create, State: backstay.InProgress, Description: "The service instance is about to be created."},
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
	if kept.OfferingID != r.OfferingID || kept.PlanID != r.PlanID || kept.SpaceID != r.SpaceID || !bytes.Equal(parameters, r.Parameters) {
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
func (b *Broker) Deprovision(ctx context.Context, id backstay.InstanceID) error {
	in, err := b.Store.Instance(ctx, id)
	if err != nil {
		return err
	}
	if in.Operation.Type == backstay.Delete && in.Operation.State == backstay.InProgress {
		return nil
	}
	op := backstay.Operation{Type: backstay.Delete, State: backstay.InProgress, Description: "The service instance is about to be deleted."}
	return b.Store.BeginOperation(ctx, id, uuid.NewString(), op)
}

// LastOperation tells how the instance's operation comes along.
func (b *Broker) LastOperation(ctx context.Context, id backstay.InstanceID) (backstay.Operation, error) {
	in, err := b.Store.Instance(ctx, id)
	return in.Operation, err
}

// AwaitOperation tells it as soon as there is something new.
func (b *Broker) AwaitOperation(ctx context.Context, id backstay.InstanceID, seen backstay.Operation) (backstay.Operation, error) {
	return b.Store.AwaitOperation(ctx, id, seen)
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

// Parameters are the instance's as they are in force, without secrets.
func (b *Broker) Parameters(ctx context.Context, id backstay.InstanceID) (map[string]any, error) {
	in, err := b.Store.Instance(ctx, id)
	if err != nil {
		return nil, err
	}
	given, err := b.openParameters(in)
	if err != nil {
		return nil, err
	}
	parameters := map[string]any{}
	if given == nil {
		return parameters, nil
	}
	return parameters, json.Unmarshal(given, &parameters)
}

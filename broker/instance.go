package broker

import (
	"bytes"
	"context"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/terms"
)

// AdmitProvision refuses what Provision or the backend would refuse.
func (b *Broker) AdmitProvision(ctx context.Context, r backstay.ProvisionRequest) error {
	agreed, in, err := b.agree(ctx, r)
	if err != nil {
		return err
	}
	agreed.Spec.Instance, agreed.Spec.Generation = r.InstanceID, 1
	return b.Backends[in].Admit(ctx, agreed.Spec)
}

// agree agrees on a new instance, and tells the backend that it is to live in.
func (b *Broker) agree(ctx context.Context, r backstay.ProvisionRequest) (agreed terms.Agreed, in string, err error) {
	p, err := b.findPlan(ctx, r.ServiceID, r.PlanID)
	if err == nil {
		err = p.CheckMaintenanceInfo(r.MaintenanceInfo)
	}
	if err == nil {
		agreed, err = p.terms().New(r.Parameters, chanceOf(r.InstanceID))
	}
	if err != nil {
		return agreed, "", err
	}
	agreed.Spec.Backup, agreed.Spec.Volume = withKey(agreed.Spec.Backup), withVolumeKey(agreed.Spec.Volume)
	if agreed.Origin != nil {
		agreed.Spec.Origin, err = b.origin(ctx, p, *agreed.Origin, r)
	}
	return agreed, p.backend, err
}

// Provision accepts an instance and records the job that will bring it up.
func (b *Broker) Provision(ctx context.Context, r backstay.ProvisionRequest) (backstay.Provisioned, error) {
	kept, err := b.Store.Instance(ctx, r.InstanceID)
	if backstay.KindOf(err) == backstay.NotFound {
		kept, err = b.acceptInstance(ctx, r)
	}
	if err == nil {
		err = b.sameRequest(kept, r)
	}
	if err != nil {
		return backstay.Provisioned{}, err
	}
	made := kept.Operation.Type != backstay.Create || kept.Operation.State == backstay.Succeeded
	return backstay.Provisioned{Async: !made, Existed: made, Operation: kept.Operation.ID}, nil
}

func (b *Broker) acceptInstance(ctx context.Context, r backstay.ProvisionRequest) (Instance, error) {
	agreed, in, err := b.agree(ctx, r)
	if err != nil {
		return Instance{}, err
	}
	agreed.Spec.Instance = r.InstanceID
	create := newOperation(r.InstanceID, backstay.Create, "The service instance is about to be created.")
	create.RequestID = r.RequestID
	if create.Wanted, err = b.want(r.InstanceID, r.PlanID, agreed.Terms); err != nil {
		return Instance{}, err
	}
	return b.Store.AddInstance(ctx, Instance{
		ID: r.InstanceID, ServiceID: r.ServiceID, PlanID: r.PlanID, Parameters: create.Parameters, Backend: in,
		OrganizationID: r.Context.OrganizationID, SpaceID: r.Context.SpaceID, Name: r.Context.InstanceName,
		Windows: agreed.Chosen,
	}, create)
}

// newOperation is one that a user has asked for, and that begins at once.
func newOperation(in backstay.InstanceID, t backstay.OperationType, description string) Operation {
	return Operation{
		ID: backstay.OperationKey(uuid.NewString()), InstanceID: in, Cause: ByUser,
		Operation: backstay.Operation{Type: t, State: backstay.InProgress, Description: description},
	}
}

// want seals what has been agreed on, as what an operation wants.
func (b *Broker) want(id backstay.InstanceID, p backstay.ServicePlanID, agreed terms.Terms) (Wanted, error) {
	sealed, err := b.sealSpec(id, agreed.Spec)
	return Wanted{PlanID: p, Parameters: b.seal(agreed.Parameters, parametersContext(id)), Spec: sealed}, err
}

// sameRequest refuses an id that is in use for something else (OSB 2.17, "Provisioning", 409).
func (b *Broker) sameRequest(kept Instance, r backstay.ProvisionRequest) error {
	parameters, err := b.open(kept.Parameters, parametersContext(kept.ID))
	if err != nil {
		return err
	}
	if kept.ServiceID != r.ServiceID || kept.PlanID != r.PlanID || kept.SpaceID != r.Context.SpaceID ||
		!bytes.Equal(parameters, r.Parameters) {
		return backstay.Errorf(backstay.Taken, "Service instance %s exists with other attributes.", r.InstanceID)
	}
	return nil
}

// Deprovision accepts the end of an instance. Whatever else is in progress is ended by it.
func (b *Broker) Deprovision(ctx context.Context, r backstay.DeprovisionRequest) (backstay.Deprovisioned, error) {
	op := newOperation(r.InstanceID, backstay.Delete, "The service instance is about to be deleted.")
	kept, err := b.Store.ReplaceOperation(ctx, op)
	return backstay.Deprovisioned{Async: true, Operation: kept.ID}, err
}

// Purge is a Deprovision that is waited for.
func (b *Broker) Purge(ctx context.Context, id backstay.InstanceID) error {
	answer, err := b.Deprovision(ctx, backstay.DeprovisionRequest{InstanceID: id})
	if err != nil {
		return absentIsFine(err)
	}
	var seen backstay.Operation
	for {
		op, err := b.Store.AwaitOperation(ctx, id, answer.Operation, seen)
		switch {
		case err != nil:
			return absentIsFine(err)
		case op.State == backstay.Failed:
			return backstay.Errorf(backstay.Unavailable, "%s", op.Description)
		}
		seen = op.Operation
	}
}

package broker

import (
	"bytes"
	"cmp"
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
		agreed.Spec.Origin, agreed.Spec.Build, err = b.origin(ctx, p, *agreed.Origin, r)
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
		err = b.sameRequest(ctx, kept, r)
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
func (b *Broker) sameRequest(ctx context.Context, kept Instance, r backstay.ProvisionRequest) error {
	parameters, err := b.open(kept.Parameters, parametersContext(kept.ID))
	if err != nil {
		return err
	}
	if kept.ServiceID != r.ServiceID || kept.PlanID != r.PlanID || kept.OrganizationID != r.Context.OrganizationID ||
		kept.SpaceID != r.Context.SpaceID || !bytes.Equal(parameters, r.Parameters) {
		return otherAttributes(r.InstanceID)
	}
	return b.sameVersion(ctx, kept, r)
}

func otherAttributes(id backstay.InstanceID) error {
	return backstay.Errorf(backstay.Taken, "Service instance %s exists with other attributes.", id)
}

// sameVersion refuses a version that is not the one that was accepted: that it is another one than the catalog's, if it
// is, else that the instance is of another one.
func (b *Broker) sameVersion(ctx context.Context, kept Instance, r backstay.ProvisionRequest) error {
	sealed := kept.Spec
	if sealed == nil {
		sealed = kept.Operation.Spec
	}
	if r.MaintenanceInfo == nil || sealed == nil {
		return nil
	}
	spec, err := b.openSpec(kept.ID, sealed)
	if err != nil {
		return err
	}
	build := cmp.Or(spec.Build, kept.Build)
	has := maintenanceInfo("", build)
	if has == nil || has.Version == r.MaintenanceInfo.Version {
		return nil
	}
	p, err := b.findPlan(ctx, kept.ServiceID, kept.PlanID)
	if err == nil {
		err = p.CheckMaintenanceInfo(r.MaintenanceInfo)
	}
	if err != nil || p.isCurrent(build) {
		return err
	}
	return otherAttributes(r.InstanceID)
}

// checkOffering refuses a request that says that an instance is of another offering than it is. Whoever does not say
// is told nothing.
func checkOffering(in Instance, said backstay.ServiceID) error {
	if said == "" || said == in.ServiceID {
		return nil
	}
	return backstay.Errorf(backstay.Invalid, "Service instance %s is not of the service offering '%s'.", in.ID, said)
}

// checkPlan refuses a plan that is neither the instance's nor sold with its offering. Which of these it is, a platform
// may be mistaken about: it has not heard yet of a change, or one that it has asked for waits for a maintenance window.
func (b *Broker) checkPlan(ctx context.Context, in Instance, said backstay.ServicePlanID) error {
	if said == "" || said == in.PlanID {
		return nil
	}
	_, err := b.findPlan(ctx, in.ServiceID, said)
	if backstay.KindOf(err) == backstay.NotFound {
		return backstay.Wrapf(err, backstay.Invalid, "%s", backstay.SentenceOf(err))
	}
	return nil // nor is anybody refused while it cannot be found out
}

// Deprovision accepts the end of an instance. Whatever else is in progress is ended by it. No plan is refused: whoever
// remembers another one than the instance has must be able to end it.
func (b *Broker) Deprovision(ctx context.Context, r backstay.DeprovisionRequest) (backstay.Deprovisioned, error) {
	in, err := b.Store.Instance(ctx, r.InstanceID)
	if err == nil {
		err = checkOffering(in, r.ServiceID)
	}
	if err != nil {
		return backstay.Deprovisioned{}, err
	}
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

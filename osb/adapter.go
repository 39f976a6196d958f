package osb

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"code.cloudfoundry.org/brokerapi/v13/domain"
	"code.cloudfoundry.org/brokerapi/v13/domain/apiresponses"

	"github.com/backstay/backstay"
)

// adapter is the broker of a request as the library knows brokers. What the handler answers itself it never asks.
type adapter struct{ h *Handler }

var _ domain.ServiceBroker = adapter{}

// Services are the ids of what is offered: the library looks whether what is asked for is among them.
func (a adapter) Services(ctx context.Context) (all []domain.Service, err error) {
	for _, o := range askingOf(ctx).catalog {
		s := domain.Service{ID: string(o.ID)}
		for _, p := range o.Plans {
			s.Plans = append(s.Plans, domain.ServicePlan{ID: string(p.ID)})
		}
		all = append(all, s)
	}
	return all, nil
}

// errAsyncRequired refuses a platform that waits for nothing.
var errAsyncRequired = backstay.WithFailure(
	backstay.Errorf(backstay.Unsupported, "%s", asyncRequired), backstay.Failure{Code: backstay.AsyncRequired})

func (a adapter) Provision(
	ctx context.Context, id string, d domain.ProvisionDetails, asyncAllowed bool,
) (domain.ProvisionedServiceSpec, error) {
	if !asyncAllowed {
		return domain.ProvisionedServiceSpec{}, a.failure(ctx, errAsyncRequired)
	}
	where, err := placeOf(d)
	if err != nil {
		return domain.ProvisionedServiceSpec{}, a.failure(ctx, err)
	}
	asked := askingOf(ctx)
	r := backstay.ProvisionRequest{
		Call: asked.call, InstanceID: backstay.InstanceID(id), ServiceID: backstay.ServiceID(d.ServiceID),
		PlanID: backstay.ServicePlanID(d.PlanID), Context: where, Parameters: canonical(d.RawParameters),
		MaintenanceInfo: infoFrom(d.MaintenanceInfo), CopyOf: asked.copyOf,
	}
	if err := admitNew(ctx, asked.broker, r); err != nil {
		return domain.ProvisionedServiceSpec{}, a.failureWhere(ctx, err, http.StatusBadRequest) // there is no such plan
	}
	if asked.admitter != nil {
		return domain.ProvisionedServiceSpec{AlreadyExists: true}, nil
	}
	answer, err := asked.broker.Provision(ctx, r)
	if err != nil {
		return domain.ProvisionedServiceSpec{}, a.failureWhere(ctx, err, http.StatusBadRequest)
	}
	asked.done(answer.Async, answer.Operation)
	return domain.ProvisionedServiceSpec{
		IsAsync: answer.Async, AlreadyExists: answer.Existed && !answer.Async, DashboardURL: answer.DashboardURL,
		OperationData: string(answer.Operation),
	}, nil
}

// admitNew asks a broker that can tell whether it would refuse an instance that it does not know yet, as for want of
// room. Of one that it knows it is asked what it made of it.
func admitNew(ctx context.Context, b backstay.Broker, r backstay.ProvisionRequest) error {
	admitter, ok := b.(backstay.Admitter)
	if !ok {
		return nil
	}
	_, err := b.LastOperation(ctx, backstay.LastOperationRequest{
		Call: r.Call, InstanceID: r.InstanceID, ServiceID: r.ServiceID, PlanID: r.PlanID,
	})
	if backstay.KindOf(err) == backstay.NotFound {
		return admitter.AdmitProvision(ctx, r)
	}
	return err
}

// placeOf is where a new instance is to be. The specification still wants the fields that were before the context; what
// the context says decides, but not against them.
func placeOf(d domain.ProvisionDetails) (backstay.Context, error) {
	switch {
	case d.OrganizationGUID == "":
		return backstay.Context{}, backstay.Errorf(backstay.Invalid, "organization_guid missing")
	case d.SpaceGUID == "":
		return backstay.Context{}, backstay.Errorf(backstay.Invalid, "space_guid missing")
	}
	where, err := contextFrom(d.RawContext, d.OrganizationGUID, d.SpaceGUID)
	if err != nil || where.Platform == kubernetes {
		return where, err // whose clusters and namespaces have names besides
	}
	if string(where.OrganizationID) != d.OrganizationGUID || string(where.SpaceID) != d.SpaceGUID {
		return where, backstay.Errorf(backstay.Invalid, "The context names another organization or another space than "+
			"organization_guid and space_guid.")
	}
	return where, nil
}

// contextFrom is where an instance is. That the context is one was checked.
func contextFrom(raw json.RawMessage, organization, space string) (backstay.Context, error) {
	var b *contextBody
	if raw != nil {
		if err := json.Unmarshal(raw, &b); err != nil {
			return backstay.Context{}, backstay.Wrapf(err, backstay.Invalid, "The context is not one.")
		}
	}
	return b.context(backstay.OrganizationID(organization), backstay.SpaceID(space)), nil
}

func infoFrom(m *domain.MaintenanceInfo) *backstay.MaintenanceInfo {
	if m == nil || m.Version == "" {
		return nil
	}
	return &backstay.MaintenanceInfo{Version: m.Version, Description: m.Description}
}

func (a adapter) Update(
	ctx context.Context, id string, d domain.UpdateDetails, asyncAllowed bool,
) (domain.UpdateServiceSpec, error) {
	if !asyncAllowed {
		return domain.UpdateServiceSpec{}, a.failure(ctx, errAsyncRequired)
	}
	where, err := contextFrom(d.RawContext, d.PreviousValues.OrgID, d.PreviousValues.SpaceID)
	if err != nil {
		return domain.UpdateServiceSpec{}, a.failure(ctx, err)
	}
	asked := askingOf(ctx)
	r := backstay.UpdateRequest{
		Call: asked.call, InstanceID: backstay.InstanceID(id), ServiceID: backstay.ServiceID(d.ServiceID),
		PlanID: backstay.ServicePlanID(d.PlanID), Context: where, Parameters: canonical(d.RawParameters),
		MaintenanceInfo: infoFrom(d.MaintenanceInfo),
		Previous: backstay.PreviousValues{
			PlanID:         backstay.ServicePlanID(d.PreviousValues.PlanID),
			OrganizationID: backstay.OrganizationID(d.PreviousValues.OrgID), SpaceID: backstay.SpaceID(d.PreviousValues.SpaceID),
			MaintenanceInfo: infoFrom(d.PreviousValues.MaintenanceInfo),
		},
	}
	answer, err := asked.update(ctx, r)
	if err != nil {
		return domain.UpdateServiceSpec{}, a.failure(ctx, unknownPlan(ctx, asked, id, err))
	}
	asked.done(answer.Async, answer.Operation)
	spec := domain.UpdateServiceSpec{IsAsync: answer.Async, DashboardURL: answer.DashboardURL}
	if answer.Async {
		spec.OperationData = string(answer.Operation)
	}
	return spec, nil
}

// done tells a platform of ours what an operation is called that is over already.
func (a *asking) done(async bool, key backstay.OperationKey) {
	if !async && key != "" {
		a.header.Set(doneHeader, string(key))
	}
}

// update asks the broker for a change, or only whether it would refuse it.
func (a *asking) update(ctx context.Context, r backstay.UpdateRequest) (backstay.Updated, error) {
	if a.admitter != nil {
		return backstay.Updated{}, a.admitter.AdmitUpdate(ctx, r)
	}
	return a.broker.Update(ctx, r)
}

// unknownPlan is the failure of an update, which is Invalid if what is not there is the plan and not the instance.
func unknownPlan(ctx context.Context, asked *asking, id string, err error) error {
	if backstay.KindOf(err) != backstay.NotFound {
		return err
	}
	_, unknown := asked.broker.LastOperation(ctx, backstay.LastOperationRequest{
		Call: asked.call, InstanceID: backstay.InstanceID(id),
	})
	if unknown != nil {
		return err
	}
	return backstay.Wrapf(err, backstay.Invalid, "%s", backstay.SentenceOf(err))
}

func (a adapter) Deprovision(
	ctx context.Context, id string, d domain.DeprovisionDetails, asyncAllowed bool,
) (domain.DeprovisionServiceSpec, error) {
	if !asyncAllowed {
		return domain.DeprovisionServiceSpec{}, a.failure(ctx, errAsyncRequired)
	}
	asked := askingOf(ctx)
	answer, err := asked.broker.Deprovision(ctx, backstay.DeprovisionRequest{
		Call: asked.call, InstanceID: backstay.InstanceID(id), ServiceID: backstay.ServiceID(d.ServiceID),
		PlanID: backstay.ServicePlanID(d.PlanID),
	})
	if err != nil {
		return domain.DeprovisionServiceSpec{}, a.goneFailure(ctx, err)
	}
	return domain.DeprovisionServiceSpec{IsAsync: answer.Async, OperationData: string(answer.Operation)}, nil
}

func (a adapter) Bind(
	ctx context.Context, in, id string, d domain.BindDetails, asyncAllowed bool,
) (domain.Binding, error) {
	if a.h.AsyncBindings && !asyncAllowed {
		return domain.Binding{}, a.failure(ctx, errAsyncRequired)
	}
	where, err := contextFrom(d.RawContext, "", "")
	if err != nil {
		return domain.Binding{}, a.failure(ctx, err)
	}
	asked := askingOf(ctx)
	r := backstay.BindRequest{
		Call: asked.call, InstanceID: backstay.InstanceID(in), BindingID: backstay.BindingID(id),
		ServiceID: backstay.ServiceID(d.ServiceID), PlanID: backstay.ServicePlanID(d.PlanID),
		AppID: backstay.AppID(d.AppGUID), Context: where, Parameters: canonical(d.RawParameters),
	}
	if d.BindResource != nil {
		r.Route = d.BindResource.Route
		if d.BindResource.AppGuid != "" {
			r.AppID = backstay.AppID(d.BindResource.AppGuid)
		}
	}
	answer, err := asked.bind(ctx, r)
	switch {
	case err != nil:
		return domain.Binding{}, a.failure(ctx, err)
	case asked.admitter != nil:
		return domain.Binding{AlreadyExists: true}, nil
	}
	mounts, err := volumeMounts(answer.VolumeMounts)
	return domain.Binding{
		IsAsync: answer.Async, AlreadyExists: answer.Existed && !answer.Async, OperationData: string(answer.Operation),
		Credentials: answer.Credentials, SyslogDrainURL: answer.SyslogDrainURL, RouteServiceURL: answer.RouteServiceURL,
		VolumeMounts: mounts,
	}, err
}

// bind asks the broker for credentials, or only whether it would refuse them.
func (a *asking) bind(ctx context.Context, r backstay.BindRequest) (backstay.Bound, error) {
	if a.admitter != nil {
		return backstay.Bound{}, a.admitter.AdmitBind(ctx, r)
	}
	return a.broker.Bind(ctx, r)
}

// volumeMounts are those of a binding, with the fields that the specification has for them.
func volumeMounts(raw json.RawMessage) (all []domain.VolumeMount, err error) {
	if raw == nil {
		return nil, nil
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("decode volume mounts: %w", err)
	}
	return all, nil
}

func (a adapter) Unbind(
	ctx context.Context, in, id string, d domain.UnbindDetails, asyncAllowed bool,
) (domain.UnbindSpec, error) {
	if a.h.AsyncBindings && !asyncAllowed {
		return domain.UnbindSpec{}, a.failure(ctx, errAsyncRequired)
	}
	asked := askingOf(ctx)
	answer, err := asked.broker.Unbind(ctx, backstay.UnbindRequest{
		Call: asked.call, InstanceID: backstay.InstanceID(in), BindingID: backstay.BindingID(id),
		ServiceID: backstay.ServiceID(d.ServiceID), PlanID: backstay.ServicePlanID(d.PlanID),
	})
	if err != nil {
		return domain.UnbindSpec{}, a.goneFailure(ctx, err)
	}
	return domain.UnbindSpec{IsAsync: answer.Async, OperationData: string(answer.Operation)}, nil
}

func (a adapter) GetBinding(
	ctx context.Context, in, id string, d domain.FetchBindingDetails,
) (domain.GetBindingSpec, error) {
	asked := askingOf(ctx)
	f, err := asked.broker.FetchBinding(ctx, backstay.FetchBindingRequest{
		Call: asked.call, InstanceID: backstay.InstanceID(in), BindingID: backstay.BindingID(id),
		ServiceID: backstay.ServiceID(d.ServiceID), PlanID: backstay.ServicePlanID(d.PlanID),
	})
	if err != nil {
		return domain.GetBindingSpec{}, a.failure(ctx, err)
	}
	mounts, err := volumeMounts(f.VolumeMounts)
	spec := domain.GetBindingSpec{
		Credentials: f.Credentials, SyslogDrainURL: f.SyslogDrainURL, RouteServiceURL: f.RouteServiceURL,
		VolumeMounts: mounts,
	}
	if f.Parameters != nil {
		spec.Parameters = f.Parameters
	}
	return spec, err
}

// The handler answers the following itself.

func (adapter) GetInstance(
	context.Context, string, domain.FetchInstanceDetails,
) (domain.GetInstanceDetailsSpec, error) {
	return domain.GetInstanceDetailsSpec{}, apiresponses.ErrInstanceDoesNotExist
}

func (adapter) LastOperation(context.Context, string, domain.PollDetails) (domain.LastOperation, error) {
	return domain.LastOperation{}, apiresponses.ErrInstanceDoesNotExist
}

func (adapter) LastBindingOperation(
	context.Context, string, string, domain.PollDetails,
) (domain.LastOperation, error) {
	return domain.LastOperation{}, apiresponses.ErrBindingDoesNotExist
}

package market

import (
	"context"
	"encoding/json"

	"github.com/backstay/backstay"
)

// supply is the plan and the offering of a managed instance, and the broker that has both in its catalog. It turns
// what the market knows into requests to that broker.
type supply struct {
	broker   backstay.Broker
	offering backstay.Offering
	plan     backstay.Plan
}

// supplyOf returns the supply of an instance, even if its plan is hidden from its users.
func (m *Market) supplyOf(ctx context.Context, in backstay.Instance) (s supply, err error) {
	if s.plan, s.offering, err = m.planOf(ctx, in); err != nil {
		return s, err
	}
	s.broker, err = m.broker(ctx, s.offering.BrokerID)
	return s, err
}

// supplyOfInstance is supplyOf for an instance of which only the id is known.
func (m *Market) supplyOfInstance(ctx context.Context, id backstay.InstanceID) (supply, error) {
	l, err := m.Store.Instances(ctx, InstanceFilter{IDs: []backstay.InstanceID{id}})
	in, err := single(l, err, "Service instance")
	if err != nil {
		return supply{}, err
	}
	return m.supplyOf(ctx, in)
}

// cloudFoundry is the platform that brokers are told they are asked by.
const cloudFoundry = "cloudfoundry"

// callFor tells a broker for whom it is asked, as Cloud Foundry does (OSB 2.17, "Originating Identity").
func callFor(actor backstay.Actor, requestID string) backstay.Call {
	value, err := json.Marshal(map[string]any{"user_id": actor.UserID})
	if err != nil {
		panic("a user's id is not JSON: " + err.Error())
	}
	return backstay.Call{
		Identity:  backstay.OriginatingIdentity{Platform: cloudFoundry, Value: value},
		RequestID: requestID,
	}
}

// callOf is how a job asks a broker: for whoever asked for the job.
func callOf(j backstay.Job) backstay.Call { return callFor(j.By, string(j.ID)) }

// contextOf is where an instance is. The names of that place are told to those who cannot look them up.
func contextOf(in backstay.Instance, at place) backstay.Context {
	return backstay.Context{
		Platform: cloudFoundry, OrganizationID: at.organization, SpaceID: at.space, InstanceName: in.Name,
	}
}

// contextIn is a space with its organization and the names of both.
func (m *Market) contextIn(ctx context.Context, space backstay.SpaceID) (backstay.Context, error) {
	c := backstay.Context{Platform: cloudFoundry, SpaceID: space}
	spaces, organizations, err := m.Whereabouts(ctx, []backstay.SpaceID{space})
	for _, s := range spaces {
		c.SpaceName, c.OrganizationID = s.Name, s.OrganizationID
	}
	for _, o := range organizations {
		c.OrganizationName = o.Name
	}
	return c, err
}

// named adds to a context the names of the place that it has.
func (m *Market) named(ctx context.Context, c *backstay.Context) error {
	in, err := m.contextIn(ctx, c.SpaceID)
	c.SpaceName, c.OrganizationName = in.SpaceName, in.OrganizationName
	return err
}

func (s supply) provision(
	call backstay.Call, in backstay.Instance, at place, parameters []byte,
) backstay.ProvisionRequest {
	return backstay.ProvisionRequest{
		Call: call, InstanceID: in.ID, ServiceID: s.offering.ServiceID, PlanID: s.plan.ServicePlanID,
		Context: contextOf(in, at), Parameters: parameters, MaintenanceInfo: in.MaintenanceInfo,
	}
}

func (s supply) deprovision(call backstay.Call, id backstay.InstanceID) backstay.DeprovisionRequest {
	return backstay.DeprovisionRequest{
		Call: call, InstanceID: id, ServiceID: s.offering.ServiceID, PlanID: s.plan.ServicePlanID,
	}
}

func (s supply) fetch(call backstay.Call, id backstay.InstanceID) backstay.FetchInstanceRequest {
	return backstay.FetchInstanceRequest{
		Call: call, InstanceID: id, ServiceID: s.offering.ServiceID, PlanID: s.plan.ServicePlanID,
	}
}

func (s supply) lastOperation(
	call backstay.Call, id backstay.InstanceID, key backstay.OperationKey,
) backstay.LastOperationRequest {
	return backstay.LastOperationRequest{
		Call: call, InstanceID: id, ServiceID: s.offering.ServiceID, PlanID: s.plan.ServicePlanID, Operation: key,
	}
}

func (s supply) bind(
	call backstay.Call, b backstay.Binding, at backstay.Context, parameters []byte,
) backstay.BindRequest {
	return backstay.BindRequest{
		Call: call, InstanceID: b.InstanceID, BindingID: b.ID, ServiceID: s.offering.ServiceID,
		PlanID: s.plan.ServicePlanID, AppID: b.AppID, Context: at, Parameters: parameters,
	}
}

func (s supply) unbind(call backstay.Call, b backstay.Binding) backstay.UnbindRequest {
	return backstay.UnbindRequest{
		Call: call, InstanceID: b.InstanceID, BindingID: b.ID, ServiceID: s.offering.ServiceID,
		PlanID: s.plan.ServicePlanID,
	}
}

func (s supply) lastBindingOperation(
	call backstay.Call, b backstay.Binding, key backstay.OperationKey,
) backstay.LastBindingOperationRequest {
	return backstay.LastBindingOperationRequest{
		Call: call, InstanceID: b.InstanceID, BindingID: b.ID, ServiceID: s.offering.ServiceID,
		PlanID: s.plan.ServicePlanID, Operation: key,
	}
}

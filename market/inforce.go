package market

import (
	"context"
	"encoding/json"

	"github.com/backstay/backstay"
)

// InForce is what the broker of an instance says that the instance is, whatever was asked for: a change may wait for
// a maintenance window. What is empty or nil the broker does not tell.
type InForce struct {
	PlanID          backstay.PlanID
	MaintenanceInfo *backstay.MaintenanceInfo
	DashboardURL    string
	Pending         bool // the broker will change the instance of its own accord, or could not be asked
}

// inForce asks the broker of an instance what the instance is. It is NotFound if the broker has no such instance.
func (m *Market) inForce(
	ctx context.Context, from supply, call backstay.Call, id backstay.InstanceID,
) (f InForce, err error) {
	if !from.offering.InstancesRetrievable {
		return f, nil
	}
	fetched, err := from.broker.FetchInstance(ctx, from.fetch(call, id))
	if err != nil {
		return f, err
	}
	f = InForce{
		MaintenanceInfo: fetched.MaintenanceInfo, DashboardURL: fetched.DashboardURL, Pending: waits(fetched.Parameters),
	}
	if fetched.PlanID == "" || fetched.PlanID == from.plan.ServicePlanID {
		f.PlanID = from.plan.ID
		return f, nil
	}
	plans, err := m.Store.Plans(ctx, PlanFilter{
		OfferingIDs: []backstay.OfferingID{from.offering.ID}, ServicePlanIDs: []backstay.ServicePlanID{fetched.PlanID},
	})
	if err != nil {
		return f, err
	}
	if len(plans.Items) == 0 {
		m.Log.Warn("an instance has a plan that its broker's catalog does not have", "instance", id,
			"plan", fetched.PlanID, "offering", from.offering.Name)
		return f, nil
	}
	f.PlanID = plans.Items[0].ID
	return f, nil
}

// waits tells whether the parameters of an instance, as its broker shows them, name a change that waits.
func waits(parameters json.RawMessage) bool {
	var shown struct {
		PendingChange map[string]json.RawMessage `json:"pending_change"`
	}
	return json.Unmarshal(parameters, &shown) == nil && shown.PendingChange != nil
}

// inForceAfter is inForce at the end of an operation that has succeeded, which a broker that cannot be asked now does
// not turn into one that has failed: it is asked again later.
func (m *Market) inForceAfter(ctx context.Context, from supply, j backstay.Job) (InForce, error) {
	id := backstay.InstanceID(j.Resource)
	f, err := m.inForce(ctx, from, callOf(j), id)
	if err == nil || ctx.Err() != nil {
		return f, err
	}
	m.Log.Warn("a broker did not say what an instance has become; it is asked again", "instance", id, "error", err)
	return InForce{Pending: true}, nil
}

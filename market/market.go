package market

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/seal"
)

// Market is where services are asked for. Its fields are set once, before use; its methods are safe for concurrent
// use.
type Market struct {
	Store   Store
	Brokers Brokers  // those that are part of this program
	Open    Opener   // the others, which somebody has registered; nil: there are none
	Key     seal.Key // seals parameters, environments and credentials before they reach the Store
	Log     *slog.Logger
	Now     func() time.Time // time.Now if nil

	// TunnelNetworks are those to whose addresses tunnels may lead besides instances of our own.
	TunnelNetworks []netip.Prefix

	// CopyFreely is for an operator, who copies into another space without the consent that everybody else needs.
	CopyFreely bool

	silent  silences
	telling turns // of whoever tells a broker of which instances drills are allowed
}

func (m *Market) now() time.Time {
	if m.Now == nil {
		return time.Now()
	}
	return m.Now()
}

// Brokers are brokers by the ids that the market knows them by.
type Brokers map[backstay.BrokerID]backstay.Broker

// BrokersOf returns the brokers of offerings that somebody sees, who may know whose those are.
func (m *Market) BrokersOf(ctx context.Context, offerings []backstay.Offering) ([]backstay.ServiceBroker, error) {
	all := []backstay.BrokerID{}
	for _, o := range offerings {
		all = append(all, o.BrokerID)
	}
	l, err := m.Store.ServiceBrokers(ctx, BrokerFilter{IDs: all})
	return l.Items, err
}

// Offerings lists the offerings that the actor may see. The zero Actor sees those that everybody may see.
func (m *Market) Offerings(
	ctx context.Context, actor backstay.Actor, f OfferingFilter,
) (List[backstay.Offering], error) {
	f.Access.Viewer, f.Access.Held = viewer(actor), f.IDs != nil
	return m.Store.Offerings(ctx, f)
}

// Offering returns one offering, without its plans.
func (m *Market) Offering(
	ctx context.Context, actor backstay.Actor, id backstay.OfferingID,
) (backstay.Offering, error) {
	l, err := m.Offerings(ctx, actor, OfferingFilter{IDs: []backstay.OfferingID{id}})
	return single(l, err, "Service offering")
}

// Plans lists the plans that the actor may see. The zero Actor sees those that everybody may see. If the filter
// names plans by their ids, it also finds hidden ones of which the actor sees an instance.
func (m *Market) Plans(ctx context.Context, actor backstay.Actor, f PlanFilter) (List[backstay.Plan], error) {
	f.Access.Viewer, f.Access.Held = viewer(actor), f.IDs != nil
	return m.Store.Plans(ctx, f)
}

// Plan returns one plan.
func (m *Market) Plan(ctx context.Context, actor backstay.Actor, id backstay.PlanID) (backstay.Plan, error) {
	l, err := m.Plans(ctx, actor, PlanFilter{IDs: []backstay.PlanID{id}})
	return single(l, err, "Service plan")
}

// single returns the one item of a list that was narrowed by an id. It is NotFound if there is none.
func single[T any](l List[T], err error, noun string) (T, error) {
	if err == nil && len(l.Items) == 0 {
		err = backstay.Errorf(backstay.NotFound, "%s not found", noun)
	}
	if err != nil {
		var zero T
		return zero, err
	}
	return l.Items[0], nil
}

// newID returns a fresh identifier. Identifiers begin with the time, so that indexes stay dense.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

// begun describes an operation of that type of which nobody has told anything yet.
func begun(t backstay.OperationType) string { return string(t) + " in progress" }

// inProgress returns a new operation of that type.
func (m *Market) inProgress(t backstay.OperationType) backstay.Operation {
	now := m.now()
	return backstay.Operation{
		Type: t, State: backstay.InProgress, Description: begun(t), CreatedAt: now, UpdatedAt: now,
	}
}

// newJob returns a job for an operation on a resource. A job that waits for a broker begins as POLLING: the cf
// command would wait for a PROCESSING one even if it was not asked to.
func (m *Market) newJob(actor backstay.Actor, operation, resource string, s backstay.JobState) backstay.Job {
	now := m.now()
	return backstay.Job{
		ID: backstay.JobID(newID()), Operation: operation, Resource: resource, By: actor, State: s,
		CreatedAt: now, UpdatedAt: now,
	}
}

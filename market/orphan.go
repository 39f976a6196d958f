package market

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/step"
)

// orphan is what a broker may have made of a request that failed, as it is kept with the job that asks: when the job
// has failed, there may be no instance any more by which to find the broker (OSB 2.17, "Orphan Mitigation").
type orphan struct {
	BrokerID   backstay.BrokerID      `json:"broker_id"`
	ServiceID  backstay.ServiceID     `json:"service_id"`
	PlanID     backstay.ServicePlanID `json:"plan_id"`
	InstanceID backstay.InstanceID    `json:"instance_id"`
	BindingID  backstay.BindingID     `json:"binding_id,omitempty"` // empty: it is the instance itself
}

func aboutInstance(from supply, id backstay.InstanceID) json.RawMessage {
	return orphan{
		BrokerID: from.offering.BrokerID, ServiceID: from.offering.ServiceID, PlanID: from.plan.ServicePlanID,
		InstanceID: id,
	}.encoded()
}

func (m *Market) aboutBinding(ctx context.Context, b backstay.Binding) (json.RawMessage, error) {
	from, err := m.supplyOfInstance(ctx, b.InstanceID)
	if err != nil {
		return nil, err
	}
	return orphan{
		BrokerID: from.offering.BrokerID, ServiceID: from.offering.ServiceID, PlanID: from.plan.ServicePlanID,
		InstanceID: b.InstanceID, BindingID: b.ID,
	}.encoded(), nil
}

func (o orphan) encoded() json.RawMessage {
	encoded, err := json.Marshal(o)
	if err != nil {
		panic("ids are not JSON: " + err.Error())
	}
	return encoded
}

// orphaned is err, after which the broker may have made what it was asked for.
func orphaned(err error) error {
	f := backstay.FailureOf(err)
	f.Orphan = true
	return backstay.WithFailure(err, f)
}

// errPurged is why a job has nothing to record its end in.
var errPurged = errors.New("what was asked for is gone here")

// failedAs is the error of an operation that has failed, in its broker's words.
func failedAs(t backstay.OperationType, op backstay.Operation) error {
	said := op.Description
	if said == "" {
		said = "The service broker says that the " + string(t) + " has failed, and not why."
	}
	if t != backstay.Create { // of which nothing has been used
		said += left(op.Unusable, op.Unrepeatable)
	}
	return backstay.Errorf(backstay.Unavailable, "%s", said)
}

// left is what a broker says that a failed update or delete has left, for users to know what to do.
func left(unusable, unrepeatable bool) (said string) {
	if unusable {
		said = " The service broker says that the service instance cannot be used any more."
	}
	if unrepeatable {
		said += " The service broker says that the same update would fail again."
	}
	return said
}

// withLeft is an error with what a broker says that the request has left.
func withLeft(err error) error {
	f := backstay.FailureOf(err)
	said := left(f.Unusable, f.Unrepeatable)
	if err == nil || said == "" {
		return err
	}
	told := backstay.Wrapf(err, backstay.KindOf(err), "%s", backstay.SentenceOf(err)+said)
	return backstay.WithFailure(told, f)
}

// noteAsked records, before a broker is asked to make something, that it has been: should we die before it answers,
// whoever takes the job up knows that there may be an orphan, whatever the broker answers then. A broker that ends what
// it has by the id alone can do without.
func (m *Market) noteAsked(ctx context.Context, j backstay.Job, b backstay.Broker) error {
	if _, ok := b.(backstay.Purger); ok || j.Asked {
		return nil
	}
	return m.Store.NoteAsked(ctx, j.ID)
}

// orphanOf returns the job that is to end what a job that failed may have left at its broker; nil if nothing can be. It
// also tells whether the broker is one of those that need none.
func (m *Market) orphanOf(ctx context.Context, j backstay.Job, reason error) (next *backstay.Job, here bool) {
	var o orphan
	if j.About == nil || json.Unmarshal(j.About, &o) != nil {
		return nil, true // it was accepted by a version of this program that knew no other brokers
	}
	if _, ok := m.Brokers[o.BrokerID].(backstay.Purger); ok {
		return nil, true
	}
	if !j.Asked && !backstay.FailureOf(reason).Orphan {
		return nil, false
	}
	job := m.newJob(j.By, endOrphan, cmp.Or(string(o.BindingID), string(o.InstanceID)), backstay.JobPolling)
	job.Tireless, job.About = true, j.About
	return &job, false
}

func (m *Market) orphanSteps(j backstay.Job) []step.Step {
	return []step.Step{
		{Name: "market.orphan.ended", Do: func(ctx context.Context) error { return m.endOrphan(ctx, j) }},
		m.completed("market.orphan.recorded", j),
	}
}

// endOrphan ends what a broker may have made, and waits until the broker says that there is none. Whatever is in the
// way is no reason to give up, but that nobody knows the broker any more.
func (m *Market) endOrphan(ctx context.Context, j backstay.Job) error {
	var o orphan
	if err := json.Unmarshal(j.About, &o); err != nil {
		return fmt.Errorf("job %s: %w", j.ID, err)
	}
	b, err := m.broker(ctx, o.BrokerID)
	if backstay.KindOf(err) == backstay.NotFound {
		m.Log.Warn("what a broker may have left cannot be ended: the broker was deleted", "broker", o.BrokerID,
			"instance", o.InstanceID, "binding", o.BindingID)
		return nil
	}
	if err == nil {
		err = absentIsFine(m.endAt(ctx, b, j, o))
	}
	if err != nil {
		return fmt.Errorf("end what may be left of instance %s: %v", o.InstanceID, err)
	}
	return nil
}

func (m *Market) endAt(ctx context.Context, b backstay.Broker, j backstay.Job, o orphan) error {
	from := supply{
		broker: b, offering: backstay.Offering{ServiceID: o.ServiceID}, plan: backstay.Plan{ServicePlanID: o.PlanID},
	}
	j.CreatedAt = m.now() // each time it is tried it has its time anew
	if o.BindingID != "" {
		return m.unbindAt(ctx, from, j, backstay.Binding{ID: o.BindingID, InstanceID: o.InstanceID})
	}
	return m.deprovisionAt(ctx, from, j, o.InstanceID, unreported)
}

package market

import (
	"context"
	"fmt"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/step"
)

// Purged is what a purge has removed: an instance, and what went with it.
type Purged struct {
	Instance      backstay.Instance
	Bindings      []backstay.Binding
	Shares        []backstay.Share
	Organizations map[backstay.SpaceID]backstay.OrganizationID // of the spaces of the instance and of the bindings
}

func (p Purged) in(space backstay.SpaceID) place { return place{p.Organizations[space], space} }

// EndOfPurged says what is recorded of a purge: events, and the job for what is left to do, nil for nothing. It
// is called while the store's transaction is open, so it asks nobody.
type EndOfPurged func(Purged) ([]backstay.Event, *backstay.Job)

// PurgeInstance removes an instance with its bindings, keys and shares at once, whatever is being done to it and
// whether anything answers that it is made of. The data goes too, a moment later, where the broker is a
// [backstay.Purger], as ours is; from another broker it is only forgotten. The job sees to that; a user-provided
// instance needs none.
func (m *Market) PurgeInstance(
	ctx context.Context, actor backstay.Actor, id backstay.InstanceID,
) (rest backstay.Job, err error) {
	if _, _, err := m.instanceFor(ctx, actor, id, SpaceDevelopers); err != nil {
		return rest, err
	}
	err = m.Store.PurgeInstance(ctx, id, func(p Purged) ([]backstay.Event, *backstay.Job) {
		events, j := m.purgedBy(actor)(p)
		if j != nil {
			rest = *j
		}
		return events, j
	})
	return rest, err
}

// PurgeOffering removes an offering with its plans, and purges all their instances. The offering comes back when
// its broker's catalog is kept again, unless that has it no more.
func (m *Market) PurgeOffering(ctx context.Context, actor backstay.Actor, id backstay.OfferingID) error {
	o, err := m.Offering(ctx, actor, id)
	if err != nil {
		return err
	}
	if err := m.permit(ctx, actor, place{}, Administrators); err != nil {
		return err
	}
	e := newEvent(
		actor, "service.delete", backstay.Target{ID: string(id), Type: "service", Name: o.Name}, place{},
		request(details{"purge": true}),
	)
	return m.Store.PurgeOffering(ctx, id, m.purgedBy(actor), e)
}

// purgedBy records a purge as Cloud Foundry does, in its order.
func (m *Market) purgedBy(actor backstay.Actor) EndOfPurged {
	return func(p Purged) (events []backstay.Event, j *backstay.Job) {
		in, at := p.Instance, p.in(p.Instance.SpaceID)
		for _, b := range p.Bindings {
			events = append(events, bindingEvent(actor, "delete", b, p.in(b.SpaceID), bindingDetails(b, nil)))
		}
		for _, h := range p.Shares {
			events = append(events, instanceEvent(actor, "unshare", in, at, details{"target_space_guid": h.SpaceID}))
		}
		events = append(events, instanceEvent(actor, "purge", in, at, nil))
		if in.Type == backstay.Managed {
			rest := m.newPurge(actor, in.ID)
			j = &rest
		}
		return events, j
	}
}

// newPurge returns a job that ends what brokers have of an instance that is gone here.
func (m *Market) newPurge(actor backstay.Actor, id backstay.InstanceID) backstay.Job {
	j := m.newJob(actor, purgeInstance, string(id), backstay.JobPolling)
	j.Tireless = true
	return j
}

func (m *Market) purgeInstanceSteps(j backstay.Job) []step.Step {
	return []step.Step{
		{Name: "market.purge.ended", Do: func(ctx context.Context) error {
			return m.endPurged(ctx, backstay.InstanceID(j.Resource))
		}},
		m.completed("market.purge.recorded", j),
	}
}

// endPurged ends what brokers have of an instance that is gone here, and waits for that. Whatever is in the way
// is no reason to give up: nobody else remembers the instance, nor whose it was.
func (m *Market) endPurged(ctx context.Context, id backstay.InstanceID) error {
	for _, b := range m.Brokers {
		p, ok := b.(backstay.Purger)
		if !ok {
			continue
		}
		if err := p.Purge(ctx, id); err != nil {
			return fmt.Errorf("end the purged instance %s: %v", id, err)
		}
	}
	return nil
}

// failPurged ends a job whose instance was purged meanwhile, or deleted while the job created it. The job may have told
// the broker of the instance after the purge had, so the broker is told of the purge again: if it cannot be now, by a
// job of its own.
func (m *Market) failPurged(ctx context.Context, j backstay.Job) error {
	id := backstay.InstanceID(j.Resource)
	if err := m.endPurged(ctx, id); err != nil {
		m.Log.Warn("a purged instance was not ended; it is tried again", "instance", id, "error", err)
		if err := m.Store.AcceptJob(ctx, backstay.Event{}, m.newPurge(j.By, id)); err != nil {
			return err
		}
	}
	j.Next, _ = m.orphanOf(ctx, j, orphaned(errPurged))
	return m.Store.FinishJob(ctx, j)
}

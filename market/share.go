package market

import (
	"context"
	"slices"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/step"
)

// Shares lists the spaces that an instance is shared with. An actor who may not see the space that the instance is
// in is told only of those spaces that they may see.
func (m *Market) Shares(ctx context.Context, actor backstay.Actor, id backstay.InstanceID) ([]backstay.Share, error) {
	in, err := m.Instance(ctx, actor, id)
	if err != nil {
		return nil, err
	}
	l, err := m.Store.Shares(ctx, ShareFilter{InstanceIDs: []backstay.InstanceID{id}})
	if err != nil || len(l.Items) == 0 {
		return l.Items, err
	}
	ids := []backstay.SpaceID{in.SpaceID}
	for _, h := range l.Items {
		ids = append(ids, h.SpaceID)
	}
	seen, err := m.spacesSeen(ctx, actor, ids)
	if err != nil || seen[in.SpaceID] {
		return l.Items, err
	}
	return slices.DeleteFunc(l.Items, func(h backstay.Share) bool { return !seen[h.SpaceID] }), nil
}

func (m *Market) spacesSeen(
	ctx context.Context, actor backstay.Actor, ids []backstay.SpaceID,
) (map[backstay.SpaceID]bool, error) {
	l, err := m.Spaces(ctx, actor, SpaceFilter{IDs: ids})
	seen := map[backstay.SpaceID]bool{}
	for _, s := range l.Items {
		seen[s.ID] = true
	}
	return seen, err
}

// Whereabouts returns spaces with their organizations, whether or not an actor may see them. The caller has found
// the ids in an instance that the actor sees, or in its shares: those who share an instance know each other's
// names, and no more.
func (m *Market) Whereabouts(
	ctx context.Context, ids []backstay.SpaceID,
) ([]backstay.Space, []backstay.Organization, error) {
	spaces, err := m.Store.Spaces(ctx, SpaceFilter{IDs: ids})
	if err != nil {
		return nil, nil, err
	}
	in := []backstay.OrganizationID{}
	for _, s := range spaces.Items {
		in = append(in, s.OrganizationID)
	}
	organizations, err := m.Store.Organizations(ctx, OrganizationFilter{IDs: in})
	return spaces.Items, organizations.Items, err
}

// ShareInstance shares an instance with further spaces: with all of them, or none.
func (m *Market) ShareInstance(
	ctx context.Context, actor backstay.Actor, id backstay.InstanceID, spaces []backstay.SpaceID,
) error {
	in, at, err := m.instanceFor(ctx, actor, id, SpaceDevelopers)
	if err != nil {
		return err
	}
	if err := m.requireFlag(ctx, actor, instanceSharing, 0); err != nil {
		return err
	}
	slices.Sort(spaces) // so that two who share with the same spaces do not wait for each other
	spaces = slices.Compact(spaces)
	if err := m.checkBorrowers(ctx, actor, in, spaces); err != nil {
		return err
	}
	if err := m.checkShareable(ctx, in, spaces); err != nil {
		return err
	}
	shares := make([]backstay.Share, len(spaces))
	for i, space := range spaces {
		shares[i] = backstay.Share{ID: backstay.ShareID(newID()), InstanceID: id, SpaceID: space}
	}
	return m.Store.AddShares(
		ctx, id, shares, instanceEvent(actor, "share", in, at, details{"target_space_guids": spaces}),
	)
}

// checkBorrowers refuses spaces that the actor may not see, or may not put an instance into.
func (m *Market) checkBorrowers(
	ctx context.Context, actor backstay.Actor, in backstay.Instance, spaces []backstay.SpaceID,
) error {
	seen, err := m.spacesSeen(ctx, actor, spaces)
	if err != nil {
		return err
	}
	unseen := slices.DeleteFunc(slices.Clone(spaces), func(id backstay.SpaceID) bool { return seen[id] })
	if len(unseen) > 0 {
		return backstay.Errorf(backstay.Invalid,
			"Unable to share service instance %s with spaces [%s]. Ensure the spaces exist and that you have "+
				"access to them.", in.Name, listed(unseen))
	}
	for _, id := range spaces {
		_, err := m.permitIn(ctx, actor, id, SpaceDevelopers)
		if backstay.KindOf(err) == backstay.Forbidden {
			err = backstay.Errorf(backstay.Invalid,
				"Unable to share service instance %s with spaces [%s]. Write permission is required in order to "+
					"share a service instance with a space.", in.Name, listed([]backstay.SpaceID{id}))
		}
		if err != nil {
			return err
		}
		if id == in.SpaceID {
			return backstay.Errorf(backstay.Invalid,
				"Unable to share service instance '%s' with space '%s'. Service instances cannot be shared into "+
					"the space where they were created.", in.Name, id)
		}
	}
	return nil
}

func listed(ids []backstay.SpaceID) string {
	quoted := make([]string, len(ids))
	for i, id := range ids {
		quoted[i] = "'" + string(id) + "'"
	}
	return strings.Join(quoted, ", ")
}

// checkShareable refuses to share an instance that nobody could share with these spaces.
func (m *Market) checkShareable(ctx context.Context, in backstay.Instance, with []backstay.SpaceID) error {
	if in.Type == backstay.UserProvided {
		return backstay.Errorf(backstay.Invalid, "User-provided services cannot be shared.")
	}
	plan, offering, err := m.planOf(ctx, in)
	switch {
	case err != nil:
		return err
	case !offering.Shareable:
		return backstay.Errorf(backstay.Invalid,
			"The %s service does not support service instance sharing.", offering.Name)
	case !plan.Available:
		return backstay.Errorf(backstay.Invalid,
			"The service instance could not be shared as the %s plan is inactive.", plan.Name)
	}
	return m.checkEnabled(ctx, plan, offering, with)
}

// UnshareInstance accepts the end of a share, and of the bindings to apps of its space.
func (m *Market) UnshareInstance(
	ctx context.Context, actor backstay.Actor, id backstay.InstanceID, space backstay.SpaceID,
) (backstay.Job, error) {
	in, at, err := m.instanceFor(ctx, actor, id, SpaceDevelopers)
	if err != nil {
		return backstay.Job{}, err
	}
	l, err := m.Store.Shares(
		ctx, ShareFilter{InstanceIDs: []backstay.InstanceID{id}, SpaceIDs: []backstay.SpaceID{space}},
	)
	if err != nil {
		return backstay.Job{}, err
	}
	if len(l.Items) == 0 {
		return backstay.Job{}, backstay.Errorf(backstay.Invalid,
			"Unable to unshare service instance from space %s. Ensure the space exists and the service instance "+
				"has been shared to this space.", space)
	}
	share, told := l.Items[0], details{"target_space_guid": space}
	j := m.newJob(actor, unshareInstance, string(share.ID), backstay.JobPolling)
	j.Completed = instanceEvent(actor, "unshare", in, at, told)
	return j, m.Store.AcceptUnshare(ctx, share, instanceEvent(actor, "start_unshare", in, at, told), j)
}

func (m *Market) unshareInstanceSteps(j backstay.Job) []step.Step {
	id := backstay.ShareID(j.Resource)
	return []step.Step{
		{Name: "market.unshare.unbound", Do: func(ctx context.Context) error { return m.unbindBorrowers(ctx, j, id) }},
		{Name: "market.unshare.recorded", Do: func(ctx context.Context) error {
			return m.Store.FinishUnshare(ctx, id, backstay.Job{ID: j.ID, State: backstay.JobComplete})
		}},
	}
}

func (m *Market) unbindBorrowers(ctx context.Context, j backstay.Job, id backstay.ShareID) error {
	l, err := m.Store.Shares(ctx, ShareFilter{IDs: []backstay.ShareID{id}})
	share, err := single(l, err, "Share")
	if err != nil {
		return absentIsFine(err) // its space or its instance is gone, and all bindings with that
	}
	return m.unbindAll(ctx, j, BindingFilter{
		InstanceIDs: []backstay.InstanceID{share.InstanceID}, AppSpaceIDs: []backstay.SpaceID{share.SpaceID},
	})
}

func (m *Market) failUnshare(ctx context.Context, j backstay.Job, _ error) error {
	return m.Store.FinishUnshare(ctx, backstay.ShareID(j.Resource), j)
}

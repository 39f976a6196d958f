package market

import (
	"context"

	"github.com/backstay/backstay"
)

// RegisterUser does nothing, since the API and the login server know the same users. It is Invalid for a user whom
// the login server does not know.
func (m *Market) RegisterUser(ctx context.Context, actor backstay.Actor, id backstay.UserID) (backstay.User, error) {
	if err := m.permit(ctx, actor, place{}, Administrators); err != nil {
		return backstay.User{}, err
	}
	l, err := m.Store.Users(ctx, UserFilter{IDs: []backstay.UserID{id}})
	u, err := single(l, err, "User")
	if backstay.KindOf(err) == backstay.NotFound {
		err = backstay.Errorf(backstay.Invalid,
			"User '%s' does not exist: users are made at the login server, by 'cf create-user'.", id)
	}
	return u, err
}

// DeleteUser takes all roles from a user or client: that is all that the API has of them. Who they
// are is the login server's to forget.
func (m *Market) DeleteUser(ctx context.Context, actor backstay.Actor, id backstay.UserID) (backstay.Job, error) {
	u, err := m.User(ctx, actor, id)
	if err != nil {
		return backstay.Job{}, err
	}
	if err := m.permit(ctx, actor, place{}, Administrators); err != nil {
		return backstay.Job{}, err
	}
	j := m.newJob(actor, deleteUser, string(id), backstay.JobComplete)
	e := newEvent(
		actor, "user.roles_remove", backstay.Target{ID: string(id), Type: "user", Name: u.PresentationName()}, place{},
		nil,
	)
	return j, m.Store.RemoveRolesOf(ctx, id, e, j)
}

// deleteUser is a job in name only: it is done when it is accepted.
const deleteUser = "user.delete"

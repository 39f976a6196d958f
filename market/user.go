package market

import (
	"context"

	"github.com/backstay/backstay"
)

// RegisterUser is how the API is told of a user whom the login server has made. There is nothing to
// do, since both know the same users; one that it does not know is Invalid.
func (m *Market) RegisterUser(ctx context.Context, by backstay.Actor, id backstay.UserID) (backstay.User, error) {
	if by.Role != backstay.Administrator {
		return backstay.User{}, backstay.Errorf(backstay.Forbidden, "You are not authorized to perform the requested action")
	}
	l, err := m.Store.Users(ctx, UserFilter{IDs: []backstay.UserID{id}})
	if err == nil && len(l.Items) == 0 {
		err = backstay.Errorf(backstay.Invalid, "User '%s' does not exist: users are made at the login server, by 'cf create-user'.", id)
	}
	if err != nil {
		return backstay.User{}, err
	}
	return l.Items[0], nil
}

// DeleteUser takes all roles from a user or client: that is all that the API has of them. Who they
// are is the login server's to forget.
func (m *Market) DeleteUser(ctx context.Context, by backstay.Actor, id backstay.UserID) (backstay.Job, error) {
	l, err := m.Users(ctx, by, UserFilter{IDs: []backstay.UserID{id}})
	if _, err := only(l, err, "User"); err != nil {
		return backstay.Job{}, err
	}
	if by.Role != backstay.Administrator {
		return backstay.Job{}, backstay.Errorf(backstay.Forbidden, "You are not authorized to perform the requested action")
	}
	j := newJob(deleteUser, string(id), backstay.JobComplete)
	return j, m.Store.RemoveRolesOf(ctx, id, j)
}

// deleteUser is a job in name only: it is done when it is accepted.
const deleteUser = "user.delete"

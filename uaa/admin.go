package uaa

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
)

// adminName is the user that every Backstay begins with.
const adminName = "admin"

// EnsureAdmin makes the user admin unless somebody is an administrator. The password (26 letters and
// digits, 130 random bits) is returned only then, and kept nowhere: if the caller dies before showing
// it, [Server.ResetPassword] makes another.
func (s *Server) EnsureAdmin(ctx context.Context) (password string, created bool, err error) {
	all, err := s.Store.Accounts(ctx)
	if err != nil ||
		slices.ContainsFunc(all, func(u User) bool { return u.Role == backstay.Administrator && !u.Client }) {
		return "", false, err
	}
	password, hash, err := newPassword(ctx)
	if err != nil {
		return "", false, err
	}
	admin := User{
		ID: backstay.UserID(uuid.NewString()), Username: adminName, Role: backstay.Administrator, PasswordHash: hash,
		PasswordVersion: 1,
	}
	err = s.Store.AddUser(ctx, admin, newEvent(ourselves, admin, "create", roleChange(admin.Role)))
	if backstay.KindOf(err) == backstay.Taken { // by another process, which shows its password
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("add user %s: %w", adminName, err)
	}
	return password, true, nil
}

// ResetPassword gives a user a new password and returns it. All sessions of the user end at once:
// whoever asks for this may do so because the old password, or a token, is in wrong hands.
func (s *Server) ResetPassword(ctx context.Context, by backstay.Actor, username string) (password string, err error) {
	user, err := s.userNamed(ctx, username)
	if err != nil {
		return "", err
	}
	password, hash, err := newPassword(ctx)
	if err != nil {
		return "", err
	}
	return password, s.Store.SetPassword(ctx, user.ID, hash, newEvent(by, user, "password_change", nil))
}

// SetGlobalRole gives a user another role on the whole platform, from now on: sessions stay, and have
// it too.
func (s *Server) SetGlobalRole(ctx context.Context, by backstay.Actor, username string,
	role backstay.GlobalRole) error {
	user, err := s.userNamed(ctx, username)
	if err != nil {
		return err
	}
	return s.Store.SetGlobalRole(ctx, user.ID, role, newEvent(by, user, "global_role_change", roleChange(role)))
}

// roleChange is what an event tells of a role on the whole platform.
func roleChange(role backstay.GlobalRole) map[string]any { return map[string]any{"global_role": role} }

func (s *Server) userNamed(ctx context.Context, username string) (User, error) {
	u, err := s.Store.UserNamed(ctx, username)
	if backstay.KindOf(err) == backstay.NotFound {
		err = backstay.Errorf(backstay.NotFound, "There is no user %q.", username)
	}
	return u, err
}

func newPassword(ctx context.Context) (password, hash string, err error) {
	password = rand.Text()
	hash, err = hashPassword(ctx, password)
	return password, hash, err
}

package uaa

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
)

// adminName is the user that every Backstay begins with.
const adminName = "admin"

// EnsureAdmin makes the user admin unless there is one. The password (26 letters and digits, 130
// random bits) is returned only then, and kept nowhere: if the caller dies before showing it,
// [Server.ResetPassword] makes another.
func (s *Server) EnsureAdmin(ctx context.Context) (password string, created bool, err error) {
	_, err = s.Store.UserNamed(ctx, adminName)
	if backstay.KindOf(err) != backstay.NotFound {
		return "", false, err
	}
	password, hash, err := newPassword(ctx)
	if err != nil {
		return "", false, err
	}
	err = s.Store.AddUser(ctx, User{ID: backstay.UserID(uuid.NewString()), Username: adminName, Role: backstay.Administrator, PasswordHash: hash, PasswordVersion: 1})
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
func (s *Server) ResetPassword(ctx context.Context, username string) (password string, err error) {
	user, err := s.Store.UserNamed(ctx, username)
	if err != nil {
		return "", err
	}
	password, hash, err := newPassword(ctx)
	if err != nil {
		return "", err
	}
	return password, s.Store.SetPassword(ctx, user.ID, hash)
}

func newPassword(ctx context.Context) (password, hash string, err error) {
	password = rand.Text()
	hash, err = hashPassword(ctx, password)
	return password, hash, err
}

package uaa

import (
	"context"
	"net/http"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/guess"
)

var errBadCredentials = &uaaError{
	status:      http.StatusUnauthorized,
	Code:        "unauthorized",
	Description: "Bad credentials",
}

// maxName is longer than any e-mail address.
const maxName = 320

// logIn returns the user whose password this is.
func (s *Server) logIn(ctx context.Context, username, password, address string) (User, error) {
	user, err := s.find(username, func() (User, error) { return s.Store.UserNamed(ctx, username) })
	if err != nil {
		return user, err
	}
	return user, s.prove(ctx, user, username, password, address)
}

// find returns the zero User for one who does not exist, or cannot.
func (s *Server) find(typed string, look func() (User, error)) (User, error) {
	if typed == "" || len(typed) > maxName || !isText(typed) {
		return User{}, nil
	}
	user, err := look()
	if backstay.KindOf(err) == backstay.NotFound {
		return User{}, nil
	}
	return user, err
}

// prove fails unless this is the password, or the secret, of the account that was found under what was
// typed. All guessing comes through here.
func (s *Server) prove(ctx context.Context, user User, typed, password, address string) error {
	account, hash := string(user.ID), nobody()
	if account == "" {
		account = "nobody " + FoldName(typed)
	} else {
		var err error
		if hash, err = parsePasswordHash(user.PasswordHash); err != nil {
			return err
		}
	}
	guards := guess.Limits("uaa", account, address)
	done, err := awaitTurn(ctx)
	if err != nil {
		return err
	}
	defer done() // after the failure is counted
	if err := s.checkLocks(ctx, guards); err != nil {
		return err
	}
	if !hash.matches(password) || user.ID == "" {
		return s.refuse(ctx, user, guards, address)
	}
	return s.welcome(ctx, user, hash, password, guards)
}

// refuse counts a failure. It is logged and recorded with the user's name, not with what was typed: that may be a
// password.
func (s *Server) refuse(ctx context.Context, user User, guards []guess.Limit, address string) error {
	s.Log.Info("a login failed", "user", user.Username, "address", address)
	now := s.now()
	if err := s.Store.AddFailure(ctx, guess.Keys(guards), now, now.Add(-guess.ForgottenAfter),
		failedLogin(user, address)); err != nil {
		return err
	}
	return errBadCredentials
}

// welcome forgives the user's own slips, and hashes the password anew if it costs too little by now.
func (s *Server) welcome(
	ctx context.Context, user User, hash passwordHash, password string, guards []guess.Limit,
) error {
	if err := s.Store.Forgive(ctx, guards[0].Key); err != nil {
		return err
	}
	if hash.cost != currentCost {
		return s.Store.RehashPassword(ctx, user.ID, user.PasswordVersion, newPasswordHash(password).String())
	}
	return nil
}

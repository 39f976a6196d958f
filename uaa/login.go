package uaa

import (
	"context"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/backstay/backstay"
)

var errBadCredentials = &uaaError{status: http.StatusUnauthorized, Code: "unauthorized", Description: "Bad credentials"}

// maxName is longer than any e-mail address.
const maxName = 320

// logIn returns the user whose password this is.
func (s *Server) logIn(ctx context.Context, username, password, address string) (User, error) {
	user, hash, err := s.findUser(ctx, username)
	if err != nil {
		return user, err
	}
	account := string(user.ID)
	if account == "" {
		account = strings.ToLower(username)
	}
	guards := limits(account, address)
	done, err := awaitTurn(ctx)
	if err != nil {
		return user, err
	}
	defer done() // after the failure is counted
	if err := s.checkLocks(ctx, guards); err != nil {
		return user, err
	}
	if !hash.matches(password) || user.ID == "" {
		return user, s.refuse(ctx, user, guards, address)
	}
	return user, s.welcome(ctx, user, hash, password, guards)
}

// findUser returns nobody's hash for a user who does not exist, and an empty id.
func (s *Server) findUser(ctx context.Context, username string) (User, passwordHash, error) {
	if username == "" || len(username) > maxName || !utf8.ValidString(username) || strings.ContainsRune(username, 0) {
		return User{}, nobody(), nil
	}
	user, err := s.Store.UserNamed(ctx, username)
	if backstay.KindOf(err) == backstay.NotFound {
		return User{}, nobody(), nil
	}
	if err != nil {
		return user, passwordHash{}, err
	}
	hash, err := parsePasswordHash(user.PasswordHash)
	return user, hash, err
}

// refuse counts a failure. It is logged with the user's name, not with what was typed: that may be a
// password.
func (s *Server) refuse(ctx context.Context, user User, guards []limit, address string) error {
	s.Log.Info("a login failed", "user", user.Username, "address", address)
	now := s.now()
	if err := s.Store.AddFailure(ctx, keysOf(guards), now, now.Add(-forgottenAfter)); err != nil {
		return err
	}
	return errBadCredentials
}

// welcome forgives the user's own slips, and hashes the password anew if it costs too little by now.
func (s *Server) welcome(ctx context.Context, user User, hash passwordHash, password string, guards []limit) error {
	if err := s.Store.Forgive(ctx, guards[0].key); err != nil {
		return err
	}
	if hash.cost != currentCost {
		return s.Store.RehashPassword(ctx, user.ID, user.PasswordVersion, newPasswordHash(password).String())
	}
	return nil
}

package uaa

import (
	"context"
	"crypto/rand"
	"net/http"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/sender"
)

// grantForClient takes the client's id and secret from the form, as the cf command sends them, or
// from the Authorization header (RFC 6749, section 2.3.1).
func (s *Server) grantForClient(r *http.Request) (tokenAnswer, error) {
	id, secret, ok := r.BasicAuth()
	if !ok {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	if secret == "" { // by no guess: cf asks so for the next token, having forgotten the secret
		return tokenAnswer{}, errBadCredentials
	}
	ctx := r.Context()
	c, err := s.find(id, func() (User, error) { return s.client(ctx, backstay.UserID(id)) })
	if err != nil {
		return tokenAnswer{}, err
	}
	if err := s.prove(ctx, c, id, secret, sender.Address(r)); err != nil {
		return tokenAnswer{}, err
	}
	if err := s.removeExpired(ctx); err != nil {
		return tokenAnswer{}, err
	}
	return s.issue(ctx, c, "", "client_credentials")
}

// client finds a client by its id.
func (s *Server) client(ctx context.Context, id backstay.UserID) (User, error) {
	c, err := s.Store.Account(ctx, id)
	if backstay.KindOf(err) == backstay.NotFound || err == nil && !c.Client {
		return User{}, backstay.Errorf(backstay.NotFound, "There is no client %q.", id)
	}
	return c, err
}

// showClient answers GET /oauth/clients/{id}: the cf command asks whether there is such a client
// before it gives it a role. As in UAA it is for those with the scope clients.read, who are administrators here,
// and for the client itself, as which cf create-space asks.
func (s *Server) showClient(w http.ResponseWriter, r *http.Request) error {
	by, err := s.actor(r)
	if err != nil {
		return err
	}
	if by.Role != backstay.Administrator && by.UserID != backstay.UserID(r.PathValue("id")) {
		return errInsufficientScope
	}
	c, err := s.client(r.Context(), backstay.UserID(r.PathValue("id")))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{
		"client_id": c.ID, "authorized_grant_types": []string{"client_credentials"}, "scope": []string{"uaa.none"},
	})
}

// CreateClient makes a client. Its secret is returned, and kept nowhere; an empty one is made up.
func (s *Server) CreateClient(ctx context.Context, by backstay.Actor, id string, role backstay.GlobalRole,
	secret backstay.Secret) (backstay.Secret, error) {
	if err := checkClientID(id); err != nil {
		return "", err
	}
	secret, hash, err := newSecret(ctx, secret)
	if err != nil {
		return "", err
	}
	c := User{ID: backstay.UserID(id), Username: id, Client: true, Role: role, PasswordHash: hash, PasswordVersion: 1}
	return secret, s.Store.AddUser(ctx, c, newEvent(by, c, "create", roleChange(role)))
}

// RotateSecret gives a client a new secret, an empty one being made up, and returns it. Its tokens
// are dead at once.
func (s *Server) RotateSecret(ctx context.Context, by backstay.Actor, id string,
	secret backstay.Secret) (backstay.Secret, error) {
	c, err := s.client(ctx, backstay.UserID(id))
	if err != nil {
		return "", err
	}
	secret, hash, err := newSecret(ctx, secret)
	if err != nil {
		return "", err
	}
	return secret, s.Store.SetPassword(ctx, c.ID, hash, newEvent(by, c, "secret_change", nil))
}

// DeleteClient removes a client with all its roles. Its tokens are dead at once.
func (s *Server) DeleteClient(ctx context.Context, by backstay.Actor, id string) error {
	c, err := s.client(ctx, backstay.UserID(id))
	if err != nil {
		return err
	}
	return s.Store.RemoveUser(ctx, c.ID, newEvent(by, c, "delete", nil))
}

func newSecret(ctx context.Context, given backstay.Secret) (secret backstay.Secret, hash string, err error) {
	if given == "" {
		given = backstay.Secret(rand.Text())
	}
	if err := checkPassword(given.Reveal()); err != nil {
		return "", "", err
	}
	hash, err = hashPassword(ctx, given.Reveal())
	return given, hash, err
}

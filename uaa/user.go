package uaa

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/sender"
	"github.com/backstay/backstay/internal/strict"
)

var (
	errInsufficientScope = &uaaError{
		status: http.StatusForbidden, Code: "insufficient_scope",
		Description: "Insufficient scope for this resource: ask an administrator.",
	}
	errBadFilter = &uaaError{
		status: http.StatusBadRequest, Code: "scim",
		Description: `The filter must be as in: userName eq "ada@example.org" and origin eq "uaa"`,
	}
	errNoJSON = &uaaError{
		status: http.StatusBadRequest, Code: "invalid_request",
		Description: "The request must be a JSON object with the fields that the cf command sends.",
	}
	errSamePassword = &uaaError{
		status: http.StatusUnprocessableEntity, Code: "invalid_password",
		Description: "Your new password cannot be the same as the old password.",
	}
)

// userResource is a user in UAA's form of SCIM.
type userResource struct {
	ID       backstay.UserID `json:"id"`
	Username string          `json:"userName"`
	Origin   string          `json:"origin"`
	Emails   []email         `json:"emails"`
	Active   bool            `json:"active"`
	Verified bool            `json:"verified"`
	Zone     string          `json:"zoneId"`
	Schemas  []string        `json:"schemas"`
}

type email struct {
	Value   string `json:"value"`
	Primary bool   `json:"primary"`
}

var schemas = []string{"urn:scim:schemas:core:1.0"}

func newUserResource(u User) userResource {
	return userResource{
		ID: u.ID, Username: u.Username, Origin: origin, Emails: []email{{u.Username, true}}, Active: true, Verified: true,
		Zone: zone, Schemas: schemas,
	}
}

// actor is who sends the request, and from where.
func (s *Server) actor(r *http.Request) (backstay.Actor, error) {
	by, err := s.Authenticate(r.Context(), r.Header.Get("Authorization"))
	by.Address = sender.Address(r)
	return by, err
}

// administrator is actor for what only administrators may do.
func (s *Server) administrator(r *http.Request) (backstay.Actor, error) {
	by, err := s.actor(r)
	if err == nil && by.Role != backstay.Administrator {
		err = errInsufficientScope
	}
	return by, err
}

// filters are those that the cf command sends. It does not quote the name that it was given, and no
// user's has a quote.
var filters = regexp.MustCompile(`^userName eq "([^"]*)"(?: and origin eq "([^"]*)")?$`)

// listUsers answers GET /Users?filter=…, for those who may see everybody.
func (s *Server) listUsers(w http.ResponseWriter, r *http.Request) error {
	by, err := s.actor(r)
	if err != nil {
		return err
	}
	if by.Role == "" {
		return errInsufficientScope
	}
	wanted := filters.FindStringSubmatch(r.URL.Query().Get("filter"))
	if wanted == nil {
		return errBadFilter
	}
	found := []userResource{}
	if wanted[2] == "" || wanted[2] == origin {
		u, err := s.find(wanted[1], func() (User, error) { return s.Store.UserNamed(r.Context(), wanted[1]) })
		if err != nil {
			return err
		}
		if u.ID != "" {
			found = append(found, newUserResource(u))
		}
	}
	return writeJSON(w, http.StatusOK, map[string]any{
		"resources": found, "startIndex": 1, "itemsPerPage": 100, "totalResults": len(found), "schemas": schemas,
	})
}

// newUserBody is what the cf command sends. A user's username is the only name that we keep.
type newUserBody struct {
	Username string          `json:"userName"`
	Password string          `json:"password"`
	Origin   string          `json:"origin"`
	Name     json.RawMessage `json:"name"`
	Emails   json.RawMessage `json:"emails"`
}

// createUser answers POST /Users.
func (s *Server) createUser(w http.ResponseWriter, r *http.Request) error {
	by, err := s.administrator(r)
	if err != nil {
		return err
	}
	var body newUserBody
	if err := decode(w, r, &body); err != nil {
		return err
	}
	if body.Origin != "" && body.Origin != origin {
		return backstay.Errorf(backstay.Invalid, "There is no identity provider %q: the only origin is %s.", body.Origin,
			origin)
	}
	if err := checkUsername(body.Username); err != nil {
		return err
	}
	hash, err := newHash(r.Context(), body.Password)
	if err != nil {
		return err
	}
	u := User{ID: backstay.UserID(uuid.NewString()), Username: body.Username, PasswordHash: hash, PasswordVersion: 1}
	if err := s.Store.AddUser(r.Context(), u, newEvent(by, u, "create", nil)); err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, newUserResource(u))
}

// deleteUser answers DELETE /Users/{id}.
func (s *Server) deleteUser(w http.ResponseWriter, r *http.Request) error {
	by, err := s.administrator(r)
	if err != nil {
		return err
	}
	u, err := s.user(r)
	if err != nil {
		return err
	}
	if err := s.Store.RemoveUser(r.Context(), u.ID, newEvent(by, u, "delete", nil)); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, newUserResource(u))
}

// user is the user whom the request's path names.
func (s *Server) user(r *http.Request) (User, error) {
	id := r.PathValue("id")
	u, err := s.find(id, func() (User, error) { return s.Store.Account(r.Context(), backstay.UserID(id)) })
	if err == nil && (u.ID == "" || u.Client) {
		err = backstay.Errorf(backstay.NotFound, "User %s does not exist", id)
	}
	return u, err
}

type passwordBody struct {
	Old string `json:"oldPassword"`
	New string `json:"password"`
}

// changePassword answers PUT /Users/{id}/password: one's own for whoever knows the old one, another's
// for administrators. It ends all sessions of the user.
func (s *Server) changePassword(w http.ResponseWriter, r *http.Request) error {
	by, err := s.actor(r)
	if err != nil {
		return err
	}
	own := by.UserID == backstay.UserID(r.PathValue("id"))
	if !own && by.Role != backstay.Administrator {
		return errInsufficientScope
	}
	u, err := s.user(r)
	if err != nil {
		return err
	}
	var body passwordBody
	if err := decode(w, r, &body); err != nil {
		return err
	}
	if own {
		if err := s.prove(r.Context(), u, u.Username, body.Old, by.Address); err != nil {
			return err
		}
		if body.Old == body.New {
			return errSamePassword
		}
	}
	hash, err := newHash(r.Context(), body.New)
	if err != nil {
		return err
	}
	if err := s.Store.SetPassword(r.Context(), u.ID, hash, newEvent(by, u, "password_change", nil)); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]string{"status": "ok", "message": "password updated"})
}

// newHash is hashPassword for a password that somebody chose.
func newHash(ctx context.Context, password string) (string, error) {
	if err := checkPassword(password); err != nil {
		return "", &uaaError{
			status: http.StatusUnprocessableEntity, Code: "invalid_password", Description: backstay.SentenceOf(err),
		}
	}
	return hashPassword(ctx, password)
}

// decode reads a request's JSON strictly.
func decode(w http.ResponseWriter, r *http.Request, into any) error {
	if err := strict.Decode(http.MaxBytesReader(w, r.Body, maxBody), into); err != nil {
		return explain(err, errNoJSON)
	}
	return nil
}

package uaa

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

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
	errOldPassword = &uaaError{
		status: http.StatusUnauthorized, Code: "unauthorized", Description: "Old password is incorrect",
	}
	errSamePassword = &uaaError{
		status: http.StatusUnprocessableEntity, Code: "invalid_password",
		Description: "Your new password cannot be the same as the old password.",
	}
)

// userResource is a user in UAA's form of SCIM.
type userResource struct {
	ID                   backstay.UserID `json:"id"`
	Meta                 meta            `json:"meta"`
	Username             string          `json:"userName"`
	Name                 personName      `json:"name"`
	Emails               []email         `json:"emails"`
	Groups               []group         `json:"groups"`
	Active               bool            `json:"active"`
	Verified             bool            `json:"verified"`
	Origin               string          `json:"origin"`
	Zone                 string          `json:"zoneId"`
	PasswordLastModified string          `json:"passwordLastModified"`
	Schemas              []string        `json:"schemas"`
}

// meta tells how old a user is, and how often changed.
type meta struct {
	Version      int    `json:"version"`
	Created      string `json:"created"`
	LastModified string `json:"lastModified"`
}

type personName struct {
	Family string `json:"familyName,omitempty"`
	Given  string `json:"givenName,omitempty"`
}

type email struct {
	Value   string `json:"value"`
	Primary bool   `json:"primary"`
}

// group is what UAA calls a scope that a user has.
type group struct {
	Value   string `json:"value"`
	Display string `json:"display"`
	Type    string `json:"type"`
}

var schemas = []string{"urn:scim:schemas:core:1.0"}

func newUserResource(u User) userResource {
	groups := []group{}
	for _, scope := range scopes(u) {
		groups = append(groups, group{scope, scope, "DIRECT"})
	}
	return userResource{
		ID: u.ID, Meta: meta{u.Version, moment(u.CreatedAt), moment(u.UpdatedAt)}, Username: u.Username,
		Name: personName{u.FamilyName, u.GivenName}, Emails: []email{{u.address(), true}}, Groups: groups,
		Active: true, Verified: true, Origin: origin, Zone: zone, PasswordLastModified: moment(u.PasswordChangedAt),
		Schemas: schemas,
	}
}

// address is where mail reaches a user.
func (u User) address() string { return cmp.Or(u.Email, u.Username) }

// moment is a time in UAA's form, with milliseconds.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

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

// userBody is what clients send of who a user is. Of their claims that the user is active and verified, both are
// true of every user here.
type userBody struct {
	Username string     `json:"userName"`
	Password string     `json:"password"`
	Origin   string     `json:"origin"`
	Name     personName `json:"name"`
	Emails   []struct {
		Value   string `json:"value"`
		Type    string `json:"type"`
		Primary bool   `json:"primary"`
	} `json:"emails"`
	Active   *bool    `json:"active"`
	Verified *bool    `json:"verified"`
	Schemas  []string `json:"schemas"`
}

// maxPersonName is the longest given name, family name or e-mail address, in characters.
const maxPersonName = 255

// user is the user that the body describes, without id and password.
func (b userBody) user() (User, error) {
	u := User{Username: b.Username, GivenName: b.Name.Given, FamilyName: b.Name.Family}
	if b.Origin != "" && b.Origin != origin {
		return u, backstay.Errorf(backstay.Invalid, "There is no identity provider %q: the only origin is %s.", b.Origin,
			origin)
	}
	if err := checkUsername(b.Username); err != nil {
		return u, err
	}
	if len(b.Emails) > 1 {
		return u, backstay.Errorf(backstay.Invalid, "Exactly one email must be provided.")
	}
	if len(b.Emails) == 1 {
		u.Email = b.Emails[0].Value
	}
	for _, text := range []string{u.GivenName, u.FamilyName, u.Email} {
		if !isText(text) || utf8.RuneCountInString(text) > maxPersonName {
			return u, backstay.Errorf(backstay.Invalid,
				"Names and the email must be text of at most %d characters.", maxPersonName)
		}
	}
	if b.Active != nil && !*b.Active {
		return u, backstay.Errorf(backstay.Invalid, "Every user is active.")
	}
	return u, nil
}

// createUser answers POST /Users.
func (s *Server) createUser(w http.ResponseWriter, r *http.Request) error {
	by, err := s.administrator(r)
	if err != nil {
		return err
	}
	var body userBody
	if err := decode(w, r, &body); err != nil {
		return err
	}
	u, err := body.user()
	if err != nil {
		return err
	}
	u.ID, u.PasswordVersion = backstay.UserID(uuid.NewString()), 1
	if u.PasswordHash, err = newHash(r.Context(), body.Password); err != nil {
		return err
	}
	if err := s.Store.AddUser(r.Context(), u, newEvent(by, u, "create", nil)); err != nil {
		return err
	}
	if u, err = s.Store.Account(r.Context(), u.ID); err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, newUserResource(u))
}

// showUser answers GET /Users/{id}: oneself, and everybody to those who may see everybody.
func (s *Server) showUser(w http.ResponseWriter, r *http.Request) error {
	by, err := s.actor(r)
	if err != nil {
		return err
	}
	if by.Role == "" && by.UserID != backstay.UserID(r.PathValue("id")) {
		return errInsufficientScope
	}
	u, err := s.user(r)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, newUserResource(u))
}

// showUserInfo answers GET /userinfo: who one is (OpenID Connect Core 1.0, section 5.3.2).
func (s *Server) showUserInfo(w http.ResponseWriter, r *http.Request) error {
	by, err := s.actor(r)
	if err != nil {
		return err
	}
	if by.Client {
		return errInsufficientScope
	}
	u, err := s.Store.Account(r.Context(), by.UserID)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{
		"user_id": u.ID, "sub": u.ID, "user_name": u.Username, "origin": origin, "email": u.address(),
		"email_verified": true, "given_name": u.GivenName, "family_name": u.FamilyName,
		"name": strings.TrimSpace(u.GivenName + " " + u.FamilyName), "phone_number": nil,
		"previous_logon_time": nil,
	})
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
		err := s.prove(r.Context(), u, u.Username, body.Old, by.Address)
		if errors.Is(err, errBadCredentials) {
			err = errOldPassword
		}
		if err != nil {
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

package uaa

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/backstay/backstay"
)

// changedUserBody is what clients send of a user whom they have seen: also what the server alone says, which is left
// out of account.
type changedUserBody struct {
	userBody
	ID                   json.RawMessage `json:"id"`
	ExternalID           json.RawMessage `json:"externalId"`
	Meta                 json.RawMessage `json:"meta"`
	Groups               json.RawMessage `json:"groups"`
	Approvals            json.RawMessage `json:"approvals"`
	PhoneNumbers         json.RawMessage `json:"phoneNumbers"`
	Zone                 json.RawMessage `json:"zoneId"`
	PasswordLastModified json.RawMessage `json:"passwordLastModified"`
	PreviousLogon        json.RawMessage `json:"previousLogonTime"`
	LastLogon            json.RawMessage `json:"lastLogonTime"`
}

// updateUser answers PUT /Users/{id}, by which administrators say anew who a user is. The header If-Match tells the
// version that the client has seen, or * for whichever it is (SCIM, RFC 7644, section 3.14).
func (s *Server) updateUser(w http.ResponseWriter, r *http.Request) error {
	by, err := s.administrator(r)
	if err != nil {
		return err
	}
	before, err := s.user(r)
	if err != nil {
		return err
	}
	if err := matches(r.Header.Get("If-Match"), before.Version); err != nil {
		return err
	}
	var body changedUserBody
	if err := decode(w, r, &body); err != nil {
		return err
	}
	if body.Password != "" {
		return backstay.Errorf(backstay.Invalid, "The password is changed by PUT /Users/%s/password.", before.ID)
	}
	u, err := body.user()
	if err != nil {
		return err
	}
	u.ID, u.Version = before.ID, before.Version
	if err := s.Store.UpdateUser(r.Context(), u, newEvent(by, u, "update", nil)); err != nil {
		return err
	}
	if u, err = s.Store.Account(r.Context(), u.ID); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, newUserResource(u))
}

// matches tells whether a user at that version is the one that a header If-Match asks for.
func matches(header string, version int) error {
	switch seen := strings.Trim(header, `"`); seen {
	case "":
		return backstay.Errorf(backstay.Invalid, "Missing If-Match for PUT") // UAA's own words
	case "*", strconv.Itoa(version):
		return nil
	default:
		return backstay.Errorf(backstay.Busy, "The user is at version %d, not at %s of If-Match.", version, seen)
	}
}

package uaa

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
)

// recordRefusal leaves a trace of a change of users that somebody who is known may not make, or not so.
func (s *Server) recordRefusal(r *http.Request, reason *uaaError) {
	if r.Method == http.MethodGet || !strings.HasPrefix(r.URL.Path, "/Users") ||
		reason.status >= http.StatusInternalServerError {
		return
	}
	by, err := s.actor(r)
	if backstay.KindOf(err) == backstay.Anonymous {
		return
	}
	if err == nil {
		e := newEvent(by, User{}, "",
			map[string]any{"request": map[string]string{"method": r.Method, "path": r.URL.Path}, "error": reason.Code})
		e.Type, e.Target.ID = "audit.request.refused", r.PathValue("id")
		err = s.Store.RecordEvent(r.Context(), e)
	}
	if err != nil && !errors.Is(err, r.Context().Err()) {
		s.Log.Error("a refusal was not recorded", "path", r.URL.Path, "error", err)
	}
}

// ourselves is who acts when nobody has asked.
var ourselves = backstay.Actor{Username: "backstay"}

// newEvent is what is recorded of a change of a user or client. Cloud Foundry has no names for these;
// the verbs are in its style.
func newEvent(by backstay.Actor, u User, verb string, data map[string]any) backstay.Event {
	kind := "user"
	if u.Client {
		kind = "client"
	}
	e := backstay.Event{
		ID: backstay.EventID(uuid.Must(uuid.NewV7()).String()), Type: "audit." + kind + "." + verb, Actor: by,
		Target: backstay.Target{ID: string(u.ID), Type: kind, Name: u.Username},
	}
	if data != nil {
		e.Data, _ = json.Marshal(data) // names alone
	}
	return e
}

// failedLogin names nobody who is not known: what was typed as a username may be a password.
func failedLogin(u User, address string) backstay.Event {
	return newEvent(backstay.Actor{UserID: u.ID, Username: u.Username, Client: u.Client, Address: address}, u,
		"login_failed", nil)
}

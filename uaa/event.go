package uaa

import (
	"encoding/json"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
)

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
	return newEvent(backstay.Actor{UserID: u.ID, Username: u.Username, Client: u.Client, Address: address}, u, "login_failed", nil)
}

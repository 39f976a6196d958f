package backstay

import (
	"encoding/json"
	"time"
)

// Event is an audit event: a change, or the refusal of one, with who asked for it and from where. It
// outlives everything that it names.
type Event struct {
	ID             EventID
	Type           string // Cloud Foundry's name where it has one, as in "audit.service_instance.create"
	Actor          Actor
	Target         Target
	SpaceID        SpaceID         // empty for what is in no space
	OrganizationID OrganizationID  // empty for what is in none
	Data           json.RawMessage // an object without secrets, or nil
	CreatedAt      time.Time       // when the store recorded it
}

// Target is what an event is about. Type is the resource's in the Cloud Foundry API, in the singular:
// "service_instance".
type Target struct {
	ID   string
	Type string
	Name string
}

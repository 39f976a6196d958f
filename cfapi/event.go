package cfapi

import (
	"encoding/json"
	"net/http"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

type eventResource struct {
	identity
	Type         string          `json:"type"`
	Actor        *eventParty     `json:"actor"`
	Target       *eventParty     `json:"target"`
	Data         json.RawMessage `json:"data"`
	Space        *reference      `json:"space"`
	Organization *reference      `json:"organization"`
	Links        links           `json:"links"`
}

// eventParty is who made an event, or what it is about.
type eventParty struct {
	GUID string `json:"guid"`
	Type string `json:"type"`
	Name string `json:"name"`
}

func (s *Server) event(e backstay.Event) eventResource {
	return eventResource{
		identity:     identify(e.ID, e.CreatedAt, e.CreatedAt),
		Type:         e.Type,
		Actor:        eventActor(e.Actor),
		Target:       party(e.Target.ID, e.Target.Type, e.Target.Name),
		Data:         eventData(e),
		Space:        related(e.SpaceID).Data,
		Organization: related(e.OrganizationID).Data,
		Links:        links{"self": s.at("/v3/audit_events/%s", e.ID)},
	}
}

func eventActor(by backstay.Actor) *eventParty {
	kind := "user"
	switch {
	case by.Client:
		kind = "uaa_client"
	case by.Broker:
		kind = "service_broker"
	}
	return party(string(by.UserID), kind, by.Username)
}

// party is nobody if there is neither an id nor a name.
func party(id, kind, name string) *eventParty {
	if id == "" && name == "" {
		return nil
	}
	return &eventParty{id, kind, name}
}

// eventData adds where the actor was to what the event tells. Cloud Foundry has no place for that.
func eventData(e backstay.Event) json.RawMessage {
	data := map[string]json.RawMessage{}
	json.Unmarshal(e.Data, &data) // an object, or nothing
	if e.Actor.Address != "" {
		data["address"], _ = json.Marshal(e.Actor.Address)
	}
	all, _ := json.Marshal(data) // of what was JSON
	return all
}

func (s *Server) listEvents(w http.ResponseWriter, r *request) error {
	l, err := s.Market.Events(r.Context(), r.by, market.EventFilter{
		IDs:             ids[backstay.EventID](r.query, "guids"),
		Types:           r.list("types"),
		TargetIDs:       r.list("target_guids"),
		NotTargetIDs:    r.list("target_guids[not]"),
		SpaceIDs:        ids[backstay.SpaceID](r.query, "space_guids"),
		OrganizationIDs: ids[backstay.OrganizationID](r.query, "organization_guids"),
		Match:           r.match,
		Order:           r.order,
		Page:            r.page,
	})
	if err != nil {
		return err
	}
	return writeList(s, w, r, l, s.event, nil)
}

func (s *Server) showEvent(w http.ResponseWriter, r *request) error {
	e, err := s.Market.Event(r.Context(), r.by, backstay.EventID(r.PathValue("guid")))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.event(e))
}

package cfapi

import (
	"bytes"
	"encoding/json"
	"net/http"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

type userProvidedResource struct {
	identity
	Name            string                    `json:"name"`
	Type            backstay.InstanceType     `json:"type"`
	Tags            []string                  `json:"tags"`
	SyslogDrainURL  *string                   `json:"syslog_drain_url"`
	RouteServiceURL *string                   `json:"route_service_url"`
	LastOperation   operationResource         `json:"last_operation"`
	Relationships   userProvidedRelationships `json:"relationships"`
	Metadata        metadata                  `json:"metadata"`
	Links           links                     `json:"links"`
	Included        *included                 `json:"included,omitempty"`
}

type userProvidedRelationships struct {
	Space toOne `json:"space"`
}

func (s *Server) userProvided(in backstay.Instance, with *included) userProvidedResource {
	return userProvidedResource{
		identity:        identify(in.ID, in.CreatedAt, in.UpdatedAt),
		Included:        with,
		Metadata:        metadataOf(in.Metadata),
		Name:            in.Name,
		Type:            in.Type,
		Tags:            nonNil(in.Tags),
		SyslogDrainURL:  orNull(in.SyslogDrainURL),
		RouteServiceURL: orNull(in.RouteServiceURL),
		LastOperation:   operation(in.LastOperation),
		Relationships:   userProvidedRelationships{related(in.SpaceID)},
		Links: links{
			"self":                        s.at("/v3/service_instances/%s", in.ID),
			"space":                       s.at("/v3/spaces/%s", in.SpaceID),
			"credentials":                 s.at("/v3/service_instances/%s/credentials", in.ID),
			"service_credential_bindings": s.at("/v3/service_credential_bindings?service_instance_guids=%s", in.ID),
		},
	}
}

// orNull is a text that may be missing.
func orNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// providedField is the name of a field that was given and is a user-provided instance's alone; empty if none was.
func (b newInstanceBody) providedField() string {
	switch {
	case b.Credentials != nil:
		return "credentials"
	case b.SyslogDrainURL.text != nil:
		return "syslog_drain_url"
	case b.RouteServiceURL.text != nil:
		return "route_service_url"
	}
	return ""
}

// providedCredentials are nil if they were not given; null stands for none.
type providedCredentials []byte

func (c *providedCredentials) UnmarshalJSON(raw []byte) error {
	switch raw = bytes.TrimSpace(raw); {
	case bytes.Equal(raw, []byte("null")):
		*c = []byte("{}")
	case raw[0] != '{':
		return backstay.Errorf(backstay.Invalid, "Credentials must be an object")
	default:
		*c = bytes.Clone(raw)
	}
	return nil
}

// clearable is a text that null clears, as the empty text does; nil if it was not given.
type clearable struct{ text *string }

func (c *clearable) UnmarshalJSON(raw []byte) error {
	c.text = new(string)
	return json.Unmarshal(raw, c.text)
}

func (c clearable) value() string {
	if c.text == nil {
		return ""
	}
	return *c.text
}

// createUserProvided takes no time: nobody is to be asked for anything.
func (s *Server) createUserProvided(w http.ResponseWriter, r *request, body newInstanceBody) error {
	switch {
	case body.Parameters != nil:
		return backstay.Errorf(backstay.Invalid, "Unknown field(s): 'parameters'")
	case body.Relationships.ServicePlan.Data != nil:
		return backstay.Errorf(backstay.Invalid, "Relationships Unknown field(s): 'service_plan'")
	}
	space, err := required[backstay.SpaceID](body.Relationships.Space, "space")
	if err != nil {
		return err
	}
	in, err := s.Market.CreateUserProvided(r.Context(), r.by, market.NewUserProvided{
		Name: body.Name, SpaceID: space, Tags: body.Tags, Credentials: body.Credentials,
		SyslogDrainURL: body.SyslogDrainURL.value(), RouteServiceURL: body.RouteServiceURL.value(),
		Metadata: backstay.MetadataUpdate(body.Metadata),
	})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, s.userProvided(in, nil))
}

func (s *Server) showUserProvidedCredentials(w http.ResponseWriter, r *request) error {
	c, err := s.Market.UserProvidedCredentials(r.Context(), r.by, instanceID(r))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, c)
}

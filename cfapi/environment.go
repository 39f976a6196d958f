package cfapi

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

type variablesResource struct {
	Var   map[string]string `json:"var"`
	Links links             `json:"links"`
}

func (s *Server) variables(id backstay.AppID, all map[string]string) variablesResource {
	return variablesResource{all, links{
		"self": s.at("/v3/apps/%s/environment_variables", id),
		"app":  s.at("/v3/apps/%s", id),
	}}
}

func (s *Server) showVariables(w http.ResponseWriter, r *request) error {
	all, err := s.Market.Environment(r.Context(), r.by, appID(r))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.variables(appID(r), all))
}

func (s *Server) updateVariables(w http.ResponseWriter, r *request) error {
	changes, err := decodeVariables(r)
	if err != nil {
		return err
	}
	all, err := s.Market.SetEnvironment(r.Context(), r.by, appID(r), changes)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.variables(appID(r), all))
}

// decodeVariables reads the body of a request that changes variables.
func decodeVariables(r *request) (map[string]*string, error) {
	var body struct {
		Var variables `json:"var"`
	}
	err := decode(r, &body)
	if err == nil && body.Var == nil {
		err = backstay.Errorf(backstay.Invalid, "Var must be an object")
	}
	return body.Var, err
}

// environmentResource is all that an app finds in its environment, by where it comes from.
type environmentResource struct {
	Staging     map[string]string `json:"staging_env_json"`
	Running     map[string]string `json:"running_env_json"`
	Variables   map[string]string `json:"environment_variables"`
	System      map[string]any    `json:"system_env_json"`
	Application map[string]any    `json:"application_env_json"`
}

func (s *Server) showEnvironment(w http.ResponseWriter, r *request) error {
	e, err := s.Market.AppEnvironment(r.Context(), r.by, appID(r))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, environmentResource{
		Staging:     e.Staging,
		Running:     e.Running,
		Variables:   e.Variables,
		System:      systemVariables(e.Variables, e.Bound),
		Application: map[string]any{"VCAP_APPLICATION": s.vcapApplication(e.App, e.Space, e.Organization)},
	})
}

// systemVariables are what the platform sets: the services that are bound, oldest first, and for
// the first database its address, unless the user has set that.
func systemVariables(own map[string]string, bound []market.BoundService) map[string]any {
	system := map[string]any{"VCAP_SERVICES": vcapServices(bound)}
	if _, set := own["DATABASE_URL"]; set {
		return system
	}
	if address, ok := databaseURL(bound); ok {
		system["DATABASE_URL"] = address
	}
	return system
}

// vcapService is a binding as apps have always found it in VCAP_SERVICES. A user-provided instance has
// neither plan nor provider.
type vcapService struct {
	BindingGUID    backstay.BindingID   `json:"binding_guid"`
	BindingName    *string              `json:"binding_name"`
	Credentials    backstay.Credentials `json:"credentials"`
	InstanceGUID   backstay.InstanceID  `json:"instance_guid"`
	InstanceName   string               `json:"instance_name"`
	Label          string               `json:"label"`
	Name           string               `json:"name"`
	Plan           string               `json:"plan,omitempty"`
	Provider       json.RawMessage      `json:"provider,omitempty"`
	SyslogDrainURL *string              `json:"syslog_drain_url"`
	Tags           []string             `json:"tags"`
	VolumeMounts   json.RawMessage      `json:"volume_mounts"`
}

// vcapServices groups bindings by the name of their offering, which user-provided ones share.
func vcapServices(bound []market.BoundService) map[string][]vcapService {
	services := map[string][]vcapService{}
	for _, b := range bound {
		v := vcapService{
			BindingGUID:    b.Binding.ID,
			Credentials:    b.Credentials,
			InstanceGUID:   b.Instance.ID,
			InstanceName:   b.Instance.Name,
			Label:          b.Offering.Name,
			Name:           b.Instance.Name,
			Plan:           b.Plan.Name,
			Provider:       json.RawMessage("null"),
			SyslogDrainURL: orNull(b.Binding.SyslogDrainURL),
			Tags:           distinct(slices.Concat(b.Offering.Tags, b.Instance.Tags), func(tag string) string { return tag }),
			VolumeMounts:   mounts(b.VolumeMounts),
		}
		if b.Instance.Type == backstay.UserProvided {
			v.Label, v.Provider = string(backstay.UserProvided), nil
		}
		if b.Binding.Name != "" {
			v.BindingName, v.Name = &b.Binding.Name, b.Binding.Name
		}
		services[v.Label] = append(services[v.Label], v)
	}
	return services
}

// mounts is an array also where there are none.
func mounts(raw json.RawMessage) json.RawMessage {
	if raw == nil {
		return json.RawMessage("[]")
	}
	return raw
}

// databaseSchemes are the schemes of databases' addresses, each with the one that frameworks expect
// in DATABASE_URL.
var databaseSchemes = map[string]string{
	"postgres":   "postgres",
	"postgresql": "postgres",
	"mysql":      "mysql2",
	"mysql2":     "mysql2",
}

// databaseURL is the address of the first database among the bindings.
func databaseURL(bound []market.BoundService) (string, bool) {
	for _, b := range bound {
		address, _ := b.Credentials["uri"].(string)
		u, err := url.Parse(address)
		if err != nil {
			continue
		}
		if scheme, ok := databaseSchemes[u.Scheme]; ok {
			return scheme + address[len(u.Scheme):], true
		}
	}
	return "", false
}

func (s *Server) vcapApplication(a backstay.App, sp backstay.Space, o backstay.Organization) map[string]any {
	return map[string]any{
		"application_id":    a.ID,
		"application_name":  a.Name,
		"application_uris":  []string{},
		"cf_api":            s.URL,
		"name":              a.Name,
		"organization_id":   o.ID,
		"organization_name": o.Name,
		"space_id":          sp.ID,
		"space_name":        sp.Name,
		"uris":              []string{},
		"users":             nil,
	}
}

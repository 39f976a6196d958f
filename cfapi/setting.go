package cfapi

import (
	"net/http"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

// What administrators set for the whole platform.

type flagResource struct {
	Name         string  `json:"name"`
	Enabled      bool    `json:"enabled"`
	UpdatedAt    *string `json:"updated_at"`
	ErrorMessage *string `json:"custom_error_message"`
	Links        links   `json:"links"`
}

func (s *Server) featureFlag(f backstay.FeatureFlag) flagResource {
	res := flagResource{
		Name: f.Name, Enabled: f.Enabled, ErrorMessage: orNull(f.ErrorMessage),
		Links: links{"self": s.at("/v3/feature_flags/%s", f.Name)},
	}
	if f.UpdatedAt != nil {
		at := timestamp(*f.UpdatedAt)
		res.UpdatedAt = &at
	}
	return res
}

// listFeatureFlags has its own order, by name: flags have no time of creation.
func (s *Server) listFeatureFlags(w http.ResponseWriter, r *request) error {
	all, err := s.Market.FeatureFlags(r.Context())
	if err != nil {
		return err
	}
	return writeList(s, w, r, pageOf(r.page, all), s.featureFlag, nil)
}

// pageOf is a page of a list that is held whole.
func pageOf[T any](p market.Page, all []T) market.List[T] {
	from := min(len(all), (p.Number-1)*p.Size)
	return market.List[T]{Items: all[from:min(len(all), from+p.Size)], Total: len(all)}
}

func (s *Server) showFeatureFlag(w http.ResponseWriter, r *request) error {
	f, err := s.Market.FeatureFlag(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.featureFlag(f))
}

func (s *Server) updateFeatureFlag(w http.ResponseWriter, r *request) error {
	var body struct {
		Enabled      *bool   `json:"enabled"`
		ErrorMessage *string `json:"custom_error_message"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	f, err := s.Market.UpdateFeatureFlag(r.Context(), r.by, r.PathValue("name"), body.Enabled, body.ErrorMessage)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.featureFlag(f))
}

type groupResource struct {
	UpdatedAt *string           `json:"updated_at"`
	Name      string            `json:"name"`
	Var       map[string]string `json:"var"`
	Links     links             `json:"links"`
}

func (s *Server) variableGroup(g market.VariableGroup) groupResource {
	res := groupResource{
		Name: g.Name, Var: g.Variables, Links: links{"self": s.at("/v3/environment_variable_groups/%s", g.Name)},
	}
	if !g.UpdatedAt.IsZero() {
		at := timestamp(g.UpdatedAt)
		res.UpdatedAt = &at
	}
	return res
}

func (s *Server) showVariableGroup(w http.ResponseWriter, r *request) error {
	g, err := s.Market.VariableGroup(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.variableGroup(g))
}

func (s *Server) updateVariableGroup(w http.ResponseWriter, r *request) error {
	changes, err := decodeVariables(r)
	if err != nil {
		return err
	}
	g, err := s.Market.SetVariableGroup(r.Context(), r.by, r.PathValue("name"), changes)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.variableGroup(g))
}

// stackResource is what apps run on.
type stackResource struct {
	identity
	Name             string   `json:"name"`
	Description      string   `json:"description"`
	BuildRootfsImage string   `json:"build_rootfs_image"`
	RunRootfsImage   string   `json:"run_rootfs_image"`
	Default          bool     `json:"default"`
	Metadata         metadata `json:"metadata"`
	Links            links    `json:"links"`
}

// stack is the one that there is, under the name that clients look for.
func (s *Server) stack() stackResource {
	const id, name = "6f8d5f5c-6f0f-4d52-9b3a-3c1c5f1f7a44", "cflinuxfs4"
	since := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return stackResource{
		identity: identify(backstay.AppID(id), since, since), Name: name, Default: true,
		Description:      "The machine on which backstay run is called",
		BuildRootfsImage: name, RunRootfsImage: name, Metadata: metadataOf(backstay.Metadata{}),
		Links: links{"self": s.at("/v3/stacks/%s", id)},
	}
}

func (s *Server) listStacks(w http.ResponseWriter, r *request) error {
	byDefault, err := r.boolean("default", "Default")
	if err != nil {
		return err
	}
	one := s.stack()
	all := []stackResource{one}
	if !r.lists("guids", one.GUID) || !r.lists("names", one.Name) || byDefault != nil && !*byDefault {
		all = nil
	}
	same := func(st stackResource) stackResource { return st }
	return writeList(s, w, r, pageOf(r.page, all), same, nil)
}

func (s *Server) showStack(w http.ResponseWriter, r *request) error {
	if one := s.stack(); one.GUID == r.PathValue("guid") {
		return writeJSON(w, http.StatusOK, one)
	}
	return backstay.Errorf(backstay.NotFound, "Stack not found")
}

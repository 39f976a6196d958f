package cfapi

import (
	"net/http"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

type appResource struct {
	identity
	Name          string           `json:"name"`
	State         string           `json:"state"`
	Lifecycle     lifecycle        `json:"lifecycle"`
	Relationships appRelationships `json:"relationships"`
	Metadata      metadata         `json:"metadata"`
	Links         links            `json:"links"`
	Included      *included        `json:"included,omitempty"`
}

type lifecycle struct {
	Type string        `json:"type"`
	Data lifecycleData `json:"data"`
}

type lifecycleData struct {
	Buildpacks []string `json:"buildpacks"`
	Stack      *string  `json:"stack"`
}

// buildpack is the lifecycle of apps that run nowhere.
const buildpack = "buildpack"

// appRelationships must all be to one: the cf command cannot read others here.
type appRelationships struct {
	Space          toOne `json:"space"`
	CurrentDroplet toOne `json:"current_droplet"`
}

// app shows what services are bound to: a name that runs nothing.
func (s *Server) app(a backstay.App) appResource {
	return appResource{
		identity:      identify(a.ID, a.CreatedAt, a.UpdatedAt),
		Metadata:      metadataOf(a.Metadata),
		Name:          a.Name,
		State:         "STOPPED",
		Lifecycle:     lifecycle{buildpack, lifecycleData{Buildpacks: []string{}}},
		Relationships: appRelationships{Space: related(a.SpaceID)},
		Links: links{
			"self":                  s.at("/v3/apps/%s", a.ID),
			"environment_variables": s.at("/v3/apps/%s/environment_variables", a.ID),
			"space":                 s.at("/v3/spaces/%s", a.SpaceID),
			"processes":             s.at("/v3/apps/%s/processes", a.ID),
			"current_droplet":       s.at("/v3/apps/%s/droplets/current", a.ID),
		},
	}
}

func appID(r *request) backstay.AppID { return backstay.AppID(r.PathValue("guid")) }

func (s *Server) listApps(w http.ResponseWriter, r *request) error {
	f := market.AppFilter{
		IDs:             ids[backstay.AppID](r.query, "guids"),
		Names:           r.list("names"),
		SpaceIDs:        ids[backstay.SpaceID](r.query, "space_guids"),
		OrganizationIDs: ids[backstay.OrganizationID](r.query, "organization_guids"),
		Match:           r.match,
		Order:           r.order,
		Page:            r.page,
	}
	if r.values.Has("stacks") || r.values.Has("lifecycle_type") && r.values.Get("lifecycle_type") != buildpack {
		f.IDs = []backstay.AppID{} // no app has a stack, and all have one lifecycle
	}
	l, err := s.Market.Apps(r.Context(), r.by, f)
	if err != nil {
		return err
	}
	with, err := s.includeInApps(r, l.Items)
	if err != nil {
		return err
	}
	return writeList(s, w, r, l, s.app, with)
}

func (s *Server) includeInApps(r *request, apps []backstay.App) (*included, error) {
	if !r.includes("space") && !r.includes("space.organization") {
		return nil, nil
	}
	spaces, err := s.Market.Spaces(r.Context(), r.by, market.SpaceFilter{
		IDs: distinct(apps, func(a backstay.App) backstay.SpaceID { return a.SpaceID }),
	})
	if err != nil {
		return nil, err
	}
	with := &included{Spaces: convert(spaces.Items, mixed(s.space))} // organizations do not come without
	if r.includes("space.organization") {
		with.Organizations, err = s.organizationsOf(r, spaces.Items)
	}
	return with, err
}

func (s *Server) createApp(w http.ResponseWriter, r *request) error {
	var body struct {
		Name          string `json:"name"`
		Relationships struct {
			Space toOne `json:"space"`
		} `json:"relationships"`
		Metadata metadataBody `json:"metadata"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	space, err := required[backstay.SpaceID](body.Relationships.Space, "space")
	if err != nil {
		return err
	}
	a, err := s.Market.CreateApp(r.Context(), r.by, space, body.Name, backstay.MetadataUpdate(body.Metadata))
	if err != nil {
		return errUniqueness(err)
	}
	return writeJSON(w, http.StatusCreated, s.app(a))
}

func (s *Server) showApp(w http.ResponseWriter, r *request) error {
	a, err := s.Market.App(r.Context(), r.by, appID(r))
	if err != nil {
		return err
	}
	res := s.app(a)
	if res.Included, err = s.includeInApps(r, []backstay.App{a}); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, res)
}

func (s *Server) updateApp(w http.ResponseWriter, r *request) error {
	u, err := decodeUpdate(r)
	if err != nil {
		return err
	}
	a, err := s.Market.UpdateApp(r.Context(), r.by, appID(r), u)
	if err != nil {
		return errUniqueness(err)
	}
	return writeJSON(w, http.StatusOK, s.app(a))
}

func (s *Server) deleteApp(w http.ResponseWriter, r *request) error {
	j, err := s.Market.DeleteApp(r.Context(), r.by, appID(r))
	if err != nil {
		return err
	}
	return s.acceptedSoon(w, r, j)
}

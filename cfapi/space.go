package cfapi

import (
	"net/http"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

type spaceResource struct {
	identity
	Name          string             `json:"name"`
	Relationships spaceRelationships `json:"relationships"`
	Metadata      metadata           `json:"metadata"`
	Links         links              `json:"links"`
	Included      *included          `json:"included,omitempty"`
}

// spaceRelationships must all be to one: the cf command cannot read others here.
type spaceRelationships struct {
	Organization toOne `json:"organization"`
	Quota        toOne `json:"quota"`
}

func (s *Server) space(sp backstay.Space) spaceResource {
	return spaceResource{
		identity:      identify(sp.ID, sp.CreatedAt, sp.UpdatedAt),
		Metadata:      metadataOf(sp.Metadata),
		Name:          sp.Name,
		Relationships: spaceRelationships{related(sp.OrganizationID), related(sp.QuotaID)},
		Links: links{
			"self":         s.at("/v3/spaces/%s", sp.ID),
			"organization": s.at("/v3/organizations/%s", sp.OrganizationID),
		},
	}
}

func spaceID(r *request) backstay.SpaceID { return backstay.SpaceID(r.PathValue("guid")) }

func (s *Server) listSpaces(w http.ResponseWriter, r *request) error {
	l, err := s.Market.Spaces(r.Context(), r.by, market.SpaceFilter{
		IDs:             ids[backstay.SpaceID](r.query, "guids"),
		Names:           r.list("names"),
		OrganizationIDs: ids[backstay.OrganizationID](r.query, "organization_guids"),
		Match:           r.match,
		Order:           r.order,
		Page:            r.page,
	})
	if err != nil {
		return err
	}
	with, err := s.includeInSpaces(r, l.Items)
	if err != nil {
		return err
	}
	return writeList(s, w, r, l, s.space, with)
}

func (s *Server) includeInSpaces(r *request, spaces []backstay.Space) (*included, error) {
	if !r.includes("organization") {
		return nil, nil
	}
	organizations, err := s.organizationsOf(r, spaces)
	return &included{Organizations: organizations}, err
}

func (s *Server) organizationsOf(r *request, spaces []backstay.Space) ([]any, error) {
	l, err := s.Market.Organizations(r.Context(), r.by, market.OrganizationFilter{
		IDs: distinct(spaces, func(sp backstay.Space) backstay.OrganizationID { return sp.OrganizationID }),
	})
	return convert(l.Items, func(o backstay.Organization) any { return s.organization(o) }), err
}

func (s *Server) createSpace(w http.ResponseWriter, r *request) error {
	var body struct {
		Name          string `json:"name"`
		Relationships struct {
			Organization toOne `json:"organization"`
		} `json:"relationships"`
		Metadata metadataBody `json:"metadata"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	organization, err := required[backstay.OrganizationID](body.Relationships.Organization, "organization")
	if err != nil {
		return err
	}
	sp, err := s.Market.CreateSpace(r.Context(), r.by, organization, body.Name, backstay.MetadataUpdate(body.Metadata))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, s.space(sp))
}

func (s *Server) showSpace(w http.ResponseWriter, r *request) error {
	sp, err := s.Market.Space(r.Context(), r.by, spaceID(r))
	if err != nil {
		return err
	}
	res := s.space(sp)
	if res.Included, err = s.includeInSpaces(r, []backstay.Space{sp}); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, res)
}

func (s *Server) updateSpace(w http.ResponseWriter, r *request) error {
	u, err := decodeUpdate(r)
	if err != nil {
		return err
	}
	sp, err := s.Market.UpdateSpace(r.Context(), r.by, spaceID(r), market.SpaceUpdate{Update: u})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.space(sp))
}

func (s *Server) deleteSpace(w http.ResponseWriter, r *request) error {
	j, err := s.Market.DeleteSpace(r.Context(), r.by, spaceID(r))
	if err != nil {
		return err
	}
	return s.acceptedSoon(w, r, j)
}

// sshFeature is the one feature of spaces. It is kept for what connects to apps.
func sshFeature(sp backstay.Space) map[string]any {
	return map[string]any{
		"name": "ssh", "description": "Enable SSHing into apps in the space.", "enabled": sp.AllowsSSH,
	}
}

func (s *Server) listSpaceFeatures(w http.ResponseWriter, r *request) error {
	sp, err := s.Market.Space(r.Context(), r.by, spaceID(r))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"resources": []any{sshFeature(sp)}})
}

func (s *Server) showSSHFeature(w http.ResponseWriter, r *request) error {
	sp, err := s.Market.Space(r.Context(), r.by, spaceID(r))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, sshFeature(sp))
}

func (s *Server) updateSSHFeature(w http.ResponseWriter, r *request) error {
	var body struct {
		Enabled *bool `json:"enabled"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	if body.Enabled == nil {
		return backstay.Errorf(backstay.Invalid, "Enabled must be a boolean")
	}
	sp, err := s.Market.UpdateSpace(r.Context(), r.by, spaceID(r), market.SpaceUpdate{AllowsSSH: body.Enabled})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, sshFeature(sp))
}

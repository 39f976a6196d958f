package cfapi

import (
	"net/http"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

type visibilityResource struct {
	Type          backstay.Visibility  `json:"type"`
	Organizations *[]organizationNamed `json:"organizations,omitempty"`
	Space         *spaceNamed          `json:"space,omitempty"`
}

type spaceNamed struct {
	GUID backstay.SpaceID `json:"guid"`
	Name string           `json:"name"`
}

type organizationNamed struct {
	GUID backstay.OrganizationID `json:"guid"`
	Name string                  `json:"name"`
}

func planID(r *request) backstay.PlanID { return backstay.PlanID(r.PathValue("guid")) }

func (s *Server) showVisibility(w http.ResponseWriter, r *request) error {
	p, organizations, err := s.Market.Visibility(r.Context(), r.by, planID(r))
	if err != nil {
		return err
	}
	res := visibilityResource{Type: p.Visibility}
	if p.Visibility == backstay.OrganizationPlan {
		named := convert(organizations,
			func(o backstay.Organization) organizationNamed { return organizationNamed{o.ID, o.Name} })
		res.Organizations = &named
	}
	if p.SpaceID != "" {
		spaces, _, err := s.Market.Whereabouts(r.Context(), []backstay.SpaceID{p.SpaceID})
		if err != nil {
			return err
		}
		for _, sp := range spaces {
			res.Space = &spaceNamed{sp.ID, sp.Name}
		}
	}
	return writeJSON(w, http.StatusOK, res)
}

// setVisibility replaces for whom a plan is; with more it adds organizations to those that there are.
func (s *Server) setVisibility(more bool) handler {
	return func(w http.ResponseWriter, r *request) error {
		var body struct {
			Type          backstay.Visibility `json:"type"`
			Organizations []reference         `json:"organizations"`
		}
		if err := decode(r, &body); err != nil {
			return err
		}
		err := s.Market.SetVisibility(r.Context(), r.by, planID(r), market.NewVisibility{
			Type: body.Type, OrganizationIDs: guidsOf[backstay.OrganizationID](&toMany{body.Organizations}), More: more,
		})
		if err != nil {
			return err
		}
		return s.showVisibility(w, r)
	}
}

func (s *Server) removeVisibility(w http.ResponseWriter, r *request) error {
	organization := backstay.OrganizationID(r.PathValue("organization"))
	if err := s.Market.RemoveVisibility(r.Context(), r.by, planID(r), organization); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

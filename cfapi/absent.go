package cfapi

import (
	"net/http"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

// What Backstay has none of, and the cf command asks for all the same on its way to what there is:
// apps run nowhere here.

func (s *Server) empty(w http.ResponseWriter, r *request) error {
	nothing := func(struct{}) struct{} { return struct{}{} }
	return writeList(s, w, r, market.List[struct{}]{}, nothing, nil)
}

func (s *Server) emptyOfApp(w http.ResponseWriter, r *request) error {
	if _, err := s.Market.App(r.Context(), r.by, appID(r)); err != nil {
		return err
	}
	return s.empty(w, r)
}

func (s *Server) noDroplet(w http.ResponseWriter, r *request) error {
	if _, err := s.Market.App(r.Context(), r.by, appID(r)); err != nil {
		return err
	}
	return backstay.Errorf(backstay.NotFound, "Droplet not found") // the very words the cf command knows
}

// showLogCache tells the cf command how to ask for logs.
func (s *Server) showLogCache(w http.ResponseWriter, _ *request) error {
	return writeJSON(w, http.StatusOK, map[string]string{"version": "3.0.10"})
}

// noLogs says why an app has no logs. Of a status other than 200 the cf command shows the number alone, and of an
// answer that it cannot read the first name: so the sentence is a name. cf logs shows it five times and ends well,
// all the same; cf logs --recent fails.
func (s *Server) noLogs(w http.ResponseWriter, r *request) error {
	if _, err := s.Market.App(r.Context(), r.by, appID(r)); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{
		"Backstay runs no apps yet, so it has no logs of them. " + whereAppsRun: nil,
	})
}

func (s *Server) emptyOfSpace(w http.ResponseWriter, r *request) error {
	if _, err := s.Market.Space(r.Context(), r.by, spaceID(r)); err != nil {
		return err
	}
	return s.empty(w, r)
}

func (s *Server) emptyOfOrganization(w http.ResponseWriter, r *request) error {
	if _, err := s.Market.Organization(r.Context(), r.by, organizationID(r)); err != nil {
		return err
	}
	return s.empty(w, r)
}

func (s *Server) noDomain(_ http.ResponseWriter, r *request) error {
	if _, err := s.Market.Organization(r.Context(), r.by, organizationID(r)); err != nil {
		return err
	}
	return backstay.Errorf(backstay.NotFound, "Domain not found")
}

func (s *Server) nowhereOfOrganization(w http.ResponseWriter, r *request) error {
	if _, err := s.Market.Organization(r.Context(), r.by, organizationID(r)); err != nil {
		return err
	}
	return s.nowhere(w, r)
}

func (s *Server) nowhereOfSpace(w http.ResponseWriter, r *request) error {
	if _, err := s.Market.Space(r.Context(), r.by, spaceID(r)); err != nil {
		return err
	}
	return s.nowhere(w, r)
}

// nowhere answers for the isolation segment of an organization or a space.
func (s *Server) nowhere(w http.ResponseWriter, r *request) error {
	return writeJSON(w, http.StatusOK,
		map[string]any{"data": nil, "links": links{"self": s.at("%s", r.URL.EscapedPath())}})
}

func (s *Server) segregateOrganization(w http.ResponseWriter, r *request) error {
	if err := noSegment(r, "this organization"); err != nil {
		return err
	}
	_, err := s.Market.UpdateOrganization(r.Context(), r.by, organizationID(r), market.OrganizationUpdate{})
	if err != nil {
		return err
	}
	return s.nowhere(w, r)
}

func (s *Server) segregateSpace(w http.ResponseWriter, r *request) error {
	if err := noSegment(r, "the organization that this space belongs to"); err != nil {
		return err
	}
	if _, err := s.Market.UpdateSpace(r.Context(), r.by, spaceID(r), market.SpaceUpdate{}); err != nil {
		return err
	}
	return s.nowhere(w, r)
}

// noSegment is what may be assigned of the isolation segments that there are not: none. Go programs say so by an
// object without a guid.
func noSegment(r *request, place string) error {
	var body struct {
		Data *struct {
			GUID *string `json:"guid"`
		} `json:"data"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	if body.Data == nil || body.Data.GUID == nil {
		return nil
	}
	return backstay.Errorf(backstay.Invalid,
		"Unable to assign isolation segment with guid '%s'. Ensure it has been entitled to %s.", *body.Data.GUID, place)
}

package cfapi

import (
	"net/http"
	"time"

	"github.com/backstay/backstay"
)

type sharedSpacesResource struct {
	Data     []reference `json:"data"`
	Links    links       `json:"links"`
	Included *included   `json:"included,omitempty"`
}

func (s *Server) listSharedSpaces(w http.ResponseWriter, r *request) error {
	shares, err := s.Market.Shares(r.Context(), r.by, instanceID(r))
	if err != nil {
		return err
	}
	answer := sharedSpacesResource{
		Data:  convert(shares, func(h backstay.Share) reference { return reference{string(h.SpaceID)} }),
		Links: links{"self": s.at("/v3/service_instances/%s/relationships/shared_spaces", instanceID(r))},
	}
	if r.fields("space", "space.organization") {
		answer.Included = &included{}
		err = s.includeWhereabouts(r, distinct(shares, func(h backstay.Share) backstay.SpaceID { return h.SpaceID }),
			answer.Included)
	}
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, answer)
}

// place is a space or an organization as those know it who share an instance with it, whether they can see
// it or not: by name.
type place struct {
	GUID          string          `json:"guid"`
	Name          string          `json:"name"`
	Relationships *inOrganization `json:"relationships,omitempty"`
}

type inOrganization struct {
	Organization toOne `json:"organization"`
}

// includeWhereabouts includes spaces and their organizations by name, as far as was asked for.
func (s *Server) includeWhereabouts(r *request, ids []backstay.SpaceID, with *included) error {
	spaces, organizations, err := s.Market.Whereabouts(r.Context(), ids)
	if r.fields("space") {
		with.Spaces = convert(spaces, func(sp backstay.Space) any {
			return place{string(sp.ID), sp.Name, &inOrganization{related(sp.OrganizationID)}}
		})
	}
	if r.fields("space.organization") {
		with.Organizations = convert(organizations,
			func(o backstay.Organization) any { return place{GUID: string(o.ID), Name: o.Name} })
	}
	return err
}

func (s *Server) shareInstance(w http.ResponseWriter, r *request) error {
	var body struct {
		Data []reference `json:"data"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	if len(body.Data) == 0 {
		return backstay.Errorf(backstay.Invalid, `Data must be structured like this: "data": [{"guid": "valid-guid"}]`)
	}
	spaces := make([]backstay.SpaceID, len(body.Data))
	for i, to := range body.Data {
		spaces[i] = backstay.SpaceID(to.GUID)
	}
	if err := s.Market.ShareInstance(r.Context(), r.by, instanceID(r), spaces); err != nil {
		return err
	}
	return s.listSharedSpaces(w, r)
}

// unshareWait is how long the answer to an unsharing may be held back: the cf command asks for no job after
// it, and takes any success for the end.
const unshareWait = 30 * time.Second

func (s *Server) unshareInstance(w http.ResponseWriter, r *request) error {
	j, err := s.Market.UnshareInstance(r.Context(), r.by, instanceID(r), backstay.SpaceID(r.PathValue("space_guid")))
	if err != nil {
		return err
	}
	if j, err = s.Market.AwaitJob(r.Context(), j.ID, unshareWait); err != nil {
		return err
	}
	switch j.State {
	case backstay.JobComplete:
		w.WriteHeader(http.StatusNoContent)
		return nil
	case backstay.JobFailed:
		return backstay.Errorf(backstay.Unavailable, "Unshare of service instance failed: %s", j.Sentence)
	}
	return s.accepted(w, j)
}

type usageResource struct {
	Space     reference `json:"space"`
	BoundApps int       `json:"bound_app_count"`
}

func (s *Server) showSharingUsage(w http.ResponseWriter, r *request) error {
	shares, err := s.Market.Shares(r.Context(), r.by, instanceID(r))
	if err != nil {
		return err
	}
	const shared = "/v3/service_instances/%s/relationships/shared_spaces"
	return writeJSON(w, http.StatusOK, map[string]any{
		"usage_summary": convert(shares,
			func(h backstay.Share) usageResource { return usageResource{reference{string(h.SpaceID)}, h.BoundApps} }),
		"links": links{
			"self":             s.at(shared+"/usage_summary", instanceID(r)),
			"shared_spaces":    s.at(shared, instanceID(r)),
			"service_instance": s.at("/v3/service_instances/%s", instanceID(r)),
		},
	})
}

package cfapi

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

// Quotas are of two kinds, which differ in who has them.
const (
	ofOrganizations = false
	ofSpaces        = true
)

// limitNames are the limits in each object of a quota.
var limitNames = map[string][]backstay.Limit{
	"apps":     {backstay.Memory, backstay.ProcessMemory, backstay.AppInstances, backstay.AppTasks, backstay.LogRate},
	"services": {backstay.ServiceInstances, backstay.ServiceKeys},
	"routes":   {backstay.Routes, backstay.ReservedPorts},
	"domains":  {backstay.Domains}, // for organizations only
}

const paidPlans = "paid_services_allowed" // stands among the limits of services

type quotaResource struct {
	identity
	Name          string             `json:"name"`
	Apps          limitsResource     `json:"apps"`
	Services      limitsResource     `json:"services"`
	Routes        limitsResource     `json:"routes"`
	Domains       limitsResource     `json:"domains,omitempty"`
	Relationships quotaRelationships `json:"relationships"`
	Links         links              `json:"links"`
}

// limitsResource holds limits by their names; null is no limit.
type limitsResource map[string]any

type quotaRelationships struct {
	Organization  *toOne  `json:"organization,omitempty"`
	Organizations *toMany `json:"organizations,omitempty"`
	Spaces        *toMany `json:"spaces,omitempty"`
}

// toMany is a relationship to several resources.
type toMany struct {
	Data []reference `json:"data"`
}

func relatedMany[ID ~string](ids []ID) *toMany {
	return &toMany{convert(ids, func(id ID) reference { return reference{string(id)} })}
}

// guidsOf are the resources that a request names; nil if it names none.
func guidsOf[ID ~string](to *toMany) (all []ID) {
	if to == nil {
		return nil
	}
	for _, r := range to.Data {
		all = append(all, ID(r.GUID))
	}
	return all
}

func (s *Server) quota(q backstay.Quota) quotaResource {
	limits := func(group string) limitsResource {
		all := limitsResource{}
		for _, name := range limitNames[group] {
			all[string(name)] = nil
			if limit, ok := q.Limits[name]; ok {
				all[string(name)] = limit
			}
		}
		return all
	}
	res := quotaResource{
		identity: identify(q.ID, q.CreatedAt, q.UpdatedAt), Name: q.Name,
		Apps: limits("apps"), Services: limits("services"), Routes: limits("routes"),
	}
	res.Services[paidPlans] = q.PaidPlans
	if q.OrganizationID == "" {
		res.Domains = limits("domains")
		res.Relationships.Organizations = relatedMany(q.OrganizationIDs)
		res.Links = links{"self": s.at("/v3/organization_quotas/%s", q.ID)}
		return res
	}
	organization := related(q.OrganizationID)
	res.Relationships = quotaRelationships{Organization: &organization, Spaces: relatedMany(q.SpaceIDs)}
	res.Links = links{
		"self":         s.at("/v3/space_quotas/%s", q.ID),
		"organization": s.at("/v3/organizations/%s", q.OrganizationID),
	}
	return res
}

func quotaID(r *request) backstay.QuotaID { return backstay.QuotaID(r.PathValue("guid")) }

func (s *Server) listQuotas(forSpaces bool) handler {
	return func(w http.ResponseWriter, r *request) error {
		l, err := s.Market.Quotas(r.Context(), r.by, market.QuotaFilter{
			IDs:             ids[backstay.QuotaID](r.query, "guids"),
			Names:           r.list("names"),
			ForSpaces:       forSpaces,
			OrganizationIDs: ids[backstay.OrganizationID](r.query, "organization_guids"),
			SpaceIDs:        ids[backstay.SpaceID](r.query, "space_guids"),
			Match:           r.match,
			Order:           r.order,
			Page:            r.page,
		})
		if err != nil {
			return err
		}
		return writeList(s, w, r, l, s.quota, nil)
	}
}

func (s *Server) showQuota(forSpaces bool) handler {
	return func(w http.ResponseWriter, r *request) error {
		q, err := s.Market.Quota(r.Context(), r.by, forSpaces, quotaID(r))
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, s.quota(q))
	}
}

// quotaBody is what both kinds of quota are asked for with.
type quotaBody struct {
	Name     *string    `json:"name"`
	Apps     limitsBody `json:"apps"`
	Services limitsBody `json:"services"`
	Routes   limitsBody `json:"routes"`
}

// limitsBody is an object of limits; nil if it was not given.
type limitsBody map[string]json.RawMessage

func (b quotaBody) update(domains limitsBody) (u market.QuotaUpdate, err error) {
	u = market.QuotaUpdate{Name: b.Name, Limits: map[backstay.Limit]*int64{}}
	if raw, ok := b.Services[paidPlans]; ok {
		if json.Unmarshal(raw, &u.PaidPlans) != nil || u.PaidPlans == nil {
			return u, backstay.Errorf(backstay.Invalid, "Services paid services allowed must be a boolean")
		}
		delete(b.Services, paidPlans)
	}
	groups := map[string]limitsBody{"apps": b.Apps, "services": b.Services, "routes": b.Routes, "domains": domains}
	for group, given := range groups {
		if err := given.read(group, u.Limits); err != nil {
			return u, err
		}
	}
	return u, nil
}

// read adds the limits of a group, in which null is none, to all.
func (b limitsBody) read(group string, all map[backstay.Limit]*int64) error {
	for _, name := range slices.Sorted(maps.Keys(b)) {
		if !slices.Contains(limitNames[group], backstay.Limit(name)) {
			return backstay.Errorf(backstay.Invalid, "Unknown field(s): '%s'", group+"."+name)
		}
		var limit *int64
		if err := json.Unmarshal(b[name], &limit); err != nil || limit != nil && *limit < 0 {
			return backstay.Errorf(backstay.Invalid,
				"%s.%s must be a whole number that is not negative, or null for no limit: %s is not", capital(group), name,
				bytes.TrimSpace(b[name]))
		}
		all[backstay.Limit(name)] = limit
	}
	return nil
}

func (s *Server) createOrganizationQuota(w http.ResponseWriter, r *request) error {
	var body struct {
		quotaBody
		Domains       limitsBody `json:"domains"`
		Relationships struct {
			Organizations *toMany `json:"organizations"`
		} `json:"relationships"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	n := market.NewQuota{OrganizationIDs: guidsOf[backstay.OrganizationID](body.Relationships.Organizations)}
	return s.createQuota(w, r, n, body.quotaBody, body.Domains)
}

func (s *Server) createSpaceQuota(w http.ResponseWriter, r *request) error {
	var body struct {
		quotaBody
		Relationships struct {
			Organization toOne   `json:"organization"`
			Spaces       *toMany `json:"spaces"`
		} `json:"relationships"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	organization, err := required[backstay.OrganizationID](body.Relationships.Organization, "organization")
	if err != nil {
		return err
	}
	n := market.NewQuota{OrganizationID: organization, SpaceIDs: guidsOf[backstay.SpaceID](body.Relationships.Spaces)}
	return s.createQuota(w, r, n, body.quotaBody, nil)
}

func (s *Server) createQuota(w http.ResponseWriter, r *request, n market.NewQuota, body quotaBody,
	domains limitsBody) (err error) {
	if n.QuotaUpdate, err = body.update(domains); err != nil {
		return err
	}
	q, err := s.Market.CreateQuota(r.Context(), r.by, n)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, s.quota(q))
}

func (s *Server) updateOrganizationQuota(w http.ResponseWriter, r *request) error {
	var body struct {
		quotaBody
		Domains limitsBody `json:"domains"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	return s.updateQuota(w, r, ofOrganizations, body.quotaBody, body.Domains)
}

func (s *Server) updateSpaceQuota(w http.ResponseWriter, r *request) error {
	var body quotaBody
	if err := decode(r, &body); err != nil {
		return err
	}
	return s.updateQuota(w, r, ofSpaces, body, nil)
}

func (s *Server) updateQuota(w http.ResponseWriter, r *request, forSpaces bool, body quotaBody,
	domains limitsBody) error {
	u, err := body.update(domains)
	if err != nil {
		return err
	}
	q, err := s.Market.UpdateQuota(r.Context(), r.by, forSpaces, quotaID(r), u)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.quota(q))
}

func (s *Server) deleteQuota(forSpaces bool) handler {
	return func(w http.ResponseWriter, r *request) error {
		j, err := s.Market.DeleteQuota(r.Context(), r.by, forSpaces, quotaID(r))
		if err != nil {
			return err
		}
		return s.acceptedSoon(w, r, j)
	}
}

func (s *Server) applyOrganizationQuota(w http.ResponseWriter, r *request) error {
	to, err := decodeMany(r)
	if err != nil {
		return err
	}
	q, err := s.Market.ApplyQuota(r.Context(), r.by, quotaID(r), guidsOf[backstay.OrganizationID](to))
	if err != nil {
		return err
	}
	return s.writeMany(w, r, relatedMany(q.OrganizationIDs))
}

func (s *Server) applySpaceQuota(w http.ResponseWriter, r *request) error {
	to, err := decodeMany(r)
	if err != nil {
		return err
	}
	q, err := s.Market.ApplySpaceQuota(r.Context(), r.by, quotaID(r), guidsOf[backstay.SpaceID](to))
	if err != nil {
		return err
	}
	return s.writeMany(w, r, relatedMany(q.SpaceIDs))
}

// decodeMany reads the body of a request for more relationships, of which there must be one.
func decodeMany(r *request) (*toMany, error) {
	var to toMany
	if err := decode(r, &to); err != nil {
		return nil, err
	}
	if len(to.Data) == 0 {
		return nil, backstay.Errorf(backstay.Invalid, `Data must be structured like this: "data": [{"guid": "valid-guid"}]`)
	}
	return &to, nil
}

func (s *Server) writeMany(w http.ResponseWriter, r *request, to *toMany) error {
	return writeJSON(w, http.StatusOK,
		map[string]any{"data": to.Data, "links": links{"self": s.at("%s", r.URL.EscapedPath())}})
}

func (s *Server) removeSpaceQuota(w http.ResponseWriter, r *request) error {
	space := backstay.SpaceID(r.PathValue("space"))
	if err := s.Market.RemoveSpaceQuota(r.Context(), r.by, quotaID(r), space); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

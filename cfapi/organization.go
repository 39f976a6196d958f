package cfapi

import (
	"net/http"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

type organizationResource struct {
	identity
	Name          string                    `json:"name"`
	Suspended     bool                      `json:"suspended"`
	Relationships organizationRelationships `json:"relationships"`
	Metadata      metadata                  `json:"metadata"`
	Links         links                     `json:"links"`
}

type organizationRelationships struct {
	Quota toOne `json:"quota"`
}

func (s *Server) organization(o backstay.Organization) organizationResource {
	return organizationResource{
		identity:      identify(o.ID, o.CreatedAt, o.UpdatedAt),
		Metadata:      metadataOf(o.Metadata),
		Name:          o.Name,
		Relationships: organizationRelationships{related(o.QuotaID)},
		Links: links{
			"self":  s.at("/v3/organizations/%s", o.ID),
			"quota": s.at("/v3/organization_quotas/%s", o.QuotaID),
		},
	}
}

func organizationID(r *request) backstay.OrganizationID {
	return backstay.OrganizationID(r.PathValue("guid"))
}

func (s *Server) listOrganizations(w http.ResponseWriter, r *request) error {
	l, err := s.Market.Organizations(r.Context(), r.by, market.OrganizationFilter{
		IDs:   ids[backstay.OrganizationID](r.query, "guids"),
		Names: r.list("names"),
		Match: r.match,
		Order: r.order,
		Page:  r.page,
	})
	if err != nil {
		return err
	}
	return writeList(s, w, r, l, s.organization, nil)
}

func (s *Server) createOrganization(w http.ResponseWriter, r *request) error {
	var body struct {
		Name      string       `json:"name"`
		Suspended *bool        `json:"suspended"`
		Metadata  metadataBody `json:"metadata"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	if err := only("Suspended", body.Suspended, false); err != nil {
		return err
	}
	o, err := s.Market.CreateOrganization(r.Context(), r.by, body.Name, backstay.MetadataUpdate(body.Metadata))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, s.organization(o))
}

func (s *Server) showOrganization(w http.ResponseWriter, r *request) error {
	o, err := s.Market.Organization(r.Context(), r.by, organizationID(r))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.organization(o))
}

func (s *Server) updateOrganization(w http.ResponseWriter, r *request) error {
	u, err := decodeUpdate(r)
	if err != nil {
		return err
	}
	o, err := s.Market.UpdateOrganization(r.Context(), r.by, organizationID(r), u)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.organization(o))
}

func (s *Server) deleteOrganization(w http.ResponseWriter, r *request) error {
	j, err := s.Market.DeleteOrganization(r.Context(), r.by, organizationID(r))
	if err != nil {
		return err
	}
	return s.acceptedSoon(w, r, j)
}

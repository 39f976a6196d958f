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
		Suspended:     o.Suspended,
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
	n := market.NewOrganization{
		Name: body.Name, Suspended: body.Suspended != nil && *body.Suspended,
		Metadata: backstay.MetadataUpdate(body.Metadata),
	}
	o, err := s.Market.CreateOrganization(r.Context(), r.by, n)
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
	var body struct {
		Name      *string      `json:"name"`
		Suspended *bool        `json:"suspended"`
		Metadata  metadataBody `json:"metadata"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	u := market.OrganizationUpdate{
		Update:    market.Update{Name: body.Name, Metadata: backstay.MetadataUpdate(body.Metadata)},
		Suspended: body.Suspended,
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

// showOrganizationUsage counts what there is; of what belongs to running apps, there is nothing.
func (s *Server) showOrganizationUsage(w http.ResponseWriter, r *request) error {
	u, err := s.Market.OrganizationUsage(r.Context(), r.by, organizationID(r))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{
		"usage_summary": map[string]int{
			"started_instances": 0, "memory_in_mb": 0, "routes": 0, "service_instances": u.Instances,
			"reserved_ports": 0, "domains": 0, "per_app_tasks": 0, "service_keys": u.Keys,
		},
		"links": links{
			"self":         s.at("/v3/organizations/%s/usage_summary", organizationID(r)),
			"organization": s.at("/v3/organizations/%s", organizationID(r)),
		},
	})
}

package cfapi

import (
	"encoding/json"
	"net/http"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

type offeringResource struct {
	identity
	Name             string          `json:"name"`
	Description      string          `json:"description"`
	Available        bool            `json:"available"`
	Tags             []string        `json:"tags"`
	Requires         []string        `json:"requires"`
	Shareable        bool            `json:"shareable"`
	DocumentationURL *string         `json:"documentation_url"`
	BrokerCatalog    offeringCatalog `json:"broker_catalog"`
	Relationships    struct {
		ServiceBroker toOne `json:"service_broker"`
	} `json:"relationships"`
	Metadata metadata  `json:"metadata"`
	Links    links     `json:"links"`
	Included *included `json:"included,omitempty"`
}

type offeringCatalog struct {
	ID       backstay.ServiceID `json:"id"`
	Metadata json.RawMessage    `json:"metadata"`
	Features offeringFeatures   `json:"features"`
}

type offeringFeatures struct {
	PlanUpdateable       bool `json:"plan_updateable"`
	Bindable             bool `json:"bindable"`
	InstancesRetrievable bool `json:"instances_retrievable"`
	BindingsRetrievable  bool `json:"bindings_retrievable"`
	AllowContextUpdates  bool `json:"allow_context_updates"`
}

func (s *Server) offering(o backstay.Offering) offeringResource {
	res := offeringResource{
		identity:    identify(o.ID, o.CreatedAt, o.UpdatedAt),
		Metadata:    metadataOf(o.Metadata),
		Name:        o.Name,
		Description: o.Description,
		Available:   o.Available,
		Tags:        nonNil(o.Tags),
		Requires:    nonNil(o.Requires),
		Shareable:   o.Shareable,
		BrokerCatalog: offeringCatalog{ID: o.ServiceID, Metadata: hash(o.BrokerMetadata), Features: offeringFeatures{
			PlanUpdateable: o.PlanUpdateable, Bindable: o.Bindable, InstancesRetrievable: o.InstancesRetrievable,
			BindingsRetrievable: o.BindingsRetrievable, AllowContextUpdates: o.AllowContextUpdates,
		}},
		Links: links{
			"self":           s.at("/v3/service_offerings/%s", o.ID),
			"service_plans":  s.at("/v3/service_plans?service_offering_guids=%s", o.ID),
			"service_broker": s.at("/v3/service_brokers/%s", o.BrokerID),
		},
	}
	if o.DocumentationURL != "" {
		res.DocumentationURL = &o.DocumentationURL
	}
	res.Relationships.ServiceBroker = related(o.BrokerID)
	return res
}

// nonNil makes a list that is shown as [] rather than null.
func nonNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (s *Server) listOfferings(w http.ResponseWriter, r *request) error {
	available, err := r.boolean("available", "Available")
	if err != nil {
		return err
	}
	f := market.OfferingFilter{
		IDs:         ids[backstay.OfferingID](r.query, "guids"),
		Names:       r.list("names"),
		BrokerIDs:   ids[backstay.BrokerID](r.query, "service_broker_guids"),
		BrokerNames: r.list("service_broker_names"),
		Available:   available,
		Access:      r.access(),
		Match:       r.match,
		Order:       r.order,
		Page:        r.page,
	}
	l, err := s.Market.Offerings(r.Context(), r.by, f)
	if err != nil {
		return err
	}
	with, err := s.includeInOfferings(r, l.Items)
	if err != nil {
		return err
	}
	return writeList(s, w, r, l, s.offering, with)
}

// access is what filters by place say.
func (q query) access() market.Access {
	return market.Access{
		OrganizationIDs: ids[backstay.OrganizationID](q, "organization_guids"),
		SpaceIDs:        ids[backstay.SpaceID](q, "space_guids"),
	}
}

func (s *Server) includeInOfferings(r *request, offerings []backstay.Offering) (*included, error) {
	if !r.fields("service_broker") {
		return nil, nil
	}
	brokers, err := s.brokersOf(r, offerings)
	return &included{ServiceBrokers: brokers}, err
}

func (s *Server) showOffering(w http.ResponseWriter, r *request) error {
	o, err := s.Market.Offering(r.Context(), r.by, backstay.OfferingID(r.PathValue("guid")))
	if err != nil {
		return err
	}
	res := s.offering(o)
	if res.Included, err = s.includeInOfferings(r, []backstay.Offering{o}); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, res)
}

// deleteOffering only purges: what a broker offers goes when the broker does not offer it any more.
func (s *Server) deleteOffering(w http.ResponseWriter, r *request) error {
	purge, err := r.boolean("purge", "Purge")
	if err != nil {
		return err
	}
	if purge == nil || !*purge {
		return backstay.Errorf(backstay.Invalid,
			"A service offering can only be purged, with its plans and their service instances: say purge=true.")
	}
	if err := s.Market.PurgeOffering(r.Context(), r.by, backstay.OfferingID(r.PathValue("guid"))); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

type planResource struct {
	identity
	Name            string              `json:"name"`
	Description     string              `json:"description"`
	VisibilityType  backstay.Visibility `json:"visibility_type"`
	Available       bool                `json:"available"`
	Free            bool                `json:"free"`
	Costs           []costResource      `json:"costs"`
	MaintenanceInfo maintenanceInfo     `json:"maintenance_info"`
	BrokerCatalog   planCatalog         `json:"broker_catalog"`
	Schemas         schemasResource     `json:"schemas"`
	Relationships   planRelationships   `json:"relationships"`
	Metadata        metadata            `json:"metadata"`
	Links           links               `json:"links"`
	Included        *included           `json:"included,omitempty"`
}

// maintenanceInfo is an empty object where a broker tells of none.
type maintenanceInfo struct {
	Version     string `json:"version,omitempty"`
	Description string `json:"description,omitempty"`
}

func maintenance(m *backstay.MaintenanceInfo) maintenanceInfo {
	if m == nil {
		return maintenanceInfo{}
	}
	return maintenanceInfo(*m)
}

type costResource struct {
	Amount   float64 `json:"amount"`
	Currency string  `json:"currency"`
	Unit     string  `json:"unit"`
}

type planCatalog struct {
	ID       backstay.ServicePlanID `json:"id"`
	Metadata json.RawMessage        `json:"metadata"`
	Features planFeatures           `json:"features"`
}

type planFeatures struct {
	PlanUpdateable bool `json:"plan_updateable"`
	Bindable       bool `json:"bindable"`
}

type schemasResource struct {
	ServiceInstance struct {
		Create schemaResource `json:"create"`
		Update schemaResource `json:"update"`
	} `json:"service_instance"`
	ServiceBinding struct {
		Create schemaResource `json:"create"`
	} `json:"service_binding"`
}

// schemaResource holds a JSON Schema; an empty one if there is nothing to say.
type schemaResource struct {
	Parameters json.RawMessage `json:"parameters"`
}

func schema(raw json.RawMessage) schemaResource { return schemaResource{hash(raw)} }

// hash is empty where there is nothing to say.
func hash(raw json.RawMessage) json.RawMessage {
	if raw == nil || string(raw) == "null" { // as it comes out of a store that keeps JSON
		return json.RawMessage(`{}`)
	}
	return raw
}

type planRelationships struct {
	ServiceOffering toOne `json:"service_offering"`
}

func (s *Server) plan(p backstay.Plan) planResource {
	res := planResource{
		identity:        identify(p.ID, p.CreatedAt, p.UpdatedAt),
		Metadata:        metadataOf(p.Metadata),
		Name:            p.Name,
		Description:     p.Description,
		VisibilityType:  p.Visibility,
		Available:       p.Available,
		Free:            p.Free,
		Costs:           convert(p.Costs, func(c backstay.Cost) costResource { return costResource(c) }),
		MaintenanceInfo: maintenance(p.MaintenanceInfo),
		BrokerCatalog: planCatalog{ID: p.ServicePlanID, Metadata: hash(p.BrokerMetadata), Features: planFeatures{
			PlanUpdateable: p.PlanUpdateable, Bindable: p.Bindable,
		}},
		Relationships: planRelationships{related(p.OfferingID)},
		Links: links{
			"self":             s.at("/v3/service_plans/%s", p.ID),
			"service_offering": s.at("/v3/service_offerings/%s", p.OfferingID),
		},
	}
	res.Schemas.ServiceInstance.Create = schema(p.Schemas.CreateInstance)
	res.Schemas.ServiceInstance.Update = schema(p.Schemas.UpdateInstance)
	res.Schemas.ServiceBinding.Create = schema(p.Schemas.CreateBinding)
	return res
}

func (s *Server) listPlans(w http.ResponseWriter, r *request) error {
	available, err := r.boolean("available", "Available")
	if err != nil {
		return err
	}
	f := market.PlanFilter{
		IDs:            ids[backstay.PlanID](r.query, "guids"),
		Names:          r.list("names"),
		ServicePlanIDs: ids[backstay.ServicePlanID](r.query, "broker_catalog_ids"),
		OfferingIDs:    ids[backstay.OfferingID](r.query, "service_offering_guids"),
		OfferingNames:  r.list("service_offering_names"),
		BrokerIDs:      ids[backstay.BrokerID](r.query, "service_broker_guids"),
		BrokerNames:    r.list("service_broker_names"),
		Available:      available,
		Access:         r.access(),
		Match:          r.match,
		Order:          r.order,
		Page:           r.page,
	}
	l, err := s.Market.Plans(r.Context(), r.by, f)
	if err != nil {
		return err
	}
	with, err := s.includeInPlans(r, l.Items)
	if err != nil {
		return err
	}
	return writeList(s, w, r, l, s.plan, with)
}

func (s *Server) includeInPlans(r *request, plans []backstay.Plan) (*included, error) {
	offerings, brokers := r.includes("service_offering"), r.fields("service_offering.service_broker")
	if !offerings && !brokers {
		if r.includes("space.organization") {
			return s.includeSpacesOfPlans(r, plans)
		}
		return nil, nil
	}
	with := &included{}
	return with, s.includeSuppliers(r, plans, with, offerings, brokers)
}

// includeSpacesOfPlans includes whose own plans are.
func (s *Server) includeSpacesOfPlans(r *request, plans []backstay.Plan) (*included, error) {
	spaces, organizations, err := s.Market.Whereabouts(
		r.Context(), distinct(plans, func(p backstay.Plan) backstay.SpaceID { return p.SpaceID }),
	)
	return &included{
		Spaces: convert(spaces, mixed(s.space)), Organizations: convert(organizations, mixed(s.organization)),
	}, err
}

// includeSuppliers includes whom plans are from: their offerings, the brokers of those, or both.
func (s *Server) includeSuppliers(r *request, plans []backstay.Plan, with *included, offerings, brokers bool) error {
	l, err := s.Market.Offerings(r.Context(), r.by, market.OfferingFilter{
		IDs: distinct(plans, func(p backstay.Plan) backstay.OfferingID { return p.OfferingID }),
	})
	if err != nil {
		return err
	}
	if offerings {
		with.ServiceOfferings = convert(l.Items, s.offering)
	}
	if brokers {
		with.ServiceBrokers, err = s.brokersOf(r, l.Items)
	}
	return err
}

func (s *Server) showPlan(w http.ResponseWriter, r *request) error {
	p, err := s.Market.Plan(r.Context(), r.by, backstay.PlanID(r.PathValue("guid")))
	if err != nil {
		return err
	}
	res := s.plan(p)
	if res.Included, err = s.includeInPlans(r, []backstay.Plan{p}); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, res)
}

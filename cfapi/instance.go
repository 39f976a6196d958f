package cfapi

import (
	"encoding/json"
	"net/http"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

type instanceResource struct {
	identity
	Name             string                `json:"name"`
	Type             backstay.InstanceType `json:"type"`
	Tags             []string              `json:"tags"`
	MaintenanceInfo  maintenanceInfo       `json:"maintenance_info"`
	UpgradeAvailable bool                  `json:"upgrade_available"`
	DashboardURL     *string               `json:"dashboard_url"`
	LastOperation    operationResource     `json:"last_operation"`
	Relationships    instanceRelationships `json:"relationships"`
	Metadata         metadata              `json:"metadata"`
	Links            links                 `json:"links"`
	Included         *included             `json:"included,omitempty"`
}

type instanceRelationships struct {
	Space       toOne `json:"space"`
	ServicePlan toOne `json:"service_plan"`
}

type operationResource struct {
	Type        backstay.OperationType  `json:"type"`
	State       backstay.OperationState `json:"state"`
	Description string                  `json:"description"`
	CreatedAt   string                  `json:"created_at"`
	UpdatedAt   string                  `json:"updated_at"`
}

func operation(o backstay.Operation) operationResource {
	return operationResource{o.Type, o.State, o.Description, timestamp(o.CreatedAt), timestamp(o.UpdatedAt)}
}

func (s *Server) instance(in backstay.Instance) any { return s.instanceWith(in, nil) }

// instanceWith is an instanceResource or a userProvidedResource.
func (s *Server) instanceWith(in backstay.Instance, with *included) any {
	if in.Type == backstay.UserProvided {
		return s.userProvided(in, with)
	}
	return instanceResource{
		Included:         with,
		identity:         identify(in.ID, in.CreatedAt, in.UpdatedAt),
		Metadata:         metadataOf(in.Metadata),
		Name:             in.Name,
		Type:             in.Type,
		Tags:             nonNil(in.Tags),
		MaintenanceInfo:  maintenance(in.MaintenanceInfo),
		UpgradeAvailable: in.Upgradable,
		DashboardURL:     orNull(in.DashboardURL),
		LastOperation:    operation(in.LastOperation),
		Relationships:    instanceRelationships{related(in.SpaceID), related(in.PlanID)},
		Links: links{
			"self":                        s.at("/v3/service_instances/%s", in.ID),
			"space":                       s.at("/v3/spaces/%s", in.SpaceID),
			"service_plan":                s.at("/v3/service_plans/%s", in.PlanID),
			"parameters":                  s.at("/v3/service_instances/%s/parameters", in.ID),
			"shared_spaces":               s.at("/v3/service_instances/%s/relationships/shared_spaces", in.ID),
			"service_credential_bindings": s.at("/v3/service_credential_bindings?service_instance_guids=%s", in.ID),
		},
	}
}

func instanceID(r *request) backstay.InstanceID { return backstay.InstanceID(r.PathValue("guid")) }

func (s *Server) listInstances(w http.ResponseWriter, r *request) error {
	if _, err := r.among("type", "Type", string(backstay.Managed), string(backstay.UserProvided)); err != nil {
		return err
	}
	l, err := s.Market.Instances(r.Context(), r.by, market.InstanceFilter{
		IDs:             ids[backstay.InstanceID](r.query, "guids"),
		Names:           r.list("names"),
		Types:           ids[backstay.InstanceType](r.query, "type"),
		KnownIn:         ids[backstay.SpaceID](r.query, "space_guids"),
		OrganizationIDs: ids[backstay.OrganizationID](r.query, "organization_guids"),
		PlanIDs:         ids[backstay.PlanID](r.query, "service_plan_guids"),
		PlanNames:       r.list("service_plan_names"),
		Match:           r.match,
		Order:           r.order,
		Page:            r.page,
	})
	if err != nil {
		return err
	}
	with, err := s.includeInInstances(r, l.Items)
	if err != nil {
		return err
	}
	return writeList(s, w, r, l, s.instance, with)
}

// includeInInstances follows the instances' relationships two ways, as far as was asked for: to
// their spaces and organizations, to their plans, offerings and brokers.
func (s *Server) includeInInstances(r *request, instances []backstay.Instance) (*included, error) {
	if !r.fields("space", "space.organization", "service_plan", "service_plan.service_offering",
		"service_plan.service_offering.service_broker") {
		return nil, nil
	}
	with := &included{}
	if err := s.includePlaces(r, instances, with); err != nil {
		return nil, err
	}
	return with, s.includePlans(r, instances, with)
}

func (s *Server) includePlaces(r *request, instances []backstay.Instance, with *included) error {
	if !r.fields("space", "space.organization") {
		return nil
	}
	return s.includeWhereabouts(r, distinct(instances, func(in backstay.Instance) backstay.SpaceID { return in.SpaceID }),
		with)
}

func (s *Server) includePlans(r *request, instances []backstay.Instance, with *included) error {
	offerings := r.fields("service_plan.service_offering")
	brokers := r.fields("service_plan.service_offering.service_broker")
	if !r.fields("service_plan") && !offerings && !brokers {
		return nil
	}
	plans, err := s.Market.Plans(r.Context(), r.by, market.PlanFilter{
		IDs: distinct(instances, func(in backstay.Instance) backstay.PlanID { return in.PlanID }),
	})
	if err != nil {
		return err
	}
	if r.fields("service_plan") {
		with.ServicePlans = convert(plans.Items, s.plan)
	}
	if !offerings && !brokers {
		return nil
	}
	return s.includeSuppliers(r, plans.Items, with, offerings, brokers)
}

type newInstanceBody struct {
	Type            backstay.InstanceType `json:"type"` // managed if it was not given
	Name            string                `json:"name"`
	Tags            tags                  `json:"tags"`
	Parameters      object                `json:"parameters"`
	Credentials     providedCredentials   `json:"credentials"`
	SyslogDrainURL  clearable             `json:"syslog_drain_url"`
	RouteServiceURL clearable             `json:"route_service_url"`
	Relationships   instanceRelationships `json:"relationships"`
	Metadata        metadataBody          `json:"metadata"`
}

func (s *Server) createInstance(w http.ResponseWriter, r *request) error {
	var body newInstanceBody
	if err := decode(r, &body); err != nil {
		return err
	}
	switch {
	case body.Type == backstay.UserProvided:
		return s.createUserProvided(w, r, body)
	case body.Type != backstay.Managed && body.Type != "":
		return backstay.Errorf(backstay.Invalid, "Type must be one of 'managed', 'user-provided'")
	case body.providedField() != "":
		return backstay.Errorf(backstay.Invalid, "Unknown field(s): '%s'", body.providedField())
	}
	space, err := required[backstay.SpaceID](body.Relationships.Space, "space")
	if err != nil {
		return err
	}
	plan, err := required[backstay.PlanID](body.Relationships.ServicePlan, "service_plan")
	if err != nil {
		return err
	}
	j, err := s.Market.CreateInstance(r.Context(), r.by, market.NewInstance{
		Name: body.Name, SpaceID: space, PlanID: plan, Tags: body.Tags, Parameters: body.Parameters,
		Metadata: backstay.MetadataUpdate(body.Metadata),
	})
	if err != nil {
		return err
	}
	return s.settle(w, r, j, func() error {
		return s.writeInstance(w, r, http.StatusCreated, backstay.InstanceID(j.Resource))
	})
}

// writeInstance answers with an instance as it is now.
func (s *Server) writeInstance(w http.ResponseWriter, r *request, status int, id backstay.InstanceID) error {
	in, err := s.Market.Instance(r.Context(), r.by, id)
	if err != nil {
		return err
	}
	return writeJSON(w, status, s.instance(in))
}

func (s *Server) showInstance(w http.ResponseWriter, r *request) error {
	in, err := s.Market.Instance(r.Context(), r.by, instanceID(r))
	if err != nil {
		return err
	}
	with, err := s.includeInInstances(r, []backstay.Instance{in})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.instanceWith(in, with))
}

func (s *Server) updateInstance(w http.ResponseWriter, r *request) error {
	var body struct {
		Name            *string             `json:"name"`
		Tags            tags                `json:"tags"`
		Parameters      object              `json:"parameters"`
		Credentials     providedCredentials `json:"credentials"`
		SyslogDrainURL  clearable           `json:"syslog_drain_url"`
		RouteServiceURL clearable           `json:"route_service_url"`
		Relationships   struct {
			ServicePlan *toOne `json:"service_plan"`
		} `json:"relationships"`
		MaintenanceInfo struct {
			Version     *string `json:"version"`
			Description string  `json:"description"`
		} `json:"maintenance_info"`
		Metadata metadataBody `json:"metadata"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	u := market.InstanceUpdate{
		Update: market.Update{Name: body.Name, Metadata: backstay.MetadataUpdate(body.Metadata)},
		Tags:   body.Tags, Parameters: body.Parameters, MaintenanceVersion: body.MaintenanceInfo.Version,
		Credentials: body.Credentials, SyslogDrainURL: body.SyslogDrainURL.text, RouteServiceURL: body.RouteServiceURL.text,
	}
	if to := body.Relationships.ServicePlan; to != nil {
		plan, err := required[backstay.PlanID](*to, "service_plan")
		if err != nil {
			return err
		}
		u.PlanID = &plan
	}
	in, j, err := s.Market.UpdateInstance(r.Context(), r.by, instanceID(r), u)
	if err != nil {
		return err
	}
	return s.settle(w, r, j, func() error { return s.writeInstance(w, r, http.StatusOK, in.ID) })
}

func (s *Server) deleteInstance(w http.ResponseWriter, r *request) error {
	purge, err := r.boolean("purge", "Purge")
	if err != nil {
		return err
	}
	if purge != nil && *purge {
		if _, err := s.Market.PurgeInstance(r.Context(), r.by, instanceID(r)); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	j, err := s.Market.DeleteInstance(r.Context(), r.by, instanceID(r))
	if err != nil {
		return err
	}
	return s.settle(w, r, j, func() error {
		w.WriteHeader(http.StatusNoContent)
		return nil
	})
}

func (s *Server) showInstanceParameters(w http.ResponseWriter, r *request) error {
	parameters, err := s.Market.InstanceParameters(r.Context(), r.by, instanceID(r))
	if err != nil {
		return err
	}
	if parameters == nil {
		parameters = json.RawMessage(`{}`)
	}
	return writeJSON(w, http.StatusOK, parameters)
}

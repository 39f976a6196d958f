package cfapi

import (
	"encoding/json"
	"net/http"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

type bindingResource struct {
	identity
	Name          *string              `json:"name"`
	Type          backstay.BindingType `json:"type"`
	LastOperation operationResource    `json:"last_operation"`
	Relationships bindingRelationships `json:"relationships"`
	Metadata      metadata             `json:"metadata"`
	Links         links                `json:"links"`
	Included      *included            `json:"included,omitempty"`
}

type bindingRelationships struct {
	App             *toOne `json:"app,omitempty"`
	ServiceInstance toOne  `json:"service_instance"`
}

func (s *Server) binding(b backstay.Binding) bindingResource {
	res := bindingResource{
		identity:      identify(b.ID, b.CreatedAt, b.UpdatedAt),
		Metadata:      metadataOf(b.Metadata),
		Type:          b.Type,
		LastOperation: operation(b.LastOperation),
		Relationships: bindingRelationships{ServiceInstance: related(b.InstanceID)},
		Links: links{
			"self":             s.at("/v3/service_credential_bindings/%s", b.ID),
			"details":          s.at("/v3/service_credential_bindings/%s/details", b.ID),
			"service_instance": s.at("/v3/service_instances/%s", b.InstanceID),
		},
	}
	if b.Name != "" {
		res.Name = &b.Name
	}
	if b.AppID != "" {
		app := related(b.AppID)
		res.Relationships.App = &app
		res.Links["app"] = s.at("/v3/apps/%s", b.AppID)
	}
	return res
}

func bindingID(r *request) backstay.BindingID { return backstay.BindingID(r.PathValue("guid")) }

func (s *Server) listBindings(w http.ResponseWriter, r *request) error {
	if _, err := r.among("type", "Type", string(backstay.AppBinding), string(backstay.KeyBinding)); err != nil {
		return err
	}
	l, err := s.Market.Bindings(r.Context(), r.by, market.BindingFilter{
		IDs:           ids[backstay.BindingID](r.query, "guids"),
		Names:         r.list("names"),
		Types:         ids[backstay.BindingType](r.query, "type"),
		InstanceIDs:   ids[backstay.InstanceID](r.query, "service_instance_guids"),
		InstanceNames: r.list("service_instance_names"),
		AppIDs:        ids[backstay.AppID](r.query, "app_guids"),
		AppNames:      r.list("app_names"),
		PlanIDs:       ids[backstay.PlanID](r.query, "service_plan_guids"),
		PlanNames:     r.list("service_plan_names"),
		OfferingIDs:   ids[backstay.OfferingID](r.query, "service_offering_guids"),
		OfferingNames: r.list("service_offering_names"),
		Match:         r.match,
		Order:         r.order,
		Page:          r.page,
	})
	if err != nil {
		return err
	}
	with, err := s.includeInBindings(r, l.Items)
	if err != nil {
		return err
	}
	return writeList(s, w, r, l, s.binding, with)
}

func (s *Server) includeInBindings(r *request, bindings []backstay.Binding) (*included, error) {
	if !r.includes("app") && !r.includes("service_instance") {
		return nil, nil
	}
	with := &included{}
	if r.includes("app") {
		l, err := s.Market.Apps(r.Context(), r.by, market.AppFilter{
			IDs: distinct(bindings, func(b backstay.Binding) backstay.AppID { return b.AppID }),
		})
		if err != nil {
			return nil, err
		}
		with.Apps = convert(l.Items, s.app)
	}
	if r.includes("service_instance") {
		l, err := s.Market.Instances(r.Context(), r.by, market.InstanceFilter{
			IDs: distinct(bindings, func(b backstay.Binding) backstay.InstanceID { return b.InstanceID }),
		})
		if err != nil {
			return nil, err
		}
		with.ServiceInstances = convert(l.Items, s.instance)
	}
	return with, nil
}

type newBindingBody struct {
	Type          backstay.BindingType `json:"type"`
	Name          *string              `json:"name"`
	Strategy      *string              `json:"strategy"`
	Parameters    object               `json:"parameters"`
	Relationships bindingRelationships `json:"relationships"`
	Metadata      metadataBody         `json:"metadata"`
}

// createBinding waits a moment: a binding takes milliseconds, and the cf command three seconds to
// find that out from a job.
func (s *Server) createBinding(w http.ResponseWriter, r *request) error {
	var body newBindingBody
	if err := decode(r, &body); err != nil {
		return err
	}
	n, err := body.binding()
	if err != nil {
		return err
	}
	b, j, err := s.Market.CreateBinding(r.Context(), r.by, n)
	if err != nil {
		return err
	}
	done, err := s.await(r, j)
	if err != nil {
		return err
	}
	if !done {
		return s.accepted(w, j)
	}
	if b, err = s.Market.Binding(r.Context(), r.by, b.ID); err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, s.binding(b))
}

func (b newBindingBody) binding() (n market.NewBinding, err error) {
	n = market.NewBinding{Type: b.Type, Parameters: b.Parameters, Metadata: backstay.MetadataUpdate(b.Metadata)}
	if b.Name != nil {
		n.Name = *b.Name
	}
	if n.InstanceID, err = required[backstay.InstanceID](b.Relationships.ServiceInstance,
		"service_instance"); err != nil {
		return n, err
	}
	switch b.Type {
	case backstay.KeyBinding:
		switch {
		case b.Relationships.App != nil:
			err = backstay.Errorf(backstay.Invalid, "Unknown field(s): 'app'")
		case b.Strategy != nil:
			err = backstay.Errorf(backstay.Invalid, "Unknown field(s): 'strategy'")
		}
	case backstay.AppBinding:
		if b.Relationships.App == nil {
			b.Relationships.App = &toOne{}
		}
		if n.AppID, err = required[backstay.AppID](*b.Relationships.App, "app"); err == nil {
			n.Multiple, err = b.multiple()
		}
	default:
		err = backstay.Errorf(backstay.Invalid, "Type must be 'app' or 'key'")
	}
	return n, err
}

// multiple tells whether the app may be bound to the instance already, for its credentials to be changed.
func (b newBindingBody) multiple() (bool, error) {
	if b.Strategy == nil || *b.Strategy == "single" {
		return false, nil
	}
	if *b.Strategy != "multiple" {
		return false, backstay.Errorf(backstay.Invalid, "Strategy must be 'single' or 'multiple'")
	}
	return true, nil
}

func (s *Server) showBinding(w http.ResponseWriter, r *request) error {
	b, err := s.Market.Binding(r.Context(), r.by, bindingID(r))
	if err != nil {
		return err
	}
	res := s.binding(b)
	if res.Included, err = s.includeInBindings(r, []backstay.Binding{b}); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, res)
}

func (s *Server) deleteBinding(w http.ResponseWriter, r *request) error {
	j, err := s.Market.DeleteBinding(r.Context(), r.by, bindingID(r))
	if err != nil {
		return err
	}
	done, err := s.await(r, j)
	if err != nil {
		return err
	}
	if !done {
		return s.accepted(w, j)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) showBindingParameters(w http.ResponseWriter, r *request) error {
	parameters, err := s.Market.BindingParameters(r.Context(), r.by, bindingID(r))
	if err != nil {
		return err
	}
	if parameters == nil {
		parameters = json.RawMessage(`{}`)
	}
	return writeJSON(w, http.StatusOK, parameters)
}

func (s *Server) showBindingDetails(w http.ResponseWriter, r *request) error {
	d, err := s.Market.BindingDetails(r.Context(), r.by, bindingID(r))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, struct {
		Credentials     backstay.Credentials `json:"credentials"`
		SyslogDrainURL  *string              `json:"syslog_drain_url"`
		RouteServiceURL string               `json:"route_service_url,omitempty"`
		VolumeMounts    json.RawMessage      `json:"volume_mounts"`
	}{d.Credentials, orNull(d.SyslogDrainURL), d.RouteServiceURL, mounts(d.VolumeMounts)})
}

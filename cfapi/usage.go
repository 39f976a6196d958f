package cfapi

import (
	"net/http"
	"slices"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

type usageEventResource struct {
	identity
	State           backstay.UsageState `json:"state"`
	Space           usageThing          `json:"space"`
	Organization    reference           `json:"organization"`
	ServiceInstance usageInstance       `json:"service_instance"`
	ServicePlan     usageThing          `json:"service_plan"`
	ServiceOffering usageThing          `json:"service_offering"`
	ServiceBroker   usageThing          `json:"service_broker"`
	Links           links               `json:"links"`
}

// usageThing is a thing by the name that it had.
type usageThing struct {
	GUID string `json:"guid"`
	Name string `json:"name"`
}

type usageInstance struct {
	usageThing
	Type string `json:"type"`
}

const (
	managedUsage      = "managed_service_instance"
	userProvidedUsage = "user_provided_service_instance" // which cost nothing, so there are no events of them
)

func (s *Server) usageEvent(u backstay.UsageEvent) usageEventResource {
	return usageEventResource{
		identity:        identify(u.ID, u.CreatedAt, u.CreatedAt),
		State:           u.State,
		Space:           usageThing{string(u.SpaceID), u.SpaceName},
		Organization:    reference{string(u.OrganizationID)},
		ServiceInstance: usageInstance{usageThing{string(u.InstanceID), u.InstanceName}, managedUsage},
		ServicePlan:     usageThing{string(u.PlanID), u.PlanName},
		ServiceOffering: usageThing{string(u.OfferingID), u.OfferingName},
		ServiceBroker:   usageThing{string(u.BrokerID), u.BrokerName},
		Links:           links{"self": s.at("/v3/service_usage_events/%s", u.ID)},
	}
}

func (s *Server) listUsageEvents(w http.ResponseWriter, r *request) error {
	types, err := r.among("service_instance_types", "Service instance types", managedUsage, userProvidedUsage)
	if err != nil {
		return err
	}
	f := market.UsageFilter{
		IDs:         ids[backstay.UsageEventID](r.query, "guids"),
		AfterID:     backstay.UsageEventID(r.values.Get("after_guid")),
		OfferingIDs: ids[backstay.OfferingID](r.query, "service_offering_guids"),
		Match:       r.match,
		Order:       r.order,
		Page:        r.page,
	}
	if types != nil && !slices.Contains(types, managedUsage) {
		f.IDs = []backstay.UsageEventID{}
	}
	l, err := s.Market.UsageEvents(r.Context(), r.by, f)
	if err != nil {
		return err
	}
	return writeList(s, w, r, l, s.usageEvent, nil)
}

func (s *Server) showUsageEvent(w http.ResponseWriter, r *request) error {
	u, err := s.Market.UsageEvent(r.Context(), r.by, backstay.UsageEventID(r.PathValue("guid")))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.usageEvent(u))
}

func (s *Server) reseedUsage(w http.ResponseWriter, r *request) error {
	if err := s.Market.ReseedUsage(r.Context(), r.by); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, struct{}{})
}

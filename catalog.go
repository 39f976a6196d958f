package backstay

import (
	"encoding/json"
	"log/slog"
	"time"
)

// CatalogOffering is a service offering as its broker's catalog tells it (OSB 2.17, "Service Offering Object").
type CatalogOffering struct {
	ID                   ServiceID
	Name                 string
	Description          string
	DocumentationURL     string // may be empty
	Tags                 []string
	Requires             []string // permissions that bindings need: "syslog_drain", "route_forwarding", "volume_mount"
	Bindable             bool
	InstancesRetrievable bool // FetchInstance answers
	BindingsRetrievable  bool // FetchBinding answers
	PlanUpdateable       bool // an instance may change to another plan
	AllowContextUpdates  bool // the broker wants to hear of an instance's new name
	Shareable            bool
	Private              bool            // plans begin hidden, until somebody opens them
	BrokerMetadata       json.RawMessage // an object: what its broker says besides, in words of its own; nil: nothing
	Plans                []CatalogPlan
}

// CatalogPlan is a plan as its broker's catalog tells it (OSB 2.17, "Service Plan Object").
type CatalogPlan struct {
	ID                     ServicePlanID
	Name                   string
	Description            string
	Free                   bool
	Bindable               *bool // nil: as the offering is
	PlanUpdateable         *bool // nil: as the offering is
	Costs                  []Cost
	Schemas                Schemas
	MaintenanceInfo        *MaintenanceInfo // nil: the broker tells of none
	MaximumPollingDuration time.Duration    // how long an operation may take; 0: as long as the platform waits
	BrokerMetadata         json.RawMessage  // see CatalogOffering
}

// CheckMaintenanceInfo refuses, as Invalid, another version of the plan than the catalog's in a request
// ("MaintenanceInfoConflict"). A request need not name any.
func (p CatalogPlan) CheckMaintenanceInfo(given *MaintenanceInfo) error {
	if given == nil || p.MaintenanceInfo != nil && p.MaintenanceInfo.Version == given.Version {
		return nil
	}
	refusal := Errorf(Invalid, "Maintenance version '%s' is not that of the plan %s.", given.Version, p.Name)
	return WithFailure(refusal, Failure{Code: MaintenanceInfoConflict})
}

// MaintenanceInfo is which version of a plan there is to have (OSB 2.17, "Maintenance Info Object").
type MaintenanceInfo struct {
	Version     string // semantic
	Description string // what has changed; may be empty
}

// Offering is a service offering as the market sells it: what its broker's catalog said last, under a guid of
// the market's.
type Offering struct {
	ID                   OfferingID
	BrokerID             BrokerID
	ServiceID            ServiceID // the broker's own id for it
	Name                 string
	Description          string
	DocumentationURL     string
	Tags                 []string
	Requires             []string
	Bindable             bool
	InstancesRetrievable bool
	BindingsRetrievable  bool
	PlanUpdateable       bool
	AllowContextUpdates  bool
	Shareable            bool
	Available            bool            // false: withdrawn from sale; its instances live on
	BrokerMetadata       json.RawMessage // see CatalogOffering
	Metadata             Metadata
	CreatedAt            time.Time // when the market first saw it
	UpdatedAt            time.Time
}

// ServiceBroker is a broker as the market knows it: whom offerings are from, and where it answers.
type ServiceBroker struct {
	ID        BrokerID
	Name      string
	URL       string  // at which somebody has registered it; empty for one that is part of this program
	SpaceID   SpaceID // for whose developers alone it sells; empty: it is the whole platform's
	Metadata  Metadata
	CreatedAt time.Time
	UpdatedAt time.Time
}

// BrokerLogin is what the platform shows a broker that is asked over HTTP: basic authentication.
type BrokerLogin struct {
	Username string
	Password Secret
}

// LogValue is the login, redacted.
func (l BrokerLogin) LogValue() slog.Value { return RedactedValue(l) }

// Plan is what can be bought of an offering, at what size, with which promises, as the market sells it.
type Plan struct {
	ID                     PlanID
	OfferingID             OfferingID
	ServicePlanID          ServicePlanID // the broker's own id for it
	Name                   string
	Description            string
	Free                   bool
	Bindable               bool
	PlanUpdateable         bool // an instance that has it may change to another plan
	Available              bool // false: withdrawn from sale; instances that have it live on
	Visibility             Visibility
	SpaceID                SpaceID // for whose developers alone it is; empty but for SpacePlan
	Costs                  []Cost
	Schemas                Schemas
	MaintenanceInfo        *MaintenanceInfo
	MaximumPollingDuration time.Duration
	BrokerMetadata         json.RawMessage // see CatalogOffering
	Metadata               Metadata
	CreatedAt              time.Time // when the market first saw it
	UpdatedAt              time.Time
}

// Visibility is who may see and use a plan. A broker's catalog says nothing of it.
type Visibility string

const (
	PublicPlan       Visibility = "public"       // everybody
	SpacePlan        Visibility = "space"        // those of the space that its broker is registered in, and there alone
	OrganizationPlan Visibility = "organization" // the members of some organizations, there
	AdminPlan        Visibility = "admin"        // nobody; administrators see it
)

// Cost is a price of a plan, in major units of the currency (ISO 4217, upper case) per Unit ("MONTHLY").
type Cost struct {
	Amount   float64
	Currency string
	Unit     string
}

// Schemas are the JSON Schemas that a plan's parameters are validated against; nil accepts none.
type Schemas struct {
	CreateInstance json.RawMessage
	UpdateInstance json.RawMessage
	CreateBinding  json.RawMessage
}

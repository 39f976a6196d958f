package backstay

import "time"

// Quota limits what organizations may have, or the spaces of one organization.
type Quota struct {
	ID              QuotaID
	Name            string
	OrganizationID  OrganizationID // whose spaces it is for; empty: it is for organizations
	PaidPlans       bool           // whether there may be instances of plans that cost something
	Limits          Limits
	OrganizationIDs []OrganizationID // that have it
	SpaceIDs        []SpaceID        // that have it
	CreatedAt       time.Time
	UpdatedAt       time.Time
}

// DefaultQuota is the quota that every organization begins with.
const DefaultQuota QuotaID = "5f0c6d1e-2b7a-4c7e-9a51-0d3c8e6f4b07"

// Limits are how much there may be of something; what is not among them is not limited.
type Limits map[Limit]int64

// Limit names what a quota limits, as the Cloud Foundry API does.
type Limit string

// The limits of services are kept; those of apps, routes and domains, of which there are none here,
// are only remembered.
const (
	ServiceInstances Limit = "total_service_instances" // those of plans: user-provided ones cost nothing
	ServiceKeys      Limit = "total_service_keys"
	Memory           Limit = "total_memory_in_mb"
	ProcessMemory    Limit = "per_process_memory_in_mb"
	AppInstances     Limit = "total_instances"
	AppTasks         Limit = "per_app_tasks"
	LogRate          Limit = "log_rate_limit_in_bytes_per_second"
	Routes           Limit = "total_routes"
	ReservedPorts    Limit = "total_reserved_ports"
	Domains          Limit = "total_domains"
)

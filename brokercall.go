package backstay

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
)

// Call is what every request to a broker says of itself.
type Call struct {
	Identity  OriginatingIdentity
	RequestID string // for the logs of both sides; the same when a request is repeated; may be empty
}

// OriginatingIdentity is for whom a platform asks (OSB 2.17, "Originating Identity").
type OriginatingIdentity struct {
	Platform string          // "cloudfoundry", "kubernetes"; empty if nobody in particular asks
	Value    json.RawMessage // an object that the platform defines
}

// Context is where an instance is (OSB 2.17, "Context Object"). Ids are those of the platform.
type Context struct {
	Platform         string // "cloudfoundry"
	OrganizationID   OrganizationID
	OrganizationName string
	SpaceID          SpaceID
	SpaceName        string
	InstanceName     string // the user's name for it, for messages
}

// ProvisionRequest asks a broker for an instance.
type ProvisionRequest struct {
	Call
	InstanceID      InstanceID
	ServiceID       ServiceID
	PlanID          ServicePlanID
	Context         Context
	Parameters      json.RawMessage  // an object, or nil
	MaintenanceInfo *MaintenanceInfo // the catalog's for the plan, as the platform knows it; may be nil

	// CopyOf is an instance of another space whose data the new one may begin with, if its parameters ask for that: the
	// platform vouches that somebody there has consented. Empty: nobody has.
	CopyOf InstanceID
}

// UpdateRequest asks a broker to change an instance. What it does not name stays.
type UpdateRequest struct {
	Call
	InstanceID      InstanceID
	ServiceID       ServiceID
	PlanID          ServicePlanID   // empty: unchanged
	Context         Context         // as it is now: a new name is an update too, where AllowContextUpdates
	Parameters      json.RawMessage // an object of those that change, or nil
	Previous        PreviousValues
	MaintenanceInfo *MaintenanceInfo // the version to go to; nil: unchanged
}

// PreviousValues is what an instance was before an update, as the platform knows it.
type PreviousValues struct {
	PlanID          ServicePlanID
	OrganizationID  OrganizationID
	SpaceID         SpaceID
	MaintenanceInfo *MaintenanceInfo
}

// DeprovisionRequest asks a broker to end an instance.
type DeprovisionRequest struct {
	Call
	InstanceID InstanceID
	ServiceID  ServiceID
	PlanID     ServicePlanID
}

// FetchInstanceRequest asks a broker what an instance is.
type FetchInstanceRequest struct {
	Call
	InstanceID InstanceID
	ServiceID  ServiceID
	PlanID     ServicePlanID
}

// LastOperationRequest asks a broker how an operation on an instance comes along.
type LastOperationRequest struct {
	Call
	InstanceID InstanceID
	ServiceID  ServiceID
	PlanID     ServicePlanID
	Operation  OperationKey // as the answer that began it gave it; empty: the last one
}

// Source is an instance whose data another one begins with.
type Source struct {
	InstanceID InstanceID
	Context    // where it is, or was when it was deleted; zero if the broker does not know that
}

// BindRequest asks a broker for credentials to an instance.
type BindRequest struct {
	Call
	InstanceID InstanceID
	BindingID  BindingID
	ServiceID  ServiceID
	PlanID     ServicePlanID
	AppID      AppID  // empty for a service key
	Route      string // the route to bind to; empty but for a route service
	Context    Context
	Parameters json.RawMessage // an object, or nil
}

// UnbindRequest asks a broker to end a binding.
type UnbindRequest struct {
	Call
	InstanceID InstanceID
	BindingID  BindingID
	ServiceID  ServiceID
	PlanID     ServicePlanID
}

// FetchBindingRequest asks a broker what a binding is.
type FetchBindingRequest struct {
	Call
	InstanceID InstanceID
	BindingID  BindingID
	ServiceID  ServiceID
	PlanID     ServicePlanID
}

// LastBindingOperationRequest asks a broker how an operation on a binding comes along.
type LastBindingOperationRequest struct {
	Call
	InstanceID InstanceID
	BindingID  BindingID
	ServiceID  ServiceID
	PlanID     ServicePlanID
	Operation  OperationKey // as the answer that began it gave it; empty: the last one
}

// Provisioned answers a ProvisionRequest.
type Provisioned struct {
	Async        bool         // accepted (202): LastOperation tells of the rest
	Existed      bool         // it had been made before (200, not 201)
	Operation    OperationKey // may be empty, and may be set for what has ended: LastOperation then tells how
	DashboardURL string       // may be empty
}

// Updated answers an UpdateRequest.
type Updated struct {
	Async        bool // accepted (202): LastOperation tells of the rest
	Operation    OperationKey
	DashboardURL string // the new one; empty: unchanged
}

// Deprovisioned answers a DeprovisionRequest.
type Deprovisioned struct {
	Async     bool // accepted (202): LastOperation tells of the rest
	Operation OperationKey
}

// Bound answers a BindRequest. If it is Async it has no credentials yet.
type Bound struct {
	Async     bool // accepted (202): LastBindingOperation tells of the rest
	Existed   bool // it had been made before (200, not 201)
	Operation OperationKey
	BindingDetails
}

// BindingDetails is what a binding gives.
type BindingDetails struct {
	Credentials     Credentials
	SyslogDrainURL  string          // may be empty
	RouteServiceURL string          // may be empty
	VolumeMounts    json.RawMessage // an array (OSB 2.17, "Volume Mounts Object"), or nil
}

// LogValue is the answer, redacted.
func (b Bound) LogValue() slog.Value { return RedactedValue(b) }

// LogValue is the details, redacted.
func (d BindingDetails) LogValue() slog.Value { return RedactedValue(d) }

// Unbound answers an UnbindRequest.
type Unbound struct {
	Async     bool // accepted (202): LastBindingOperation tells of the rest
	Operation OperationKey
}

// FetchedInstance is an instance as its broker knows it.
type FetchedInstance struct {
	ServiceID       ServiceID
	PlanID          ServicePlanID
	Parameters      json.RawMessage // an object of those in force, without secrets, or nil
	DashboardURL    string          // may be empty
	MaintenanceInfo *MaintenanceInfo
}

// FetchedBinding is a binding as its broker knows it.
type FetchedBinding struct {
	BindingDetails
	Parameters json.RawMessage // an object, or nil
}

// LogValue is the binding, redacted.
func (f FetchedBinding) LogValue() slog.Value { return RedactedValue(f) }

// Credentials are what a binding gives its app: the "credentials" object of VCAP_SERVICES, with
// JSON-encodable values.
type Credentials map[string]any

// Format writes Redacted, whatever the verb: passwords are among the values.
func (Credentials) Format(f fmt.State, _ rune) { io.WriteString(f, Redacted) }

// LogValue is Redacted.
func (Credentials) LogValue() slog.Value { return slog.StringValue(Redacted) }

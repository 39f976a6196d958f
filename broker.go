package backstay

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
)

// Credentials are what a binding gives its app: the "credentials" object of VCAP_SERVICES, with
// JSON-encodable values.
type Credentials map[string]any

// Format writes Redacted, whatever the verb: passwords are among the values.
func (Credentials) Format(f fmt.State, _ rune) { io.WriteString(f, Redacted) }

// LogValue is Redacted.
func (Credentials) LogValue() slog.Value { return slog.StringValue(Redacted) }

// ProvisionRequest asks a broker for an instance.
type ProvisionRequest struct {
	InstanceID     InstanceID
	OfferingID     OfferingID
	PlanID         PlanID
	OrganizationID OrganizationID
	SpaceID        SpaceID
	Name           string          // the user's name for the instance, for messages
	Parameters     json.RawMessage // an object, or nil
}

// BindRequest asks a broker for credentials to an instance.
type BindRequest struct {
	InstanceID InstanceID
	BindingID  BindingID
	AppID      AppID           // empty for a service key
	Parameters json.RawMessage // an object, or nil
}

// Broker is anything that fulfils the operations of the Open Service Broker API 2.17. Every method
// may be called again with the same ids after a crash on either side and then has the effect of one
// call; brokertest is this contract written as tests.
//
// Errors have a Kind: Invalid for parameters that are refused, NotFound for an unknown plan or
// instance, Taken for an id in use with other attributes, Busy while another operation on the
// instance runs, Unavailable when retrying may help.
type Broker interface {
	// Catalog lists what can be had. Ids are stable for as long as the offering or plan exists.
	Catalog(ctx context.Context) ([]Offering, error)
	// Provision accepts an instance; LastOperation tells how it comes along.
	Provision(ctx context.Context, r ProvisionRequest) error
	// Deprovision accepts the end of an instance and of all its data. An unknown instance is
	// NotFound. It is allowed while a create runs, which it ends.
	Deprovision(ctx context.Context, id InstanceID) error
	// LastOperation is NotFound once a delete has succeeded, and for an instance never seen.
	LastOperation(ctx context.Context, id InstanceID) (Operation, error)
	// Bind returns credentials of their own for each binding id, the same ones each time.
	Bind(ctx context.Context, r BindRequest) (Credentials, error)
	// Unbind makes a binding's credentials useless and ends its sessions. An unknown binding is success.
	Unbind(ctx context.Context, instance InstanceID, binding BindingID) error
}

// Admitter is a Broker that can tell, before anything is written down, whether it would refuse a
// request: for its parameters, or for want of room. Nothing is reserved.
type Admitter interface {
	AdmitProvision(ctx context.Context, r ProvisionRequest) error
	AdmitBind(ctx context.Context, r BindRequest) error
}

// ParameterFetcher is a Broker that can tell an instance's parameters as they are now in force.
type ParameterFetcher interface {
	Parameters(ctx context.Context, id InstanceID) (map[string]any, error)
}

// HealthTeller is a Broker that can tell at any time which of its instances do not serve, each with the
// reason as a sentence for its users. Those that are on their way up or down are not among them.
type HealthTeller interface {
	Unhealthy(ctx context.Context) (map[InstanceID]string, error)
}

// OperationAwaiter is a Broker that can say at once when an operation changes, so nobody need poll.
type OperationAwaiter interface {
	// AwaitOperation returns the instance's last operation as soon as it differs from seen in
	// state or description, NotFound as LastOperation does, or ctx's error.
	AwaitOperation(ctx context.Context, id InstanceID, seen Operation) (Operation, error)
}

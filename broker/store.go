package broker

import (
	"context"

	"github.com/backstay/backstay"
)

// Store is the broker's memory. Each method is one transaction; brokertest.RunStore is this
// contract as tests. What is absent is NotFound.
type Store interface {
	InstanceStore
	BindingStore
}

// InstanceStore keeps the instances we owe, each with its last operation.
type InstanceStore interface {
	// AddInstance records an instance, its operation and the job that will see it through. If the
	// id is known it changes nothing and returns what is kept.
	AddInstance(ctx context.Context, in Instance) (kept Instance, err error)
	Instance(ctx context.Context, id backstay.InstanceID) (Instance, error)
	// BeginOperation replaces the instance's operation and records the job for it.
	BeginOperation(ctx context.Context, id backstay.InstanceID, operationID string, op backstay.Operation) error
	// ReportOperation records how an operation comes along, and its end. It does nothing if the
	// instance is at another operation by now.
	ReportOperation(ctx context.Context, id backstay.InstanceID, operationID string, op backstay.Operation) error
	// RemoveInstance removes an instance, with the bindings it still has. An absent one is success.
	RemoveInstance(ctx context.Context, id backstay.InstanceID) error
	// AwaitOperation returns the instance's operation once it differs from seen in type, state or
	// description.
	AwaitOperation(ctx context.Context, id backstay.InstanceID, seen backstay.Operation) (backstay.Operation, error)
}

// BindingStore keeps the users that bindings have in their instances.
type BindingStore interface {
	// AddBinding records a binding; if the id is known it changes nothing and returns what is kept.
	AddBinding(ctx context.Context, b Binding) (kept Binding, err error)
	Binding(ctx context.Context, id backstay.BindingID) (Binding, error)
	// RemoveBinding removes a binding. An absent one is success.
	RemoveBinding(ctx context.Context, id backstay.BindingID) error
}

// Instance is what we owe: the request as it was accepted, and the Spec that fulfils it.
type Instance struct {
	ID             backstay.InstanceID
	ServiceID      backstay.ServiceID
	PlanID         backstay.ServicePlanID
	OrganizationID backstay.OrganizationID
	SpaceID        backstay.SpaceID
	Parameters     []byte // sealed; nil if none were given
	Spec           []byte // sealed backend.Spec as JSON
	OperationID    string
	Operation      backstay.Operation
}

// Binding is one binding's user in its instance.
type Binding struct {
	ID         backstay.BindingID
	InstanceID backstay.InstanceID
	Username   string
	Password   []byte // sealed
	Parameters []byte // sealed; nil if none were given
}

// specContext and the others name what is sealed, so that no value can be moved to another row.
func specContext(id backstay.InstanceID) string { return "broker/instance/" + string(id) + "/spec" }
func parametersContext(id backstay.InstanceID) string {
	return "broker/instance/" + string(id) + "/parameters"
}
func passwordContext(id backstay.BindingID) string {
	return "broker/binding/" + string(id) + "/password"
}
func bindingParametersContext(id backstay.BindingID) string {
	return "broker/binding/" + string(id) + "/parameters"
}

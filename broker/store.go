package broker

import (
	"context"
	"time"

	"github.com/backstay/backstay"
)

// Store is the broker's ledger. Each method is one transaction; brokertest.RunStore is this contract as
// tests. What is absent is NotFound.
type Store interface {
	InstanceStore
	OperationStore
	BindingStore
}

// InstanceStore keeps the instances that we owe, each as it was accepted.
type InstanceStore interface {
	// AddInstance records an instance, the operation that is to create it, and that operation's job. If the
	// id is known it changes nothing and returns what is kept.
	AddInstance(ctx context.Context, in Instance, create Operation) (kept Instance, err error)
	Instance(ctx context.Context, id backstay.InstanceID) (Instance, error)
	// Entries lists all instances that no operation is at work on.
	Entries(ctx context.Context) ([]Entry, error)
	// NoteEndpoint records where an instance was seen to serve, if that was not known.
	NoteEndpoint(ctx context.Context, id backstay.InstanceID, e backstay.Endpoint) error
	// RaiseGeneration gives what is accepted of an instance a generation that is newer than held, which its backend
	// has, and returns it. It is Busy while an operation is in progress.
	RaiseGeneration(ctx context.Context, id backstay.InstanceID, held int64) (generation int64, err error)
	// CondemnInstance takes back what was accepted of an instance: its data are about to go, and it must
	// never be brought up again. An absent one is success.
	CondemnInstance(ctx context.Context, id backstay.InstanceID) error
	// RemoveInstance removes an instance, with its operations and the bindings that it still has. An absent
	// one is success.
	RemoveInstance(ctx context.Context, id backstay.InstanceID) error
}

// OperationStore keeps the operations on instances. At most one of an instance is in progress. All but the
// last twenty of each cause are forgotten.
type OperationStore interface {
	// BeginOperation records an operation and its job. One that is in progress gives its wanted Spec the next
	// generation, and is refused as Busy while another one is. So is one that was made of a generation that is
	// not accepted any more: op.Generation says which; 0 is made of nothing.
	BeginOperation(ctx context.Context, op Operation) (begun Operation, err error)
	// ReplaceOperation is BeginOperation for one that waits for nobody: what is in progress ends as failed.
	// If that is of the same type, it stays, and is returned.
	ReplaceOperation(ctx context.Context, op Operation) (kept Operation, err error)
	// StartOperation puts a waiting operation in progress, or refuses as BeginOperation does.
	StartOperation(ctx context.Context, id backstay.OperationKey) (started Operation, err error)
	Operation(ctx context.Context, id backstay.OperationKey) (Operation, error)
	// LastOperation returns an instance's operation of that id; if it is empty or not known any more, the last
	// one that users see.
	LastOperation(ctx context.Context, in backstay.InstanceID, id backstay.OperationKey) (Operation, error)
	// AwaitOperation is LastOperation, as soon as it differs from seen in type, state or description.
	AwaitOperation(
		ctx context.Context, in backstay.InstanceID, id backstay.OperationKey, seen backstay.Operation,
	) (Operation, error)

	// AwaitReplacement returns as soon as another operation on the instance is in progress.
	AwaitReplacement(ctx context.Context, op Operation) error

	// The following do nothing to an operation that is not in progress.

	// ReportOperation records how an operation comes along.
	ReportOperation(ctx context.Context, id backstay.OperationKey, description string) error
	// PlaceOperation records the sealed Spec with what the instance's place has added to it.
	PlaceOperation(ctx context.Context, id backstay.OperationKey, spec []byte) error
	// GiveUpOperation records why what is wanted cannot be. What was accepted is to be brought back under a
	// generation of its own, which is the operation's from now on. The first reason stays.
	GiveUpOperation(ctx context.Context, id backstay.OperationKey, failure string) (given Operation, err error)
	// SucceedOperation records that what was wanted serves, at the endpoint, and makes it what is accepted.
	SucceedOperation(ctx context.Context, id backstay.OperationKey, description string, e backstay.Endpoint) error
	// FailOperation records that what was accepted before stays.
	FailOperation(ctx context.Context, id backstay.OperationKey, description string) error
}

// BindingStore keeps the users that bindings have in their instances.
type BindingStore interface {
	// AddBinding records a binding; if the id is known it changes nothing and returns what is kept.
	AddBinding(ctx context.Context, b Binding) (kept Binding, err error)
	Binding(ctx context.Context, id backstay.BindingID) (Binding, error)
	// Bindings lists all bindings of an instance.
	Bindings(ctx context.Context, in backstay.InstanceID) ([]Binding, error)
	// RemoveBinding removes a binding. An absent one is success.
	RemoveBinding(ctx context.Context, id backstay.BindingID) error
}

// Instance is what we owe: what was accepted of it, where it lives, and its last operation.
type Instance struct {
	ID             backstay.InstanceID
	ServiceID      backstay.ServiceID
	OrganizationID backstay.OrganizationID
	SpaceID        backstay.SpaceID
	Backend        string // by its name among Broker.Backends

	// What was accepted. While an instance is being created, plan and parameters are those that it was asked
	// for with.
	PlanID     backstay.ServicePlanID
	Parameters []byte // sealed; nil if none were given
	Spec       []byte // sealed backend.Spec as JSON; nil until it has served, and once it is to end
	Generation int64  // that the backend knows Spec by; 0 without one

	Endpoint  backstay.Endpoint // where it was seen to serve; zero until then
	Operation Operation         // the last one that users see
	Busy      bool              // an operation is in progress, whatever its cause
}

// Entry is what the ledger says must hold of an instance in its backend.
type Entry struct {
	ID         backstay.InstanceID
	Backend    string
	Generation int64             // of the Spec that was accepted; 0: nothing of it is to be there
	Endpoint   backstay.Endpoint // zero: not seen yet
}

// Cause is why there is an operation.
type Cause string

const (
	ByUser        Cause = "user"        // somebody asked for it
	ByMaintenance Cause = "maintenance" // its window has come
	ByBackup      Cause = "backup"      // its time has come
	ByRestore     Cause = "restore"     // somebody asked for what was backed up
)

// Waiting is the state of an operation whose time has not come. It stands in nobody's way.
const Waiting backstay.OperationState = "waiting"

// Operation is a change of an instance, from its acceptance on. Users see those of the causes user and restore.
type Operation struct {
	backstay.Operation // its type, state and description, as users are told
	ID                 backstay.OperationKey
	InstanceID         backstay.InstanceID
	Cause              Cause
	NotBefore          time.Time // when its job begins; zero: at once
	Wanted
	Failure string // why what is wanted cannot be; empty while it is tried
}

// Wanted is what an operation brings an instance to. It is zero in one that changes nothing of what was
// accepted.
type Wanted struct {
	PlanID     backstay.ServicePlanID
	Parameters []byte // sealed; nil if there are none
	Spec       []byte // sealed backend.Spec as JSON; nil once the operation has ended or is given up
	Generation int64  // that the backend is to know Spec by
}

// Binding is one binding's user in its instance.
type Binding struct {
	ID         backstay.BindingID
	InstanceID backstay.InstanceID
	Username   string
	Password   []byte // sealed
	Parameters []byte // sealed; nil if none were given
}

// specContext and the others name what is sealed, so that no value can be moved to another row of another
// instance or binding. What an operation wants is sealed as its instance's, because it is to become that.
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

package broker

import (
	"context"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/broker/terms"
)

// Store is the broker's ledger. Each method is one transaction; brokertest.RunStore is this contract as
// tests. What is absent is NotFound.
type Store interface {
	InstanceStore
	OperationStore
	BindingStore
	ArchiveStore
	InventoryStore
	PriceStore
}

// InstanceStore keeps the instances that we owe, each as it was accepted.
type InstanceStore interface {
	// AddInstance records an instance, the operation that is to create it, and that operation's job. If the
	// id is known it changes nothing and returns what is kept.
	AddInstance(ctx context.Context, in Instance, create Operation) (kept Instance, err error)
	Instance(ctx context.Context, id backstay.InstanceID) (Instance, error)
	// Entries lists all instances that no operation is at work on.
	Entries(ctx context.Context) ([]Entry, error)
	// NoteServing records where, and as which build, an instance was seen to serve, as far as that was not known.
	NoteServing(ctx context.Context, id backstay.InstanceID, s Serving) error
	// RaiseGeneration gives what is accepted of an instance a generation that is newer than held, which its backend
	// has, and returns it. It is Busy while an operation is in progress.
	RaiseGeneration(ctx context.Context, id backstay.InstanceID, held int64) (generation int64, err error)
	// AllowDrills records whether the users of an instance allow drills. An absent one is success.
	AllowDrills(ctx context.Context, id backstay.InstanceID, allowed bool) error
	// CondemnInstance takes back what was accepted of an instance: its data are about to go, and it must
	// never be brought up again. An absent one is success.
	CondemnInstance(ctx context.Context, id backstay.InstanceID) error
	// RemoveInstance removes an instance, with its operations and the bindings that it still has. An absent
	// one is success.
	RemoveInstance(ctx context.Context, id backstay.InstanceID) error
}

// OperationStore keeps the operations on instances. Of one instance there is at most one in progress, and at most one
// that waits. All but the last twenty of each cause are forgotten.
type OperationStore interface {
	// BeginOperation records an operation in progress and its job. It gives its wanted Spec the next generation, and
	// is refused as Busy while another one is in progress. So is one that was made of a generation that is not
	// accepted any more: op.Generation says which; 0 is made of nothing.
	BeginOperation(ctx context.Context, op Operation) (begun Operation, err error)
	// ReplaceOperation is BeginOperation for one that waits for nobody: what is in progress ends as failed.
	// If that is of the same type, it stays, and is returned.
	ReplaceOperation(ctx context.Context, op Operation) (kept Operation, err error)
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

	PendingStore

	// The following do nothing to an operation that is not in progress.

	// ReportOperation records how an operation comes along.
	ReportOperation(ctx context.Context, id backstay.OperationKey, description string) error
	// PlaceOperation records the sealed Spec with what the instance's place has added to it.
	PlaceOperation(ctx context.Context, id backstay.OperationKey, spec []byte) error
	// GiveUpOperation records why what is wanted cannot be. What was accepted is to be brought back under a
	// generation of its own, which is the operation's from now on. The first refusal stays.
	GiveUpOperation(ctx context.Context, id backstay.OperationKey, r Refusal) (given Operation, err error)
	// SucceedOperation records that what was wanted serves, and makes it what is accepted. An operation that waits
	// ends by it too, and changes nothing.
	SucceedOperation(ctx context.Context, id backstay.OperationKey, description string, s Serving) error
	// FailOperation records that what was accepted before stays. An operation that waits ends by it too.
	FailOperation(ctx context.Context, id backstay.OperationKey, description string) error
	// PostponeOperation records that what was accepted before stays, and that the operation waits again. If another
	// one waits by now, that is what is wanted, and nothing is left of this one.
	PostponeOperation(ctx context.Context, id backstay.OperationKey, r Refusal) error
}

// PendingStore keeps what waits for the maintenance windows of instances, and tells what became of it.
type PendingStore interface {
	// Arrange records what an update changes without the backend. It is Busy while an operation that users see is in
	// progress.
	Arrange(ctx context.Context, a Arrangement) error
	// StartOperation puts a waiting operation in progress for what has been agreed on, with its job, or refuses as
	// BeginOperation does. One that does not wait is returned as it is.
	StartOperation(ctx context.Context, id backstay.OperationKey, agreed Wanted) (started Operation, err error)
	// RemarkOperation records why a waiting operation could not be done now; empty: it could. One that does not wait stays
	// as it is.
	RemarkOperation(ctx context.Context, id backstay.OperationKey, reason string) error
	// Schedule lists all instances of which something is accepted.
	Schedule(ctx context.Context) ([]Scheduled, error)
	// AwaitChanges returns the instances of which an operation by maintenance has begun, ended, been postponed or been
	// remarked on since the moment called after, as soon as there is one, and the moment of the last of these. Zero is
	// before everything.
	AwaitChanges(ctx context.Context, after int64) (changed []backstay.InstanceID, seen int64, err error)
}

// BindingStore keeps the users that bindings have in their instances.
type BindingStore interface {
	// AddBinding records a binding; if the id is known it changes nothing and returns what is kept.
	AddBinding(ctx context.Context, b Binding) (kept Binding, err error)
	Binding(ctx context.Context, id backstay.BindingID) (Binding, error)
	// Bindings lists all bindings of an instance.
	Bindings(ctx context.Context, in backstay.InstanceID) ([]Binding, error)
	// KeepCredentials records what a binding was told, sealed, in the place of what it was told before. It is NotFound if
	// there is no such binding any more.
	KeepCredentials(ctx context.Context, id backstay.BindingID, sealed []byte) error
	// RemoveBinding removes a binding. An absent one is success.
	RemoveBinding(ctx context.Context, id backstay.BindingID) error
}

// ArchiveStore keeps what it takes to restore instances that were deleted.
type ArchiveStore interface {
	// KeepArchive records what is kept of an instance, in the place of an earlier one of the id.
	KeepArchive(ctx context.Context, a Archive) error
	Archive(ctx context.Context, id backstay.InstanceID) (Archive, error)
	// Archives lists all of them, those that were recorded first.
	Archives(ctx context.Context) ([]Archive, error)
	// ForgetArchive removes one. An absent one is success.
	ForgetArchive(ctx context.Context, id backstay.InstanceID) error
}

// PriceStore keeps what plans are called and cost, for the bills of what other platforms have.
type PriceStore interface {
	// KeepPrices records these in the place of what was recorded of the same plans.
	KeepPrices(ctx context.Context, prices []Price) error
}

// InventoryStore keeps what backends could serve when they last told it.
type InventoryStore interface {
	// KeepInventory records what a backend can serve, in the place of what it told before.
	KeepInventory(ctx context.Context, name string, i backend.Inventory) error
	Inventory(ctx context.Context, name string) (backend.Inventory, error)
}

// Instance is what we owe: what was accepted of it, where it lives, and its last operation.
type Instance struct {
	ID             backstay.InstanceID
	ServiceID      backstay.ServiceID
	OrganizationID backstay.OrganizationID
	SpaceID        backstay.SpaceID
	Name           string // the users' for it when it was made; empty: not told
	Backend        string // by its name among Broker.Backends

	// What was accepted. While an instance is being created, plan and parameters are those that it was asked
	// for with.
	PlanID     backstay.ServicePlanID
	Parameters []byte // sealed; nil if none were given
	Spec       []byte // sealed backend.Spec as JSON; nil until it has served, and once it is to end
	Generation int64  // that the backend knows Spec by; 0 without one

	Windows terms.Windows // zero, each: nobody has chosen it

	Serving
	Operation Operation // the last one that users see
	Pending   Pending   // what waits for its maintenance window
	Busy      bool      // an operation is in progress, whatever its cause
}

// Serving is how an instance was seen to serve; zero until then.
type Serving struct {
	Endpoint backstay.Endpoint
	Reads    backstay.Endpoint // where its replicas are read from; zero: nobody was given that yet
	Build    string            // the full version
	// Notice is that of the operation by which it serves so; nobody keeps it with the instance.
	Notice string
}

// Pending is a change that waits for its instance's maintenance window. The zero Pending is none.
type Pending struct {
	ID        backstay.OperationKey
	Asked     Asked
	NotBefore time.Time // zero: it is done in the first window that opens
	Reason    string    // why it was not done in the window before, or could not be done now; empty: nothing is known
}

// wasTried tells that a change was not done in the window before.
func (p Pending) wasTried() bool { return !p.NotBefore.IsZero() }

// Entry is what the ledger says must hold of an instance in its backend.
type Entry struct {
	ID         backstay.InstanceID
	Backend    string
	Generation int64 // of the Spec that was accepted; 0: nothing of it is to be there
	Serving
}

// Scheduled is what decides when something is done to an instance in its maintenance window.
type Scheduled struct {
	ID        backstay.InstanceID
	ServiceID backstay.ServiceID
	PlanID    backstay.ServicePlanID
	Backend   string
	Build     string // that serves; empty: not seen yet
	Windows   terms.Windows
	Pending   Pending   // without what was asked for
	Busy      bool      // an operation is in progress
	Kept      bool      // by maintenance
	Rests     time.Time // until when no maintenance is tried that has failed; zero: none has
	MayDrill  bool      // its users allow drills
}

// Cause is why there is an operation.
type Cause string

const (
	ByUser        Cause = "user"        // somebody asked for it
	ByMaintenance Cause = "maintenance" // its window has come
	ByBackup      Cause = "backup"      // its time has come
	ByRestore     Cause = "restore"     // somebody asked for what was backed up
)

// Waiting is the state of an operation that waits for its instance's maintenance window. It stands in nobody's way, and
// has no job.
const Waiting backstay.OperationState = "waiting"

// Operation is a change of an instance, from its acceptance on. Users see those of the causes user and restore. Of
// those by maintenance they see what became of what they had asked for, and that an upgrade succeeded, but none that
// renews a certificate.
type Operation struct {
	backstay.Operation // its type, state and description, as users are told
	ID                 backstay.OperationKey
	InstanceID         backstay.InstanceID
	Cause              Cause
	RequestID          string    // of the request that it was accepted for; empty: not told
	NotBefore          time.Time // when the same may be tried again; zero: at any time
	Asked              Asked     // what a change that waits, or has waited, is for
	Wanted
	Failure string // why what is wanted cannot be; empty while it is tried
}

// inWindow tells that an operation is for the instance's maintenance window only.
func (op Operation) inWindow() bool { return op.Asked.isSomething() || op.isOurs() }

// isOurs tells that it is an upgrade or a drill of the platform's own accord, which is tried once in each window.
func (op Operation) isOurs() bool {
	return op.Cause == ByMaintenance && !op.Asked.isSomething() && !op.NotBefore.IsZero()
}

// Asked is what was asked for to be done later: a change, and not what it comes to. It is zero in an operation that
// never waited.
type Asked struct {
	PlanID     backstay.ServicePlanID // empty: it stays
	PlanName   string
	Parameters []byte // sealed; nil: they stay
}

func (a Asked) isSomething() bool { return a.PlanID != "" || a.Parameters != nil }

// Wanted is what an operation brings an instance to. It is zero in one that changes nothing of what was
// accepted.
type Wanted struct {
	PlanID     backstay.ServicePlanID
	Parameters []byte        // sealed; nil if there are none
	Windows    terms.Windows // zero, each: it stays
	Spec       []byte        // sealed backend.Spec as JSON; nil once the operation has ended or is given up
	Generation int64         // that the backend is to know Spec by
}

// Refusal is why what an operation wants cannot be.
type Refusal struct {
	Reason string    // a sentence
	Again  time.Time // when it may be tried again; zero: never
}

// Arrangement is what an update changes without the backend.
type Arrangement struct {
	Operation Operation     // that users see, and that has succeeded by it
	Windows   terms.Windows // zero, each: it stays
	Queue     *Operation    // takes the place of what waits; nil: none does
	Withdraw  bool          // nothing waits any more
}

// Binding is one binding's user in its instance.
type Binding struct {
	ID         backstay.BindingID
	InstanceID backstay.InstanceID
	Username   string
	Password   []byte // sealed
	Parameters []byte // sealed; nil if none were given

	// Credentials are what Bind has told, sealed. They are nil until the user is made, and empty of a binding that was
	// made by a version of this program that did not keep them.
	Credentials []byte
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
func credentialsContext(id backstay.BindingID) string {
	return "broker/binding/" + string(id) + "/credentials"
}
func archiveKeyContext(id backstay.InstanceID) string { return "broker/archive/" + string(id) + "/key" }
func bindingParametersContext(id backstay.BindingID) string {
	return "broker/binding/" + string(id) + "/parameters"
}

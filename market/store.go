package market

import (
	"context"

	"github.com/backstay/backstay"
)

// Store is the market's memory. Each method is one transaction, named for the fact it records; those that
// are given an event record it with the fact, or neither, and none if the event has no Type;
// markettest.RunStore is this contract as tests. Lists come in the filter's order, page by page.
// What is absent is NotFound, a name in use is Taken, each with the sentence for the user.
type Store interface {
	OrganizationStore
	SpaceStore
	RoleStore
	AppStore
	CatalogStore
	InstanceStore
	BindingStore
	JobStore
	EventStore
	MetadataStore
}

// OrganizationStore keeps organizations.
type OrganizationStore interface {
	Organizations(ctx context.Context, f OrganizationFilter) (List[backstay.Organization], error)
	AddOrganization(ctx context.Context, o backstay.Organization, e backstay.Event) (backstay.Organization, error)
	UpdateOrganization(ctx context.Context, id backstay.OrganizationID, u Update, e backstay.Event) (backstay.Organization, error)
	// FinishDeleteOrganization removes the organization and its roles and completes the job. It is
	// InUse while the organization has spaces.
	FinishDeleteOrganization(ctx context.Context, id backstay.OrganizationID, j backstay.JobID) error
}

// SpaceStore keeps spaces.
type SpaceStore interface {
	Spaces(ctx context.Context, f SpaceFilter) (List[backstay.Space], error)
	AddSpace(ctx context.Context, s backstay.Space, e backstay.Event) (backstay.Space, error)
	UpdateSpace(ctx context.Context, id backstay.SpaceID, u Update, e backstay.Event) (backstay.Space, error)
	// RemoveSpace removes an empty space and its roles; InUse while it has apps or instances. An
	// absent space is success.
	RemoveSpace(ctx context.Context, id backstay.SpaceID) error
}

// RoleStore keeps who may do what where, and reads who there is.
type RoleStore interface {
	Users(ctx context.Context, f UserFilter) (List[backstay.User], error)
	Roles(ctx context.Context, f RoleFilter) (List[backstay.Role], error)
	// RolesAt lists the types of the roles that a user has in an organization and in a space; either may
	// be empty.
	RolesAt(ctx context.Context, user backstay.UserID, organization backstay.OrganizationID, space backstay.SpaceID) ([]string, error)
	// AddRole is Invalid for a role in a space of an organization that the user has no role in.
	AddRole(ctx context.Context, r backstay.Role, e backstay.Event) (backstay.Role, error)
	// RemoveRole is Invalid for a user's last role in an organization while they have roles in its spaces.
	RemoveRole(ctx context.Context, id backstay.RoleID) error
}

// AppStore keeps apps. Environments arrive and leave sealed.
type AppStore interface {
	Apps(ctx context.Context, f AppFilter) (List[backstay.App], error)
	AddApp(ctx context.Context, a backstay.App, e backstay.Event) (backstay.App, error)
	UpdateApp(ctx context.Context, id backstay.AppID, u Update, e backstay.Event) (backstay.App, error)
	// SealedEnvironment is nil for one that was never set.
	SealedEnvironment(ctx context.Context, id backstay.AppID) ([]byte, error)
	// UpdateEnvironment replaces the sealed environment by what change makes of it, while nobody
	// else can change it.
	UpdateEnvironment(ctx context.Context, id backstay.AppID, change func(sealed []byte) ([]byte, error), e backstay.Event) error
	// RemoveApp removes an app without bindings; InUse while it has some. An absent app is success.
	RemoveApp(ctx context.Context, id backstay.AppID) error
}

// CatalogStore keeps what brokers offer.
type CatalogStore interface {
	// KeepCatalog makes these the available offerings and plans; others stay, as unavailable.
	KeepCatalog(ctx context.Context, offerings []backstay.Offering) error
	// Offerings come without their plans.
	Offerings(ctx context.Context, f OfferingFilter) (List[backstay.Offering], error)
	Plans(ctx context.Context, f PlanFilter) (List[backstay.Plan], error)
}

// InstanceStore keeps managed service instances. Parameters arrive and leave sealed.
type InstanceStore interface {
	Instances(ctx context.Context, f InstanceFilter) (List[backstay.Instance], error)
	// AcceptInstance records that we owe someone an instance: the instance, its operation and the
	// job that will pay the debt, or none of them.
	AcceptInstance(ctx context.Context, in backstay.Instance, parameters []byte, e backstay.Event, j backstay.Job) error
	// InstanceParameters are nil if none were given.
	InstanceParameters(ctx context.Context, id backstay.InstanceID) (sealed []byte, err error)
	// AcceptInstanceDeletion is Busy while an operation runs, and InUse while there are bindings.
	AcceptInstanceDeletion(ctx context.Context, id backstay.InstanceID, op backstay.Operation, e backstay.Event, j backstay.Job) error
	// UpdateInstance changes name, metadata and tags (nil: unchanged). It is Busy while an operation runs.
	UpdateInstance(ctx context.Context, id backstay.InstanceID, u Update, tags []string, e backstay.Event) (backstay.Instance, error)
	// ReportInstance records how the operation comes along, and with a job in a final state, its end.
	ReportInstance(ctx context.Context, id backstay.InstanceID, op backstay.Operation, j *backstay.Job) error
	// RemoveInstance removes an instance without bindings and, if a job is given, completes it. An
	// absent instance is success.
	RemoveInstance(ctx context.Context, id backstay.InstanceID, j *backstay.JobID) error
}

// BindingStore keeps service credential bindings. Parameters and credentials arrive and leave sealed.
type BindingStore interface {
	Bindings(ctx context.Context, f BindingFilter) (List[backstay.Binding], error)
	// BindingSecrets are what a binding was asked with and what it gave: each nil if there is none.
	BindingSecrets(ctx context.Context, id backstay.BindingID) (parameters, credentials []byte, err error)
	// AcceptBinding records that we owe someone credentials. It is Busy while an operation of the
	// instance runs, Invalid if the instance is not usable or in another space than the app, and
	// Taken if the app is bound already or the name is in use. A binding that failed makes way.
	AcceptBinding(ctx context.Context, b backstay.Binding, parameters []byte, e backstay.Event, j backstay.Job) error
	// AcceptBindingDeletion is Busy while an operation of the binding or its instance runs.
	AcceptBindingDeletion(ctx context.Context, id backstay.BindingID, op backstay.Operation, e backstay.Event, j backstay.Job) error
	// FinishBinding records the operation's end, with credentials if it succeeded, and the job's.
	FinishBinding(ctx context.Context, id backstay.BindingID, op backstay.Operation, credentials []byte, j backstay.Job) error
	// RemoveBinding removes a binding and, if a job is given, completes it. An absent one is success.
	RemoveBinding(ctx context.Context, id backstay.BindingID, j *backstay.JobID) error
}

// JobStore keeps jobs: accepted with the fact that asks for them, run by the store's runner through
// [Market.Work] until they end, kept for a while afterwards.
type JobStore interface {
	Job(ctx context.Context, id backstay.JobID) (backstay.Job, error)
	// AcceptJob records a job that needs no other row.
	AcceptJob(ctx context.Context, e backstay.Event, j backstay.Job) error
	// FinishJob records a job's end and, if it is complete, what the job says is recorded then; so do all
	// methods that finish a job.
	FinishJob(ctx context.Context, j backstay.Job) error
	// AwaitJob returns the job once it has ended, or as it is when ctx ends.
	AwaitJob(ctx context.Context, id backstay.JobID) (backstay.Job, error)
}

// EventStore keeps the audit events.
type EventStore interface {
	RecordEvent(ctx context.Context, e backstay.Event) error
}

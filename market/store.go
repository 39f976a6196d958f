package market

import (
	"context"
	"time"

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
	BrokerStore
	CatalogStore
	InstanceStore
	UserProvidedStore
	ShareStore
	BindingStore
	JobStore
	EventStore
	UsageStore
	QuotaStore
	MetadataStore
	SettingStore
}

// OrganizationStore keeps organizations.
type OrganizationStore interface {
	Organizations(ctx context.Context, f OrganizationFilter) (List[backstay.Organization], error)
	AddOrganization(ctx context.Context, o backstay.Organization, e backstay.Event) (backstay.Organization, error)
	UpdateOrganization(
		ctx context.Context, id backstay.OrganizationID, u OrganizationUpdate, e backstay.Event,
	) (backstay.Organization, error)
	// OrganizationUsage counts the managed instances and the service keys as quotas do.
	OrganizationUsage(ctx context.Context, id backstay.OrganizationID) (OrganizationUsage, error)
	// FinishDeleteOrganization removes the organization and its roles and completes the job. It is
	// InUse while the organization has spaces.
	FinishDeleteOrganization(ctx context.Context, id backstay.OrganizationID, j backstay.JobID) error
}

// SpaceStore keeps spaces.
type SpaceStore interface {
	Spaces(ctx context.Context, f SpaceFilter) (List[backstay.Space], error)
	AddSpace(ctx context.Context, s backstay.Space, e backstay.Event) (backstay.Space, error)
	UpdateSpace(ctx context.Context, id backstay.SpaceID, u SpaceUpdate, e backstay.Event) (backstay.Space, error)
	// RemoveSpace removes an empty space and its roles; InUse while it has apps or instances. An
	// absent space is success, and no event.
	RemoveSpace(ctx context.Context, id backstay.SpaceID, e backstay.Event) error
}

// RoleStore keeps who may do what where, and reads who there is.
type RoleStore interface {
	Users(ctx context.Context, f UserFilter) (List[backstay.User], error)
	Roles(ctx context.Context, f RoleFilter) (List[backstay.Role], error)
	// RolesAt lists the types of the roles that a user has in an organization and in a space; either may
	// be empty.
	RolesAt(
		ctx context.Context, user backstay.UserID, organization backstay.OrganizationID, space backstay.SpaceID,
	) ([]string, error)
	// AddRole is Invalid for a role in a space of an organization that the user has no role in.
	AddRole(ctx context.Context, r backstay.Role, e backstay.Event) (backstay.Role, error)
	// RemoveRole is Invalid for a user's last role in an organization while they have roles in its spaces.
	RemoveRole(ctx context.Context, id backstay.RoleID) error
	// RemoveRolesOf removes all roles of a user or client, with the record of a job that is done. It is
	// Invalid for the last user who is an administrator, who cannot be deleted.
	RemoveRolesOf(ctx context.Context, id backstay.UserID, e backstay.Event, j backstay.Job) error
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
	UpdateEnvironment(
		ctx context.Context, id backstay.AppID, change func(sealed []byte) ([]byte, error), e backstay.Event,
	) error
	// RemoveApp removes an app without bindings; InUse while it has some. An absent app is success,
	// and no event.
	RemoveApp(ctx context.Context, id backstay.AppID, e backstay.Event) error
}

// CatalogStore keeps what brokers offer.
type CatalogStore interface {
	// KeepCatalog makes a broker known by its name, and these its available offerings and plans; others of its
	// own stay, as unavailable, and those of other brokers as they are. What is new gets the id that its broker
	// has for it as its guid, if that can be one and nothing has it yet. The plans of a private offering begin
	// hidden; who may see a plan that is known already does not change. Of each offering and each plan that is not as
	// it was, record makes the event. Of instances whose plan has another name or price now, that is recorded as usage.
	// It is Invalid if two plans of an offering have the same name.
	KeepCatalog(
		ctx context.Context, from backstay.ServiceBroker, offerings []backstay.CatalogOffering,
		record func(CatalogChange) backstay.Event,
	) error
	// Offerings come without their plans.
	Offerings(ctx context.Context, f OfferingFilter) (List[backstay.Offering], error)
	Plans(ctx context.Context, f PlanFilter) (List[backstay.Plan], error)
	// PurgeOffering removes an offering with its plans and their instances, these as PurgeInstance does.
	PurgeOffering(ctx context.Context, id backstay.OfferingID, end EndOfPurged, e backstay.Event) error
	// SetPlanVisibility is for whom a plan is: for all, for nobody, or for organizations, beside those that
	// it is for already if more is set. It is Invalid if one of them does not exist.
	SetPlanVisibility(
		ctx context.Context, id backstay.PlanID, v backstay.Visibility, organizations []backstay.OrganizationID,
		more bool, e backstay.Event,
	) error
	// RemovePlanOrganization is NotFound for an organization that the plan is not enabled for.
	RemovePlanOrganization(
		ctx context.Context, id backstay.PlanID, organization backstay.OrganizationID, e backstay.Event,
	) error
}

// QuotaStore keeps quotas, and who has which.
type QuotaStore interface {
	// Quotas come with the organizations and spaces that have them, as far as the viewer sees those.
	Quotas(ctx context.Context, f QuotaFilter) (List[backstay.Quota], error)
	// AddQuota adds a quota, and applies it to the organizations and spaces that it names.
	AddQuota(ctx context.Context, q backstay.Quota, e backstay.Event) (backstay.Quota, error)
	UpdateQuota(ctx context.Context, id backstay.QuotaID, u QuotaUpdate, e backstay.Event) error
	// ApplyQuota and ApplySpaceQuota are Invalid, and change nothing, if one of those that they name does not
	// exist, or is of another organization than the quota.
	ApplyQuota(ctx context.Context, id backstay.QuotaID, to []backstay.OrganizationID, events []backstay.Event) error
	ApplySpaceQuota(ctx context.Context, q backstay.Quota, to []backstay.SpaceID, events []backstay.Event) error
	// RemoveSpaceQuota is Invalid for a space that has another quota, or none.
	RemoveSpaceQuota(ctx context.Context, id backstay.QuotaID, from backstay.SpaceID, e backstay.Event) error
	// RemoveQuota is Invalid for one that somebody has. An absent quota is success.
	RemoveQuota(ctx context.Context, id backstay.QuotaID) error
	// AdmitInstance is Invalid if AcceptInstance would be, for a quota, now. It promises nothing.
	AdmitInstance(ctx context.Context, space backstay.SpaceID, plan backstay.PlanID) error
}

// InstanceStore keeps service instances; what it changes are managed ones. Parameters arrive and leave
// sealed. A space knows an instance by its name, whether it is its own or shared with it: a name that is
// in use there is Taken, for both kinds. What a managed instance becomes is recorded as usage with it: that
// its creation succeeded, that it has another name or plan, that it is gone.
type InstanceStore interface {
	Instances(ctx context.Context, f InstanceFilter) (List[backstay.Instance], error)
	// AcceptInstance records that we owe someone an instance: the instance, its operation and the
	// job that will pay the debt, or none of them. It is Invalid if a quota does not allow it; of many at
	// once there are never more than it allows.
	AcceptInstance(
		ctx context.Context, in backstay.Instance, parameters []byte, e backstay.Event, j backstay.Job,
	) error
	// AcceptCopy is AcceptInstance of one that begins with data from another space. The consent to that is used up by
	// it: a copy that needs one is Unsupported where there is none any more.
	AcceptCopy(
		ctx context.Context, in backstay.Instance, parameters []byte, c Copy, e backstay.Event, j backstay.Job,
	) error
	// InstanceParameters are nil if none were given. An instance that was accepted as a copy tells of what, too.
	InstanceParameters(
		ctx context.Context, id backstay.InstanceID,
	) (sealed []byte, copyOf backstay.InstanceID, err error)
	// AcceptInstanceDeletion is Busy while an operation runs that is no creation, and InUse while there are bindings or
	// shares. To a creation that runs, the instance is gone then.
	AcceptInstanceDeletion(
		ctx context.Context, id backstay.InstanceID, op backstay.Operation, e backstay.Event, j backstay.Job,
	) error
	// UpdateInstance changes name, metadata and tags (nil: unchanged). It is Busy while an operation runs, and
	// Invalid for another name while there are shares.
	UpdateInstance(
		ctx context.Context, id backstay.InstanceID, u Update, tags []string, e backstay.Event,
	) (backstay.Instance, error)
	// AcceptInstanceUpdate records that we owe someone a change of an instance. It is Busy while an operation runs,
	// and Invalid if the instance could not be created, for another name while there are shares, or for another plan
	// that a quota does not allow. A consent that it needs is used up by it, and it is Forbidden where there is none any
	// more.
	AcceptInstanceUpdate(
		ctx context.Context, id backstay.InstanceID, c InstanceChange, op backstay.Operation, e backstay.Event,
		j backstay.Job,
	) error
	// InstanceChange is the plan, the maintenance info and the parameters of the update that is in progress.
	InstanceChange(ctx context.Context, id backstay.InstanceID) (InstanceChange, error)
	// KeepDashboard records where an instance's broker has a dashboard for it.
	KeepDashboard(ctx context.Context, id backstay.InstanceID, url string) error
	// ReportInstance records how the operation comes along. It is NotFound if the instance was purged, or is deleted while
	// it was being created.
	ReportInstance(ctx context.Context, id backstay.InstanceID, op backstay.Operation) error
	// FinishInstance records the end of an operation and of its job. One that succeeded has made the instance what is
	// found in force, and what the broker did not tell has become what was asked for; an update that failed has changed
	// nothing. It is NotFound, and the job has no end, if the instance was purged.
	FinishInstance(
		ctx context.Context, id backstay.InstanceID, op backstay.Operation, found InForce, j backstay.Job,
		events ...backstay.Event,
	) error
	FollowStore
	TroubleStore
	// PurgeInstance removes an instance of either type with its bindings and shares, whatever is being done to
	// them, and records what end makes of that: events, and a job, if there is one.
	PurgeInstance(ctx context.Context, id backstay.InstanceID, end EndOfPurged) error
	// RemoveInstance removes an instance without bindings, and its shares, and, if a job is given, completes
	// it. An absent instance is success, and no event.
	RemoveInstance(ctx context.Context, id backstay.InstanceID, e backstay.Event, j *backstay.JobID) error
}

// FollowStore keeps what brokers have made of instances of their own accord.
type FollowStore interface {
	// RefreshInstance records what is in force of an instance, and its last operation, as change says of the instance
	// as it is now, which nobody else changes meanwhile. With the event, if it has a type, goes the usage. An error of
	// change is returned, and nothing is recorded.
	RefreshInstance(
		ctx context.Context, id backstay.InstanceID,
		change func(backstay.Instance) (found InForce, last backstay.Operation, e backstay.Event, err error),
	) error
	// AwaitRefresh makes an instance unsettled.
	AwaitRefresh(ctx context.Context, id backstay.InstanceID) error
	// UnsettledInstances are those of a broker that it must be asked about: it has something pending for them, or
	// has never told which version of the plan they have.
	UnsettledInstances(ctx context.Context, from backstay.BrokerID) ([]backstay.InstanceID, error)
	// SeenChanges is up to where the changes of a broker have been seen, as the broker counts them; 0 at first.
	SeenChanges(ctx context.Context, of backstay.BrokerID) (int64, error)
	KeepSeenChanges(ctx context.Context, of backstay.BrokerID, seen int64) error
	// UntoldDrills are the instances of a broker that are there, and of which it was told something else last than the
	// label says.
	UntoldDrills(ctx context.Context, of backstay.BrokerID) ([]DrillWish, error)
	KeepDrillsTold(ctx context.Context, id backstay.InstanceID, allowed bool) error
}

// TroubleStore keeps what is wrong with instances that serve nevertheless. It goes with its instance.
type TroubleStore interface {
	// Troubles are those of all instances of a broker.
	Troubles(ctx context.Context, of backstay.BrokerID) ([]Trouble, error)
	// KeepTrouble records a trouble as it is now. The event is recorded if it is a new one. Nothing is of an instance that
	// is not there.
	KeepTrouble(ctx context.Context, t Trouble, e backstay.Event) error
	// EndTrouble forgets a trouble that is gone, unless it is there again. Only what was there is an event.
	EndTrouble(ctx context.Context, t Trouble, e backstay.Event) error
}

// BindingStore keeps service credential bindings. Parameters and credentials arrive and leave sealed.
type BindingStore interface {
	Bindings(ctx context.Context, f BindingFilter) (List[backstay.Binding], error)
	// BindingSecrets are what a binding was asked with and what it gave: each nil if there is none.
	BindingSecrets(ctx context.Context, id backstay.BindingID) (parameters, credentials []byte, err error)
	// BoundServices lists for each instance that an app is bound to the newest binding that has credentials and is not
	// being ended, if there is one such, as far as BoundService is made of them: ids, names, types, tags and the address
	// of a log drain. What the app was bound to first comes first. It asks the database once.
	BoundServices(ctx context.Context, app backstay.AppID) ([]SealedService, error)
	// BindingAccess is all that decides whether a user may use a binding, and what by. It asks the database once.
	BindingAccess(
		ctx context.Context, id backstay.BindingID, user backstay.UserID, viewer *backstay.UserID,
	) (BindingAccess, error)
	// AcceptBinding records that we owe someone credentials. It is Busy while an operation of the
	// instance runs, Invalid if the instance is not usable or neither in the app's space nor shared with it, or
	// if a quota allows no more keys, and Taken if the name is in use. An app may be bound to the instance up to limit
	// times: with a limit of one it is Taken if the app is bound, and else Invalid beyond the limit, under another
	// name, or while an earlier binding is being made. A binding that failed makes way.
	AcceptBinding(
		ctx context.Context, b backstay.Binding, limit int, parameters []byte, e backstay.Event, j backstay.Job,
	) error
	// HoldBindings puts off the end of those that would end by themselves; it never brings it forward.
	HoldBindings(ctx context.Context, ids []backstay.BindingID, until time.Time) error
	// ExpiredBindings are those that should have ended by now and have no operation in progress. One that
	// failed to end is among them again after a while.
	ExpiredBindings(ctx context.Context, now time.Time) ([]backstay.Binding, error)
	// AcceptBindingDeletion is Busy while an operation of the binding or its instance runs.
	AcceptBindingDeletion(
		ctx context.Context, id backstay.BindingID, op backstay.Operation, e backstay.Event, j backstay.Job,
	) error
	// KeepBindingExtras keeps what a binding gives besides its credentials: where logs go, and the rest, sealed.
	KeepBindingExtras(ctx context.Context, id backstay.BindingID, syslogDrainURL string, extras []byte) error
	// BindingExtras is the sealed rest; nil for none.
	BindingExtras(ctx context.Context, id backstay.BindingID) (extras []byte, err error)
	// FinishBinding records the operation's end, with credentials if it succeeded, and the job's.
	FinishBinding(
		ctx context.Context, id backstay.BindingID, op backstay.Operation, credentials []byte, j backstay.Job,
	) error
	// RemoveBinding removes a binding and, if a job is given, completes it. An absent one is success,
	// and no event.
	RemoveBinding(ctx context.Context, id backstay.BindingID, e backstay.Event, j *backstay.JobID) error
}

// UserProvidedStore keeps user-provided service instances and what binds apps to them, which is there at
// once. Credentials arrive and leave sealed.
type UserProvidedStore interface {
	AddUserProvided(
		ctx context.Context, in backstay.Instance, credentials []byte, e backstay.Event,
	) (backstay.Instance, error)
	// UserProvidedCredentials is NotFound for a managed instance.
	UserProvidedCredentials(ctx context.Context, id backstay.InstanceID) (sealed []byte, err error)
	// UpdateUserProvided changes what u says but the credentials, which are the sealed ones (nil: unchanged).
	UpdateUserProvided(
		ctx context.Context, id backstay.InstanceID, u InstanceUpdate, credentials []byte, e backstay.Event,
	) (backstay.Instance, error)
	// RemoveUserProvided is InUse while there are bindings.
	RemoveUserProvided(ctx context.Context, id backstay.InstanceID, e backstay.Event) error
	// AddBinding binds an app, with the instance's credentials as they are, which reseal seals for the
	// binding. It is refused as by AcceptBinding.
	AddBinding(
		ctx context.Context, b backstay.Binding, limit int, reseal func(credentials []byte) ([]byte, error),
		e backstay.Event,
	) error
}

// ShareStore keeps which instances are shared with which spaces.
type ShareStore interface {
	Shares(ctx context.Context, f ShareFilter) (List[backstay.Share], error)
	// AddShares adds all of an instance's new shares or none. It is Invalid if the instance is on its way up
	// or down, and Taken if a space has an instance of the name, or one that is shared with it.
	AddShares(ctx context.Context, id backstay.InstanceID, shares []backstay.Share, e backstay.Event) error
	// AcceptUnshare records that a share is to end: apps of its space are not bound any more. It is Busy
	// while an operation of the instance or of a binding of that space runs, or the share ends already.
	AcceptUnshare(ctx context.Context, h backstay.Share, e backstay.Event, j backstay.Job) error
	// FinishUnshare removes a share if the job is complete, and lets it go on if the job failed.
	FinishUnshare(ctx context.Context, id backstay.ShareID, j backstay.Job) error
}

// JobStore keeps jobs: accepted with the fact that asks for them, run by the store's runner through
// [Market.Work] until they end, kept for a while afterwards.
type JobStore interface {
	Job(ctx context.Context, id backstay.JobID) (backstay.Job, error)
	// AcceptJob records a job that needs no other row.
	AcceptJob(ctx context.Context, e backstay.Event, j backstay.Job) error
	// NoteAsked records that a broker is being asked for what a job is about.
	NoteAsked(ctx context.Context, id backstay.JobID) error
	// FinishJob records a job's end and, if it is complete, what the job says is recorded then, and accepts the job that
	// is to follow it; so do all methods that finish a job.
	FinishJob(ctx context.Context, j backstay.Job) error
	// Pending tells whether a job of that operation on the resource has not ended yet.
	Pending(ctx context.Context, operation, resource string) (bool, error)
	// RemoveJobs removes up to limit jobs that ended before, the oldest first, and tells how many.
	RemoveJobs(ctx context.Context, before time.Time, limit int) (int, error)
	// AwaitJob returns the job once it has ended, or as it is when ctx ends.
	AwaitJob(ctx context.Context, id backstay.JobID) (backstay.Job, error)
}

// EventStore keeps the audit events.
type EventStore interface {
	RecordEvent(ctx context.Context, e backstay.Event) error
	// RecordRefusal records e unless, since then, the same was refused to the same actor, or as much as
	// limit in the organization; what is in none counts as one.
	RecordRefusal(ctx context.Context, e backstay.Event, since time.Time, limit int) error
	// RecordRead records e unless, since then, the same of the same target was recorded of the same actor.
	RecordRead(ctx context.Context, e backstay.Event, since time.Time) error
	Events(ctx context.Context, f EventFilter) (List[backstay.Event], error)
	// RemoveEvents removes up to limit events that were recorded before, the oldest first, and tells how many.
	RemoveEvents(ctx context.Context, before time.Time, limit int) (int, error)
	// Locate finds what has an id, whoever may see it, and where it is; NotFound if nothing has. A binding
	// is where its app is, a key where its instance is; what is an organization's own is in no space.
	Locate(ctx context.Context, id string) (Location, error)
}

// Location is a thing, and the place where it is.
type Location struct {
	Target         backstay.Target
	OrganizationID backstay.OrganizationID
	SpaceID        backstay.SpaceID // empty in no space
}

// UsageStore reads the usage events that are recorded with what they are about.
type UsageStore interface {
	// UsageEvents are ordered by when they were committed. It is Invalid for an AfterID that there is not.
	UsageEvents(ctx context.Context, f UsageFilter) (List[backstay.UsageEvent], error)
	// UsageBetween are all events that tell what there was from one moment until another, in their order:
	// those in between, and of each instance the last one before.
	UsageBetween(ctx context.Context, from, until time.Time) ([]backstay.UsageEvent, error)
	// UsageHorizon is since when usage is known without gaps; zero if it always has been.
	UsageHorizon(ctx context.Context) (time.Time, error)
	// RemoveUsage removes up to limit events, the oldest first, that tell nothing of what there was from
	// that moment on, and tells how many; the horizon moves with them.
	RemoveUsage(ctx context.Context, before time.Time, limit int) (int, error)
	// ReseedUsage removes all events, and records each instance that there is as created now, which is
	// the horizon then.
	ReseedUsage(ctx context.Context, e backstay.Event) error
}

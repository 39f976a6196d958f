package backstay

import (
	"context"
	"encoding/json"
)

// Broker is anything that fulfils the Open Service Broker API 2.17: our own in process, and whatever is
// reached over HTTP. A broker speaks of offerings and plans by the ids of its own catalog, [ServiceID] and
// [ServicePlanID]; the market's guids for the same things are none of its business.
//
// A request may say of which offering and plan an instance is. Another offering than the instance's is Invalid to
// Update, Deprovision, Bind and Unbind; a plan that its offering does not have is Invalid to Update and Bind. What ends
// something is refused for no plan: a platform may not have heard of a change.
//
// Every method may be called again with the same ids after a crash on either side, and then has the effect
// of one call; brokertest is this contract written as tests. Calls about one instance may arrive at the same
// time.
//
// Errors have a Kind, in the place of the status codes and error codes of the specification:
//
//	Invalid      400: the request or its parameters are refused, or there is no such plan; and 422 where a binding
//	             lacks the app that it needs, or the maintenance info is not the catalog's
//	NotFound     404 and 410: no such instance or binding (any more). A broker in process says so of a plan, too
//	Taken        409: the id is in use with other attributes
//	Busy         422 "ConcurrencyError": another operation on the instance or binding is in progress
//	Unsupported  422: the plan or offering cannot do this, whatever the parameters
//	Unavailable  503 and the like: retrying may help
//
// An error may have a [Failure] besides: the specification's word for it, and whether the broker may have made what
// it did not say it made. Who asked ends that (docs/decisions/the-market-ends-orphans.md).
type Broker interface {
	// Catalog lists what can be had. Ids are stable for as long as the offering or plan exists.
	Catalog(ctx context.Context) ([]CatalogOffering, error)
	InstanceBroker
	BindingBroker
}

// InstanceBroker is what a [Broker] does with instances.
type InstanceBroker interface {
	// Provision makes an instance, or accepts that it is to be made. The same request again is success: Async
	// while the instance is being made, Existed when it is there.
	Provision(ctx context.Context, r ProvisionRequest) (Provisioned, error)
	// Update changes an instance, or accepts that it is to be changed. What it changes from stays in force, and
	// stays as it is if the update fails.
	Update(ctx context.Context, r UpdateRequest) (Updated, error)
	// Deprovision ends an instance with all its data, or accepts that it is to be ended. An unknown instance
	// is NotFound. It is allowed while a create runs, which it ends.
	Deprovision(ctx context.Context, r DeprovisionRequest) (Deprovisioned, error)
	// FetchInstance tells an instance as it is in force. It is Unsupported if its offering is not
	// InstancesRetrievable, and NotFound until the instance has been made.
	FetchInstance(ctx context.Context, r FetchInstanceRequest) (FetchedInstance, error)
	// LastOperation tells how an asynchronous operation on an instance comes along. It is NotFound once a
	// delete has succeeded, and for an instance never seen.
	LastOperation(ctx context.Context, r LastOperationRequest) (Operation, error)
}

// BindingBroker is what a [Broker] does with bindings.
type BindingBroker interface {
	// Bind gives credentials of their own to each binding id, the same ones each time, or accepts that they
	// are to be made: then FetchBinding tells them when the operation has succeeded.
	Bind(ctx context.Context, r BindRequest) (Bound, error)
	// Unbind makes a binding's credentials useless and ends its sessions, or accepts that this is to be done.
	// An unknown binding is NotFound.
	Unbind(ctx context.Context, r UnbindRequest) (Unbound, error)
	// FetchBinding tells a binding as Bind did. It is Unsupported if its offering is not BindingsRetrievable, and
	// NotFound until the binding has been made.
	FetchBinding(ctx context.Context, r FetchBindingRequest) (FetchedBinding, error)
	// LastBindingOperation tells how an asynchronous operation on a binding comes along. It is NotFound once a
	// delete has succeeded, and for a binding never seen.
	LastBindingOperation(ctx context.Context, r LastBindingOperationRequest) (Operation, error)
}

// Admitter is a Broker that can tell, before anything is written down, whether it would refuse a
// request: for its parameters, or for want of room. Nothing is reserved.
type Admitter interface {
	AdmitProvision(ctx context.Context, r ProvisionRequest) error
	AdmitUpdate(ctx context.Context, r UpdateRequest) error
	AdmitBind(ctx context.Context, r BindRequest) error
}

// HealthTeller is a Broker that can tell at any time which of its instances do not serve, each with the
// reason as a sentence for its users. Those that are made, removed, or started again in a moment, are not among them.
// It is Unsupported if this one cannot tell, as many that are reached over HTTP.
type HealthTeller interface {
	Unhealthy(ctx context.Context) (map[InstanceID]string, error)
}

// Trouble is something that is wrong with an instance which serves nevertheless.
type Trouble struct {
	Kind     string `json:"kind"`     // the same for as long as the same is wrong: "archive"
	Sentence string `json:"sentence"` // for the instance's users; it may change meanwhile
}

// TroubleTeller is a Broker that can tell at any time what is wrong with instances that serve nevertheless, as that
// they cannot be backed up. With an error come those troubles that are known all the same. It is Unsupported if this
// one cannot tell.
type TroubleTeller interface {
	Troubles(ctx context.Context) (map[InstanceID][]Trouble, error)
}

// Purger is a Broker that ends what it has of an instance although the platform remembers no more of it than
// its id. One that is none is left alone when an instance is purged, as Cloud Foundry leaves all of them.
type Purger interface {
	// Purge ends an instance with its data and its bindings, whatever state it is in and whatever is being done
	// to it, and returns when nothing is left. An unknown instance is success.
	Purge(ctx context.Context, id InstanceID) error
}

// Overwriter is a Broker that can tell of an update's parameters whether they put earlier data in the place of what an
// instance holds. An organization may want its managers asked before that. It is Unsupported if this one cannot tell.
type Overwriter interface {
	Overwrites(ctx context.Context, parameters json.RawMessage) (bool, error)
}

// Copier is a Broker that can tell by a new instance's parameters whose data it is to begin with, so that the platform
// can see whether somebody has consented to that. One that begins empty has the zero Source. That an instance is named
// does not say that there is one. It is Unsupported if this one cannot tell.
type Copier interface {
	Source(ctx context.Context, parameters json.RawMessage) (Source, error)
}

// DrillHolder is a Broker that holds drills of instances, as in their maintenance windows, where their users allow it.
type DrillHolder interface {
	// AllowDrills says whether the users of an instance allow drills from now on. An absent one is success. It is
	// Unsupported if this one holds none.
	AllowDrills(ctx context.Context, id InstanceID, allowed bool) error
}

// SourceRenamer is a Broker whose parameters may name instances whose data a new one is to begin with.
type SourceRenamer interface {
	// RenameSources returns parameters that name other instances in the place of those that they name. What is no such
	// name stays as it is.
	RenameSources(parameters json.RawMessage, rename func(InstanceID) InstanceID) json.RawMessage
}

// OperationAwaiter is a Broker that can say at once when an operation on an instance changes, so nobody
// need poll.
type OperationAwaiter interface {
	// AwaitOperation answers as LastOperation does, as soon as the answer differs from seen in state or
	// description, or with ctx's error.
	AwaitOperation(ctx context.Context, r LastOperationRequest, seen Operation) (Operation, error)
}

// BindingOperationAwaiter is a Broker that can say at once when an operation on a binding changes.
type BindingOperationAwaiter interface {
	// AwaitBindingOperation is to LastBindingOperation what AwaitOperation is to LastOperation.
	AwaitBindingOperation(ctx context.Context, r LastBindingOperationRequest, seen Operation) (Operation, error)
}

// Watcher is a Broker that also changes instances of its own accord, as in their maintenance windows, and can say
// at once which ones. What changed, FetchInstance and LastOperation tell.
type Watcher interface {
	// Watches tells whether this one can: one that is reached over HTTP may not. Whoever is not sure asks again.
	Watches(ctx context.Context) bool
	// AwaitChanges tells which instances have changed, or have begun or ended something, since the moment that an
	// earlier call named as seen: as soon as there is one, after a while without one, or with ctx's error. Zero is
	// before everything, and so is a moment that has not been: the broker was restored to an earlier one. An instance
	// may be named more than once, and one that has been deleted may be.
	AwaitChanges(ctx context.Context, after int64) (changed []InstanceID, seen int64, err error)
}

package backstay

import (
	"cmp"
	"encoding/json"
	"time"
)

// Actor is who is asking, as the door that let them in established it: a user, or a client that acts
// for itself. Of what nobody has asked for it is the service broker that has done it.
type Actor struct {
	UserID   UserID // of a client or a broker: its id
	Username string // of a client: its id again; of a broker: its name
	Client   bool
	Broker   bool
	Role     GlobalRole
	Address  string // the IP address that the request came from; empty where nobody asked over a network
}

// GlobalRole is what somebody may do in every organization, whatever roles they have there; nearly
// everyone has none, the empty one. The names are those of Cloud Foundry's documentation.
type GlobalRole string

const (
	Administrator GlobalRole = "admin"           // everything
	AdminReadOnly GlobalRole = "admin_read_only" // see everything, secrets too
	GlobalAuditor GlobalRole = "global_auditor"  // see everything but secrets
)

// Organization owns spaces.
type Organization struct {
	ID        OrganizationID
	Name      string
	Suspended bool // only administrators change what is in it
	QuotaID   QuotaID
	Metadata  Metadata
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Space is where apps and service instances live; names are unique in it.
type Space struct {
	ID             SpaceID
	OrganizationID OrganizationID
	Name           string
	QuotaID        QuotaID // empty: limited by its organization's quota alone
	AllowsSSH      bool    // into its apps
	Metadata       Metadata
	CreatedAt      time.Time
	UpdatedAt      time.Time
}

// User is someone who may log in, or a client, which has an id and no name.
type User struct {
	ID        UserID
	Username  string // empty for a client
	Origin    string // the identity provider: "uaa" for our own, empty for a client
	Metadata  Metadata
	CreatedAt time.Time
	UpdatedAt time.Time
}

// PresentationName is what to call a user or client.
func (u User) PresentationName() string { return cmp.Or(u.Username, string(u.ID)) }

// Role gives a user rights in one organization or one space; Type is one of Cloud Foundry's names,
// as in "space_developer".
type Role struct {
	ID             RoleID
	Type           string
	UserID         UserID
	OrganizationID OrganizationID // empty for a space role
	SpaceID        SpaceID        // empty for an organization role
	CreatedAt      time.Time
	UpdatedAt      time.Time
}

// App is an application as services see it: a name to bind to. Backstay runs none.
type App struct {
	ID        AppID
	SpaceID   SpaceID
	Name      string
	Metadata  Metadata
	CreatedAt time.Time
	UpdatedAt time.Time
}

// InstanceType tells what a broker made from what its user provides.
type InstanceType string

const (
	Managed      InstanceType = "managed"
	UserProvided InstanceType = "user-provided"
)

// Instance is a service instance as its space owns it.
type Instance struct {
	ID              InstanceID
	Type            InstanceType
	SpaceID         SpaceID
	PlanID          PlanID // empty for a user-provided one
	Name            string
	Tags            []string
	MaintenanceInfo *MaintenanceInfo // the version of its plan that it has; nil if the broker tells of none
	Upgradable      bool             // its plan has another version now
	Trouble         string           // what is wrong with it though it serves, in sentences; empty: nothing is
	Pending         bool             // its broker has said that it will change it of its own accord
	DashboardURL    string           // may be empty, and is for a user-provided one
	SyslogDrainURL  string           // may be empty, and is for a managed one
	RouteServiceURL string           // likewise
	Metadata        Metadata
	LastOperation   Operation
	CreatedAt       time.Time
	UpdatedAt       time.Time
}

// Share lends an instance to another space than its own, whose apps may then be bound to it.
type Share struct {
	ID         ShareID
	InstanceID InstanceID
	SpaceID    SpaceID
	BoundApps  int // apps of that space that are bound to the instance
	CreatedAt  time.Time
}

// BindingType tells an app's binding from a service key.
type BindingType string

const (
	AppBinding BindingType = "app"
	KeyBinding BindingType = "key"
)

// Binding is a service credential binding: one set of credentials of one instance, for an app or as
// a service key.
type Binding struct {
	ID             BindingID
	Type           BindingType
	Name           string // may be empty for an app's binding
	InstanceID     InstanceID
	InstanceType   InstanceType
	AppID          AppID     // empty for a key
	SpaceID        SpaceID   // the app's; of a key the instance's
	SyslogDrainURL string    // the instance's when the binding was made; may be empty
	ExpiresAt      time.Time // when it ends by itself; zero for one that stays
	Metadata       Metadata
	LastOperation  Operation
	CreatedAt      time.Time
	UpdatedAt      time.Time
}

// Loan asks for a service key that ends by itself.
type Loan struct {
	InstanceID InstanceID
	Name       string
	Parameters json.RawMessage // an object, or nil
	Until      time.Time
}

// JobState is how far a job is, in the words of the Cloud Foundry API.
type JobState string

const (
	JobProcessing JobState = "PROCESSING" // before the broker has taken the request
	JobPolling    JobState = "POLLING"    // the broker is at work
	JobComplete   JobState = "COMPLETE"
	JobFailed     JobState = "FAILED"
)

// Job is our durable unit of work behind an operation. It outlives the resource it deletes.
type Job struct {
	ID        JobID
	Operation string // "service_instance.create", "space.delete", …
	Resource  string // the id of what it works on
	By        Actor  // who asked for it
	State     JobState
	Kind      Kind     // why it failed; meaningful only in JobFailed
	Sentence  string   // the same for people; never empty in JobFailed
	Completed Event    // what is recorded when it completes; nothing if its Type is empty
	Warnings  []string // what whoever asked is to know, although it is done
	Tireless  bool     // it is tried for weeks, since nobody else would; not kept
	Next      *Job     // what is accepted in the moment that this one ends; nil: nothing; not kept

	About     json.RawMessage // what else there is to know for it, an object; nil: nothing
	Asked     bool            // a broker has been asked, and may have done something even if it did not answer
	CreatedAt time.Time
	UpdatedAt time.Time
}

// FeatureFlag says whether something may be done on this platform. ErrorMessage takes the place of the name in
// refusals, if it is not empty; UpdatedAt is nil for a flag that nobody has set.
type FeatureFlag struct {
	Name         string
	Enabled      bool
	ErrorMessage string
	UpdatedAt    *time.Time
}

// Package backend is the contract of the places where instances live. A backend is declarative: it
// is given a Spec and reports a Status. What a plan means, who may have it and how users are told
// is decided above; how a database is run is decided below.
package backend

import (
	"context"
	"encoding/json"
	"log/slog"

	"github.com/backstay/backstay"
)

// Backend is a place where instances live. Every method may be called again after a crash on either
// side. backendtest.Run is this contract as tests.
type Backend interface {
	// Inventory says what this backend can serve now.
	Inventory(ctx context.Context) (Inventory, error)
	// Admit tells whether Apply of a new instance would be refused now for want of an engine, a
	// port or disk space; it is Unavailable or Unsupported, with the reason. Nothing is reserved.
	Admit(ctx context.Context, s Spec) error
	// Apply makes s what is wanted. When it returns, s is durable and will be reached, whatever
	// crashes. A generation older than the one held is refused as Busy; the one held is accepted again.
	Apply(ctx context.Context, s Spec) error
	// Await returns the status as soon as its revision is greater than the given one (0: at once).
	// It is NotFound for an instance that was never applied, or whose removal has ended.
	Await(ctx context.Context, id backstay.InstanceID, revision int64) (Status, error)
	// Failing lists the instances that are Failing now.
	Failing(ctx context.Context) ([]Status, error)
	// Remove ends an instance and all its data. It returns once the wish is durable; Await tells when
	// it has come true. An unknown instance is NotFound.
	Remove(ctx context.Context, id backstay.InstanceID) error

	Accounts
}

// Accounts are the users of running instances.
type Accounts interface {
	// CreateUser gives a binding its credentials, naming the instance's endpoint; if the user
	// exists, its password and its rights become these. Unavailable when the instance does not run.
	CreateUser(ctx context.Context, id backstay.InstanceID, u User) (backstay.Credentials, error)
	// DropUser removes a user and ends its sessions. An absent user, and an absent instance, is success.
	DropUser(ctx context.Context, id backstay.InstanceID, name string) error
}

// User is one binding's account in an instance.
type User struct {
	Name     string          `json:"name"` // see engine.User
	Password backstay.Secret `json:"password"`
	ReadOnly bool            `json:"read_only,omitempty"`
}

// LogValue is the user without the password.
func (u User) LogValue() slog.Value { return backstay.RedactedValue(u) }

// Spec is what is wanted of an instance. Its JSON is what the keeper's protocol carries and keeps.
type Spec struct {
	Instance   backstay.InstanceID  `json:"instance"`
	Generation int64                `json:"generation"` // 1 and up; which wanting
	Engine     string               `json:"engine"`
	Version    string               `json:"version"`
	Size       backstay.Size        `json:"size"`
	TLS        backstay.Certificate `json:"tls"`
	Settings   json.RawMessage      `json:"settings,omitempty"` // the engine's own, an object
	Private    bool                 `json:"private,omitempty"`  // no endpoint: only for who runs the backend
}

// LogValue is the Spec without the certificate's key.
func (s Spec) LogValue() slog.Value { return backstay.RedactedValue(s) }

// Phase is where an instance is on its way to its Spec.
type Phase string

const (
	Preparing Phase = "preparing" // data directory and configuration are being made
	Starting  Phase = "starting"  // the engine is coming up, for the first time or again
	Running   Phase = "running"   // clients are served at the endpoint
	Failing   Phase = "failing"   // it did not come up; it is tried again, with back-off
	Removing  Phase = "removing"
)

// Status is what is observed of an instance.
type Status struct {
	Instance   backstay.InstanceID `json:"instance"`
	Revision   int64               `json:"revision"`   // grows with every change of this status, also over restarts of the backend
	Generation int64               `json:"generation"` // the newest generation that was reached; 0 before the first
	Wanted     int64               `json:"wanted"`     // the generation of the Spec held
	Phase      Phase               `json:"phase"`
	Message    string              `json:"message"` // for the user: a sentence, or of one that runs what the engine says of it
	Endpoint   backstay.Endpoint   `json:"endpoint"`
	PID        int                 `json:"pid,omitempty"`        // of the primary's process, if it runs on this machine
	SocketDir  string              `json:"socket_dir,omitempty"` // where the primary's administrative socket is, if on this machine
}

// Inventory is what a backend can serve.
type Inventory struct {
	Engines []EngineVersion `json:"engines"`
	Hosts   []string        `json:"hosts"` // names and addresses that endpoints are reached by: what certificates must prove
}

// EngineVersion is one version of one engine.
type EngineVersion struct {
	Engine      string `json:"engine"`
	Product     string `json:"product"`      // as users know it: "PostgreSQL"
	Version     string `json:"version"`      // as plans name it: "15"
	FullVersion string `json:"full_version"` // as the product reports it: "15.18"
}

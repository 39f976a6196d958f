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
	// Admit tells whether Apply would be refused now, with the same error: Unsupported for what this
	// backend cannot do, Unavailable for want of a port or of disk space. Nothing is reserved. It also refuses what
	// Apply would accept and then meet as a final Obstacle, as far as that can be found out in a moment: settings
	// and sizes that the engine can never have, as Invalid or Unsupported. Spec.TLS may still be empty.
	Admit(ctx context.Context, s Spec) error
	// Names lists the hosts and addresses by which the instance's endpoint will be reached, the one that
	// credentials name first: its certificate should prove all of them. Spec.TLS may still be empty. A
	// backend that has to give the instance a place to know them keeps that place for it until Remove, and
	// always answers the same.
	Names(ctx context.Context, s Spec) ([]string, error)
	// Apply makes s what is wanted. When it returns, s is durable and will be reached, or its Obstacle
	// told, whatever crashes. A generation older than the one held is refused as Busy; the one held is
	// accepted again.
	Apply(ctx context.Context, s Spec) error
	// Await returns the status as soon as its revision is greater than the given one (0: at once).
	// It is NotFound for an instance that was never applied, or whose removal has ended.
	Await(ctx context.Context, id backstay.InstanceID, revision int64) (Status, error)
	// Unwell lists the instances that do not serve as wanted: the Failing ones, those that have served and been Down for
	// longer than a restart takes, those whose wanted generation meets an Obstacle while the old one serves on, and those
	// with Troubles.
	Unwell(ctx context.Context) ([]Status, error)
	// Held tells of which instances this backend has a record, each with the generation that it wants. One that
	// was applied and is not among them has been removed, or its record is lost.
	Held(ctx context.Context) (map[backstay.InstanceID]int64, error)
	// Remove ends an instance and all its data, after a last backup where its policy asks for one. It returns once the
	// wish is durable; Await tells when it has come true. An unknown instance is NotFound.
	Remove(ctx context.Context, id backstay.InstanceID) error

	Accounts
}

// Accounts are the users of instances.
type Accounts interface {
	// CreateUser gives a binding its credentials, naming the instance's endpoint; if the user
	// exists, its password and its rights become these. Unavailable when the instance does not serve. Unsupported of one
	// that is to read from a replica where there is none.
	CreateUser(ctx context.Context, id backstay.InstanceID, u User) (backstay.Credentials, error)
	// DropUser removes a user and ends its sessions, on all nodes. An absent user, and an absent instance, is success.
	// So is an instance that is Failing: the wish is durable then, and comes true before it serves again.
	DropUser(ctx context.Context, id backstay.InstanceID, name string) error
}

// Gauge is what a backend does besides that sees how much its instances store.
type Gauge interface {
	// Storage tells how much an instance stores now. It is NotFound if there is no such instance.
	Storage(ctx context.Context, id backstay.InstanceID) (Storage, error)
}

// Storage is how much an instance stores, and may.
type Storage struct {
	// Used is how much of a disk the data takes, its logs of changes among it. What waits for the repository of the
	// backups does not count.
	Used     backstay.Bytes `json:"used"`
	Enforced bool           `json:"enforced"` // it cannot store more than its plan says
	// Encryption is how it is encrypted at rest, as in Inventory; empty: it is not, or that is not known.
	Encryption string `json:"encryption,omitempty"`
}

// User is one binding's account in an instance.
type User struct {
	Name     string          `json:"name"` // see engine.User
	Password backstay.Secret `json:"password"`
	ReadOnly bool            `json:"read_only,omitempty"`
	Replica  bool            `json:"replica,omitempty"` // its credentials name where replicas are read from
}

// LogValue is the user without the password.
func (u User) LogValue() slog.Value { return backstay.RedactedValue(u) }

// Inventory is what a backend can serve.
type Inventory struct {
	Engines []EngineVersion `json:"engines"`
	Room    backstay.Size   `json:"room,omitzero"` // the most that one instance can ever have; 0 where that is not known
	// Encryption is how data of new instances is encrypted at rest, such as "dm-crypt"; empty: it cannot be.
	Encryption string `json:"encryption,omitempty"`
}

// EngineVersion is one version of one engine. Of a version there are several where its builds stand on different
// foundations, as an installation of an engine says it.
type EngineVersion struct {
	Engine      string `json:"engine"`
	Product     string `json:"product"`      // as users know it: "PostgreSQL"
	Version     string `json:"version"`      // as plans name it: "15"
	FullVersion string `json:"full_version"` // as the product reports it: "15.18"
	// Settings are the JSON Schema properties of the engine's own settings that users may give, as an object by name.
	// Each says its type, range and default, and "x-restart": true if it takes a restart. It is empty for none.
	Settings json.RawMessage `json:"settings,omitempty"`
	// RestorePoints tells to what its instances can be restored. Where there are any, the backend is an Archive.
	RestorePoints backstay.RestorePoints `json:"restore_points,omitempty"`
	// Nodes is how many nodes an instance of it can have; 0 and 1 are one.
	Nodes int `json:"nodes,omitempty"`
	// Drills tells whether it is seen what its clients feel while the primary is changed, or restarted.
	Drills bool `json:"drills,omitempty"`
}

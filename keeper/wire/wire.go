// Package wire is the keeper's protocol: its paths and the types that are not [backend]'s own. The keeper
// and backend/local speak it, and nobody else. It is HTTP and JSON over a Unix socket.
//
//	GET    /v1/keeper                       Keeper: who answers
//	POST   /v1/exit                         ends the keeper; engines run on
//	POST   /v1/stop                         ends all engines, then the keeper; 204 when they have ended
//
//	GET    /v2/inventory                    backend.Inventory
//	POST   /v2/admission                    takes a backend.Spec; 204 if Apply would take it
//	POST   /v2/names                        takes a backend.Spec; the hosts and addresses of its endpoint
//	GET    /v2/unwell                       []backend.Status
//	GET    /v2/held                         the generation wanted of each instance, by id: a control plane
//	                                        that has come up asks for it first
//	GET    /v2/drills                       the []backend.Drill that have ended last, of each instance that had one,
//	                                        by id; the newest last
//	PUT    /v2/instances/ID                 takes a backend.Spec; 204 once it is durable
//	GET    /v2/instances/ID?after=REVISION  backend.Status, as soon as it is newer, or after LongPoll
//	DELETE /v2/instances/ID                 204 once the wish is durable; ?discard=true: without a last backup
//	GET    /v2/instances/ID/admin           Admin
//	GET    /v2/instances/ID/used            the bytes that its data takes, a number
//	POST   /v2/instances/ID/rotation        Rotation, once the administrator has another password
//	PUT    /v2/instances/ID/users/NAME      takes a backend.User; the credentials
//	DELETE /v2/instances/ID/users/NAME      204
//	GET    /v2/backups                      []backend.Backups, of instances that were removed too
//	GET    /v2/instances/ID/backups         backend.Backups
//	PUT    /v2/instances/ID/backups         takes a backend.Legacy; 204 once its backups are known
//	DELETE /v2/instances/ID/backups         204 once nothing is kept of an instance that was removed
//	POST   /v2/instances/ID/proof           backend.Proof, once the restore that it asks for has ended
//
// A refusal is a Problem with a status of 400 or more. The paths below /v1 are the handshake: they keep
// their place and their shape for ever, so that keepers of every build know each other, and one can be
// replaced by another while its engines run on.
package wire

import (
	"net/url"
	"time"

	"github.com/backstay/backstay"
)

// Protocol is the number of the protocol: of all paths but the handshake's. A keeper of another one is
// asked for nothing but the handshake.
const Protocol = 2

// The handshake.
const (
	KeeperPath = "/v1/keeper"
	ExitPath   = "/v1/exit"
	StopPath   = "/v1/stop"
)

// What a keeper of this protocol answers besides.
const (
	InventoryPath = "/v2/inventory"
	AdmissionPath = "/v2/admission"
	NamesPath     = "/v2/names"
	UnwellPath    = "/v2/unwell"
	HeldPath      = "/v2/held"
	BackupsPath   = "/v2/backups"
	DrillsPath    = "/v2/drills"
	instancesPath = "/v2/instances/"
)

// Patterns of the paths below, as http.ServeMux takes them.
const (
	InstancePattern = instancesPath + "{id}"
	AdminPattern    = InstancePattern + "/admin"
	StoragePattern  = InstancePattern + "/storage"
	RotationPattern = InstancePattern + "/rotation"
	UserPattern     = InstancePattern + "/users/{name}"

	InstanceBackupsPattern = InstancePattern + "/backups"
	ProofPattern           = InstancePattern + "/proof"
)

// InstancePath is where one instance is.
func InstancePath(id backstay.InstanceID) string { return instancesPath + url.PathEscape(string(id)) }

// AdminPath is where an instance's Admin is.
func AdminPath(id backstay.InstanceID) string { return InstancePath(id) + "/admin" }

// StoragePath is where it is told how much an instance stores.
func StoragePath(id backstay.InstanceID) string { return InstancePath(id) + "/storage" }

// RotationPath is where an instance's administrator gets another password.
func RotationPath(id backstay.InstanceID) string { return InstancePath(id) + "/rotation" }

// DiscardPath is where an instance is removed without a last backup.
func DiscardPath(id backstay.InstanceID) string { return InstancePath(id) + "?discard=true" }

// InstanceBackupsPath is where the backups of an instance are told of.
func InstanceBackupsPath(id backstay.InstanceID) string { return InstancePath(id) + "/backups" }

// ProofPath is where a backup of an instance is restored to prove that it can be.
func ProofPath(id backstay.InstanceID) string { return InstancePath(id) + "/proof" }

// UserPath is where one user of an instance is.
func UserPath(id backstay.InstanceID, name string) string {
	return InstancePath(id) + "/users/" + url.PathEscape(name)
}

// LongPoll is how long a request for a newer status waits, at most.
const LongPoll = 50 * time.Second

// Keeper tells one keeper from another.
type Keeper struct {
	Protocol int    `json:"protocol"`
	Version  string `json:"version"` // of the build, for people
	PID      int    `json:"pid"`
	// Executable tells which program it is (see process.Executable). Keepers before protocol 2 do not say.
	Executable string `json:"executable,omitempty"`
	// Told tells which settings it goes by, of those that a running keeper cannot be given anew.
	Told string `json:"told,omitempty"`
}

// Problem is why a request was refused.
type Problem struct {
	Kind     string `json:"kind"` // a backstay.Kind by name
	Sentence string `json:"sentence"`
}

// Admin is what only whoever is on the keeper's machine can use of an instance that runs.
type Admin struct {
	PID       int    `json:"pid"`        // of the primary's process
	SocketDir string `json:"socket_dir"` // where the primary's administrative socket is
	Port      int    `json:"port"`       // of the endpoint, after which engines name the socket; 0: it has none
}

// Rotation is what has been rotated of an instance.
type Rotation struct {
	Password bool `json:"password"` // false: the administrator of that engine has none
}

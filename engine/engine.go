// Package engine is what we ask of a database product. Each product has a room below this one; all
// that is special about it stays there.
//
// An Engine knows, it does not keep: it holds no state, starts no goroutine and supervises nothing.
// The keeper decides when its methods are called, and calls them again after a crash.
package engine

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"

	"github.com/backstay/backstay"
)

// Engine knows one database product. All it needs arrives in the Node, and every method may be
// called again after a crash at any instruction. Those that ask a running node are let in however many
// connections its users hold. enginetest.Run is this contract as tests.
type Engine interface {
	// Installations lists the usable versions of the product on this machine, newest first. None
	// is an empty list; a broken installation is left out.
	Installations(ctx context.Context) ([]Installation, error)
	// Prepare makes the node's data directory and configuration be what the node asks for. It never
	// touches data that a finished earlier Prepare made. Errors are Unavailable with a sentence that
	// names the reason, when it is the machine's.
	Prepare(ctx context.Context, n Node) error
	// Command runs the node in the foreground until SIGTERM, or the signal that a Stopper names, ends
	// it in an orderly way. It logs to standard output and error alone. Credentials, session, umask (077),
	// working directory and standard files of the process are the caller's.
	Command(n Node) (*exec.Cmd, error)
	// Probe is nil when the running node serves clients.
	Probe(ctx context.Context, n Node) error
	// CreateUser gives u credentials to the running node; if u exists, they and its rights become these.
	CreateUser(ctx context.Context, n Node, u User) (backstay.Credentials, error)
	// DropUser removes the user and ends its sessions; what it made stays. An absent one is success.
	DropUser(ctx context.Context, n Node, name string) error
}

// Configurer is an Engine with settings that are put in force on a running node, after Probe first
// succeeds and before anyone is told that it serves.
type Configurer interface {
	Configure(ctx context.Context, n Node) error
}

// Warmer is an Engine that can do the slow part of Prepare ahead of the first instance.
type Warmer interface {
	Warm(ctx context.Context, i Installation, cacheDir string) error
}

// Explainer is an Engine that can tell from its log why its process ended: one line for the user.
type Explainer interface {
	Explain(n Node) string
}

// Describer is an Engine that tells users in its own words what they have got: Describe is of a node
// that serves, in one line or several.
type Describer interface {
	Describe(n Node) string
}

// Stopper is an Engine whose process does not end quickly on SIGTERM: PostgreSQL waits for its
// clients to leave. The keeper sends it this signal instead; data is flushed, clients are turned out.
type Stopper interface {
	StopSignal() os.Signal
}

// Tender is an Engine whose users can change what is not theirs to change and must stay as it is.
type Tender interface {
	// Tend puts it back, and names the users whose it was. It is called every few seconds while the node serves,
	// and asks the server only where something can have changed: last is what the call before returned as
	// now, empty at first and after a user was created. An empty now says that there is nothing to tend until then.
	Tend(ctx context.Context, n Node, last string) (now string, mended []string, err error)
}

// Installation is one version of a product on this machine.
type Installation struct {
	Product     string `json:"product"`      // as users know it: "PostgreSQL"
	Version     string `json:"version"`      // as plans name it: "15"
	FullVersion string `json:"full_version"` // as the product reports it: "15.18"
	Dir         string `json:"dir"`          // where its programs are
}

// Account is the operating-system user that a node runs as. It need not be in the password database.
type Account struct {
	UID uint32 `json:"uid"`
	GID uint32 `json:"gid"`
}

// IDs are the account as chown takes it: -1, which changes nothing, for none.
func (a *Account) IDs() (uid, gid int) {
	if a == nil {
		return -1, -1
	}
	return int(a.UID), int(a.GID)
}

// User is one binding's account in the engine.
type User struct {
	Name     string // lower-case letters, digits and underscores, starting with a letter, at most 32
	Password backstay.Secret
	ReadOnly bool // sees all that the others make, whenever they make it, and can change nothing of it
}

// LogValue is the user without the password.
func (u User) LogValue() slog.Value { return backstay.RedactedValue(u) }

// Node is one engine process with its data directory, as the keeper wants it.
type Node struct {
	Instance     backstay.InstanceID
	Installation Installation
	DataDir      string   // the engine's own, absolute; Prepare makes it
	LogFile      string   // where the keeper appends what the process says on standard error
	RunDir       string   // exists, belongs to Account; short enough for a Unix socket in it
	CacheDir     string   // shared by all nodes of the engine on this machine: golden directories; exists
	Account      *Account // nil: the keeper's own user (it is not root)
	Operator     string   // name of the operating-system user that administers over RunDir: the keeper's own
	Listen       []string // addresses to bind at Endpoint.Port; none: only RunDir
	Endpoint     backstay.Endpoint
	TLS          backstay.Certificate // empty when Listen is
	Size         backstay.Size
	Settings     json.RawMessage // the engine's own, an object; nil is all defaults
}

// LogValue is the node without the certificate's key.
func (n Node) LogValue() slog.Value { return backstay.RedactedValue(n) }

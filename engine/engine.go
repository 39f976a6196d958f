// Package engine is what we ask of a database product. Each product has a room below this one; all
// that is special about it stays there.
//
// An Engine knows, it does not keep: it holds no state, starts no goroutine and supervises nothing.
// The keeper decides when its methods are called, and calls them again after a crash.
package engine

import (
	"context"
	"errors"
	"log/slog"

	"github.com/backstay/backstay"
)

// Engine knows one database product. All it needs arrives in the Node, and every method may be
// called again after a crash at any instruction. enginetest.Run is this contract as tests.
//
// Probe, CreateUser, DropUser and the capabilities Configurer, Reloader and Tender ask a running node.
// They get in by Node.Admin and nothing else, however many connections the node's users hold, so
// that a node on another machine can be administered like one on ours; only Reloader also writes
// configuration. They may be called at once, for the same node and the same user too. What keeps them from what
// they are to do, and can be named, is Unavailable with a sentence: a node that does not answer within ctx, a disk
// that is full.
type Engine interface {
	// Installations lists the usable versions of the product on this machine, newest first. None
	// is an empty list; a broken installation is left out.
	Installations(ctx context.Context) ([]Installation, error)
	// Check tells whether the node could be prepared and started as n says. It is called while the
	// node still runs as it was wanted before, and changes nothing of it, not even a file. Errors that are
	// Invalid (settings, certificate) or Unsupported (what the product refuses, data that it cannot read)
	// stay until something else is wanted; one that is Unavailable may pass. What only a start can
	// show, such as a port that is taken or a full disk, is not found.
	Check(ctx context.Context, n Node) error
	// Prepare makes the node's data directory and configuration be what the node asks for. It never
	// touches data that a finished earlier Prepare made. Errors are those of Check, and Unavailable
	// with a sentence that names the reason, when it is the machine's.
	Prepare(ctx context.Context, n Node) error
	// Command is the node's main process, which runs in the foreground until the signal of Ending ends it. It
	// logs to standard output and error alone. Credentials, session, umask (077), working directory
	// and standard files of the process are the caller's.
	Command(n Node) (Process, error)
	// Ending tells how the main process is ended in an orderly way: data is flushed, and clients are
	// turned out.
	Ending(n Node) Ending
	// LocalAdmin is the way in to the node while it runs on this machine: what its Admin is to be. It may be
	// asked for before anything is prepared.
	LocalAdmin(n Node) Admin
	// Probe is nil when the running node serves clients. Otherwise it is Busy if the node is there, but is
	// so occupied by what a client asked of it that it answers nobody, and may be for ever; and
	// Unavailable if it does not answer, or not yet.
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

// Reloader is an Engine that can put a changed configuration in force while the node runs.
type Reloader interface {
	// Reload writes the configuration that n asks for and puts all of it in force that can be, the
	// certificate included; sessions go on. It tells whether the rest takes a restart. An error leaves the
	// node running, as it was or partly as n says: Reload may be called again, or the node restarted.
	Reload(ctx context.Context, n Node) (restart bool, err error)
}

// Accompanied is an Engine whose node is more than its main process.
type Accompanied interface {
	// Companions are the further processes, in the order in which they are started, once the main one
	// runs. They are ended before it, the last first, and started again when they end by themselves.
	Companions(n Node) ([]Companion, error)
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

// ErrStuck says that a client keeps the node from everybody else, in a way that only the end of its process helps
// against: the caller is to kill it, and to start the node again. What it told clients is kept is not lost.
var ErrStuck = errors.New("the node can only be ended")

// Tender is an Engine whose users can change what is not theirs to change and must stay as it is, or keep the node
// from serving the others.
type Tender interface {
	// Tend puts it back, and names the users whose it was. It is called every few seconds while the node
	// serves, and asks the server only where something can have changed: last is what the call before
	// returned as now, empty at first and after a user was created. An empty now says that there is
	// nothing to tend until then. The error is ErrStuck, with a sentence, if the node must be ended.
	Tend(ctx context.Context, n Node, last string) (now string, mended []string, err error)
}

// Packaged is an Engine that comes in packages of the distribution.
type Packaged interface {
	// Packages are the names of the Debian packages that bring the engine with all that it can use.
	Packages() []string
}

// Inspector is an Engine with parts that an installation can lack and yet be usable.
type Inspector interface {
	Inspect(i Installation) []Part
}

// Part is something that belongs to an installation beside the programs that every node needs.
type Part struct {
	Name    string // what it is, for the operator: "extension allow-list"
	File    string // where it lies, or belongs
	Missing bool
	Package string // the Debian package that brings it
}

// Installation is one version of a product on this machine.
type Installation struct {
	Product     string `json:"product"`      // as users know it: "PostgreSQL"
	Version     string `json:"version"`      // as plans name it: "15"
	FullVersion string `json:"full_version"` // as the product reports it: "15.18"
	Dir         string `json:"dir"`          // where its programs are
}

// User is one binding's account in the engine.
type User struct {
	Name     string // lower-case letters, digits and underscores, starting with a letter, at most 32
	Password backstay.Secret
	ReadOnly bool // sees all that the others make, whenever they make it, and can change nothing of it
}

// LogValue is the user without the password.
func (u User) LogValue() slog.Value { return backstay.RedactedValue(u) }

// Package engine is the contract of what Backstay asks of a database product. Each product has a package below this
// one, and everything that is special about it stays there.
//
// An Engine has knowledge and no state: it starts no goroutine that outlives a call, and supervises nothing. The
// keeper decides when its methods are called, and calls them again after a crash.
package engine

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/backstay/backstay"
)

// Engine knows one database product. Everything it needs is in the Node that a method is given. Every method may be
// called again after a crash at any instruction. enginetest.Run is this contract as tests.
//
// Probe, CreateUser, DropUser and the capabilities Configurer, Reloader, Settler and Tender administer a running node.
// They connect by Node.Admin and use none of the node's directories, so that a node on another machine can be
// administered too; only Reloader also writes configuration. They succeed however many connections the node's users
// hold. They may be called concurrently, for the same node and for the same user. A failure whose reason is known is
// Unavailable with a sentence that names it: a node that does not answer within ctx, a disk that is full.
type Engine interface {
	// Installations lists the usable versions of the product on this machine, the newest first. The list is
	// empty if there are none. Broken installations are left out.
	Installations(ctx context.Context) ([]Installation, error)
	// Check tells whether the node could be prepared and started as n describes it. It is called while the node
	// still runs with an earlier configuration, and changes nothing of the node, not even a file. An error is
	// Invalid for settings or a certificate that nothing could be started with, and Unsupported for a
	// configuration that the product refuses or data that it cannot read: both are final until something else is
	// wanted. An error that is Unavailable may go away. Check does not find what only a start shows, such as a
	// port that is taken or a full disk.
	Check(ctx context.Context, n Node) error
	// Prepare makes the node's data directory, unless it is there, and writes its configuration. It never changes
	// data that an earlier Prepare has finished making, and makes none for a node that is Used: it may vanish at any
	// moment, also while Prepare looks. Its errors are those of Check, and Unavailable with a
	// sentence that names the reason where the machine is at fault.
	Prepare(ctx context.Context, n Node) error
	// Command returns how the node's main process is started. The process runs in the foreground until the signal
	// of Ending ends it, and logs to standard output and standard error alone. The caller sets its credentials,
	// session, umask (077), working directory and standard files.
	Command(n Node) (Process, error)
	// Ending returns how the main process is ended in an orderly way: clients are disconnected, and data is
	// flushed.
	Ending(n Node) Ending
	// LocalAdmin returns the Admin of a node that runs on this machine. It may be called before the node is
	// prepared.
	LocalAdmin(n Node) Admin
	// Probe returns nil if the running node serves clients. Otherwise the error is Busy if the node answers that
	// it is occupied with something that a client has asked of it, possibly for ever; and Unavailable if it does
	// not answer, or does not serve yet. It is ErrDamaged too if the node answers that it cannot serve with its data.
	Probe(ctx context.Context, n Node) error
	// CreateUser makes the user u in the running node and returns its credentials. The password and the rights of
	// a user that exists become those of u.
	CreateUser(ctx context.Context, n Node, u User) (backstay.Credentials, error)
	// DropUser removes the user and ends its sessions. What the user has made in the database stays. It succeeds
	// if there is no such user.
	DropUser(ctx context.Context, n Node, name string) error
}

// ErrDamaged says that a node answers, and refuses whoever comes, as its data is damaged, missing, or on a disk that
// fails. It does not heal by being waited for. That a node starts, is full or has too many clients is no such thing.
var ErrDamaged = errors.New("the node's data is damaged")

// Configurer is an Engine with settings that can be put in force on a running node only. Configure is called each
// time a node has come up, when Probe first succeeds and before anybody is told that the node serves.
type Configurer interface {
	Configure(ctx context.Context, n Node) error
}

// Reloader is an Engine that can put a changed configuration in force while the node runs.
type Reloader interface {
	// Reload writes the configuration that n describes and puts as much of it in force as it can, the certificate
	// included, without ending a session. It reports whether the rest needs a restart. After an error the node
	// still runs, with its old configuration or with parts of the new one: the caller may call Reload again or
	// restart the node.
	Reload(ctx context.Context, n Node) (restart bool, err error)
}

// Settler is an Engine whose nodes have work to do at their end that can be done beforehand, while clients are served.
type Settler interface {
	// Settle writes what the node has changed and not written to its disk yet, so that its end and its next start
	// take a moment only. It is called before a restart. An error says that these take longer, and nothing worse.
	Settle(ctx context.Context, n Node) error
}

// Rotator is an Engine whose administrator logs in by a password, which lies in the node's directories.
type Rotator interface {
	// Rotate gives the administrator of a running node another password, without ending a session. Wherever it is
	// interrupted, the one that Admin.Secret returns is accepted. Once it has returned, no other is.
	Rotate(ctx context.Context, n Node) error
}

// Beginner is an Engine whose server begins anew, with nothing in it and without a word, where certain parts of its
// data are missing.
type Beginner interface {
	// Essential returns these files, as paths below the data directory. Each is there from the moment on in which
	// the node first serves.
	Essential(n Node) []string
}

// Accompanied is an Engine whose nodes consist of more than the main process.
type Accompanied interface {
	// Companions returns the further processes of a node, in the order in which they are started once the main
	// process runs. They are ended before the main process, the last one first. A companion that ends by itself
	// is started again.
	Companions(n Node) ([]Companion, error)
}

// Warmer is an Engine that can do the slow part of Prepare ahead of the first instance.
type Warmer interface {
	Warm(ctx context.Context, i Installation, cacheDir string) error
}

// Explainer is an Engine that can tell from a node's log why its process ended.
type Explainer interface {
	// Explain returns one line for the user. It is empty if the log gives no reason.
	Explain(n Node) string
}

// Describer is an Engine with words of its own for a node that serves.
type Describer interface {
	// Describe returns what users read about the node, in one line or several.
	Describe(n Node) string
}

// Slow is an Engine whose nodes take long to come up.
type Slow interface {
	// Patience is for how long a node that was started may not serve, on a machine that is busy, until that is told as a
	// failure.
	Patience() time.Duration
}

// ErrStuck says that clients keep the node from serving the others, and that only ending the node's process helps.
// The caller kills the process and starts it again. Nothing is lost that a client was told is kept.
var ErrStuck = errors.New("the node can only be ended")

// Tender is an Engine whose users can change things that must stay as they are, or can keep the node from serving the
// others, or whose nodes are to follow something of the machine that changes.
type Tender interface {
	// Tend restores what users have changed and must not, and returns their names; and it brings the node up to date
	// with the machine. It is called every few seconds while the node serves. Last is what the previous call
	// returned as now; it is empty at first and after a user was created. Tend may use it to leave a server alone
	// in which nothing has changed. An empty now says that Tend need not be called again until a user is created.
	// The error is ErrStuck, with a sentence, if the node's process must be ended.
	Tend(ctx context.Context, n Node, last string) (now string, mended []string, err error)
}

// Packaged is an Engine that packages of the distribution install.
type Packaged interface {
	// Packages returns the names of the Debian packages that install the product with everything that the engine
	// can use of it.
	Packages() []string
}

// Foreign is an Engine that no package of the distribution installs.
type Foreign interface {
	// Needs returns what an operator has to install, in words, for the product to be found.
	Needs() string
}

// Keepable is an Engine whose installations run from a copy too, so that a node can keep its build though the
// distribution replaces the programs in their place.
type Keepable interface {
	// Traces returns the directories, and the files whose directory holds much else, in which something changes
	// whenever an installation comes, changes or goes. Each may be a pattern of [filepath.Match].
	Traces() []string
	// Files returns what a node, and the making of its data, takes of the installation: files, and directories with
	// all that is in them, as paths below root. A copy of them in which they have the same places, at another root,
	// is an installation. The error says why this one cannot be copied.
	Files(i Installation) (root string, names []string, err error)
	// Report runs the programs in the installation's directory and returns the full version that they report.
	Report(ctx context.Context, i Installation) (full string, err error)
}

// Returner is an Engine of which not every build reads what a newer build of the same version has served. Those of
// other engines do.
type Returner interface {
	// Returns reports whether the build of that full version serves data that the installation i has served.
	Returns(i Installation, build string) bool
}

// Inspector is an Engine with parts that an installation may lack and still be usable.
type Inspector interface {
	// Inspect returns all of these parts, present or missing.
	Inspect(i Installation) []Part
}

// Part is something that belongs to an installation beside the programs that every node needs.
type Part struct {
	Name    string // for the operator: "extension allow-list"
	File    string // where it is, or should be
	Missing bool
	Package string // the Debian package that installs it
}

// Installation is one version of a product on this machine. A product that stands on another one, whose data it serves,
// says so in its full version: VERSION on NAME VERSION, and with NAME VERSION for what goes with that. Data of one
// [Foundation] is not served by another.
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

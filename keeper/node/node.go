package node

import (
	"context"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/cgroup"
	"github.com/backstay/backstay/engine"
)

// Node is a node of this machine: what its engine is told of it, and where its process is found.
type Node struct {
	engine.Node
	Engine  engine.Engine // nil where this build does not know it: then the node can only be ended
	Dir     string        // the instance's, in which the data directory is and the process works
	Program string        // that the process runs, without symbolic links; empty: it was never started
	Found   bool          // the process was not started by this keeper: another build may have configured it
	Scratch bool          // it serves nobody, and is thrown away

	Groups *cgroup.Groups // in which its processes are, in that of its instance; nil: nothing is limited
	Limits cgroup.Limits  // of that group
}

// LogValue is the node without the certificate's key.
func (n Node) LogValue() slog.Value { return backstay.RedactedValue(n) }

// pidFile names the main process.
func (n Node) pidFile() string { return n.pidFileOf("node") }

func (n Node) pidFileOf(name string) string { return filepath.Join(n.RunDir, name+".pid") }

// owner is the user that the node's processes run as.
func (n Node) owner() uint32 {
	if n.Account != nil {
		return n.Account.UID
	}
	return uint32(os.Geteuid())
}

// ThroughMode is for directories that engines, which run as users of their own if we are root, pass
// through without being able to look around.
func ThroughMode() os.FileMode {
	if os.Geteuid() == 0 {
		return 0o711
	}
	return 0o700
}

// MakeDir makes a directory, with all above it, and gives it the mode whatever the umask is.
func MakeDir(path string, mode os.FileMode) error {
	if err := os.MkdirAll(path, mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

// Prepare makes the node's directories, the data in them and its configuration what the engine asks for,
// and ends what an earlier process has left. It returns the program that Start will run.
func (n Node) Prepare(ctx context.Context) (program string, err error) {
	if err := n.MakeDirs(); err != nil {
		return "", err
	}
	if err := n.EndRemnants(); err != nil {
		return "", err
	}
	if err := n.Engine.Prepare(ctx, n.Node); err != nil {
		return "", err
	}
	main, err := n.Engine.Command(n.Node)
	if err != nil {
		return "", err
	}
	return resolved(main.Executable()), nil
}

// MakeDirs makes what the engine finds. Only the directory for its sockets is its own: in one that it
// could write to, it could lead us elsewhere by symbolic links.
func (n Node) MakeDirs() error {
	if err := MakeDir(n.Dir, ThroughMode()); err != nil {
		return err
	}
	if err := MakeDir(filepath.Dir(n.LogFile), 0o700); err != nil {
		return err
	}
	if err := MakeDir(n.RunDir, 0o700); err != nil || n.Account == nil {
		return err
	}
	return os.Lchown(n.RunDir, int(n.Account.UID), int(n.Account.GID))
}

// MissingData returns what is missing of the data of a node that has served: the data directory, also where it is
// empty, as where a volume is not mounted; or a file in it without which the server would begin anew. It is empty if
// nothing is missing. Data that is fresh, because it was restored, need not have these files yet. The node can write to
// its data directory, so no link out of it is followed.
func (n Node) MissingData(fresh bool) (path string, err error) {
	root, err := os.OpenRoot(n.DataDir)
	if os.IsNotExist(err) {
		return n.DataDir, nil
	}
	if err != nil {
		return "", err
	}
	defer root.Close()
	if entries, err := fs.ReadDir(root.FS(), "."); err != nil || len(entries) == 0 {
		return n.DataDir, err
	}
	b, ok := n.Engine.(engine.Beginner)
	if !ok || fresh {
		return "", nil
	}
	for _, name := range b.Essential(n.Node) {
		if _, err := root.Lstat(name); os.IsNotExist(err) {
			return filepath.Join(n.DataDir, name), nil
		} else if err != nil {
			return "", err
		}
	}
	return "", nil
}

// resolved is path without symbolic links, as the kernel names programs.
func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// Reason is why the process has ended, as the engine's log tells it; empty: it does not.
func (n Node) Reason() string {
	if e, ok := n.Engine.(engine.Explainer); ok {
		return e.Explain(n.Node)
	}
	return ""
}

// Explain is Reason as an error.
func (n Node) Explain() error {
	reason := n.Reason()
	if reason == "" {
		return backstay.Errorf(backstay.Unavailable, "The engine ended.")
	}
	return backstay.Errorf(backstay.Unavailable, "The engine ended: %s.", reason)
}

// Describe is what users read of a node that serves.
func (n Node) Describe(name string) string {
	if d, ok := n.Engine.(engine.Describer); ok {
		return d.Describe(n.Node)
	}
	return name + " " + n.Installation.FullVersion + " is running."
}

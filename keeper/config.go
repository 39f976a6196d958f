package keeper

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/endpoint"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/keeper/build"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/keeper/node"
)

// Config is what a keeper is told. It is not changed once Run has it.
type Config struct {
	DataDir    string // absolute; everything is kept below it
	StandbyDir string // absolute; what lies there are second nodes. Empty: they lie below DataDir too
	Engines    map[string]engine.Engine
	Host       string   // the name or address that credentials give to apps
	Listen     []string // addresses that engines bind
	Ports      PortRange
	MinFree    backstay.Bytes      // disk space that a new instance must leave free
	Reserve    backstay.Bytes      // disk space that no volume gets
	Overcommit float64             // how many times the disk may be promised; 0: as often as is asked for
	Volumes    Volumes             // of new instances; empty: directories
	Version    string              // of the build, for people
	Executable string              // which program this is (see process.Executable): a keeper of another one is replaced
	Seal       seal.Key            // that secrets in the records are sealed with; the zero Key: they are in clear
	Repository backstay.Repository // where backups lie, without a part and a key; zero: there is none
	Told       string              // which Repository that is: a keeper that was told of another one is replaced
	Front      endpoint.Front      // its program and its build, of instances of several nodes
	NoLimits   bool                // leave instances unlimited where the machine could limit them
	Now        func() time.Time    // nil: the machine's clock
	Log        *slog.Logger
}

// LogValue is the configuration without the secrets of the repository.
func (c Config) LogValue() slog.Value { return backstay.RedactedValue(c) }

// LogValue is the keeper's configuration without secrets.
func (k *Keeper) LogValue() slog.Value { return k.Config.LogValue() }

// PortRange is the ports that instances get, both ends included.
type PortRange struct{ First, Last int }

// ParsePortRange reads FIRST-LAST.
func ParsePortRange(s string) (PortRange, error) {
	first, last, ok := strings.Cut(s, "-")
	f, errF := strconv.Atoi(first)
	l, errL := strconv.Atoi(last)
	if !ok || errF != nil || errL != nil || f < 1024 || l > 65535 || f > l {
		return PortRange{}, fmt.Errorf("port range %q: want FIRST-LAST between 1024 and 65535, as in 20000-29999", s)
	}
	return PortRange{f, l}, nil
}

func (r PortRange) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

// maxDataDir keeps the path of a Unix socket, DATA/run/NAME/.s.PGSQL.PORT, within the kernel's 107 bytes.
const maxDataDir = 107 - len("/run/.backstay-state/.s.PGSQL.65535")

// Places below the data directory.
func (c Config) dir(parts ...string) string {
	return filepath.Join(append([]string{c.DataDir}, parts...)...)
}
func (c Config) recordsDir() string { return c.dir("keeper", "instances") }
func (c Config) backupsDir() string { return c.dir("keeper", "backups") }
func (c Config) buildsDir() string  { return c.dir("builds") }
func (c Config) volumesDir() string { return c.dir("volumes") }
func (c Config) socket() string     { return c.dir("keeper", "keeper.sock") }

// copies is how many nodes are restored or cloned at once: each of them reads and writes as fast as the disk can.
const copies = 2

// machine is what the instances share.
func (c Config) machine() *instance.Machine {
	reserve := &instance.Reserve{Path: c.dir("keeper", "reserve")}
	return &instance.Machine{
		DataDir: c.DataDir, Host: c.Host, Listen: c.Listen, Engines: c.Engines,
		Installed: &build.Store{Engines: c.Engines, Dir: c.buildsDir(), Now: c.Now, Log: c.Log},
		Disks:     c.disks(),
		Records:   instance.Records{Dir: c.recordsDir(), Key: c.Seal, Reserve: reserve, Log: c.Log},
		Slots:     semaphore.NewWeighted(int64(2 * runtime.NumCPU())), Copies: semaphore.NewWeighted(copies),
		Front: c.Front, Now: c.Now, Log: c.Log,
	}
}

// prepare makes the directories and refuses a machine on which instances could not run.
func (c Config) prepare() error {
	if len(c.DataDir) > maxDataDir {
		return fmt.Errorf("the path of the data directory %s has %d bytes: at most %d leave room for Unix sockets in it",
			c.DataDir, len(c.DataDir), maxDataDir)
	}
	if isRoot() {
		if err := checkTraversable(c.DataDir); err != nil {
			return err
		}
	}
	for _, dir := range []string{c.dir(), c.dir("instances"), c.dir("run"), c.dir("cache"), c.buildsDir()} {
		if err := node.MakeDir(dir, node.ThroughMode()); err != nil {
			return err
		}
	}
	for _, dir := range c.ownDirs() {
		if err := node.MakeDir(dir, 0o700); err != nil {
			return err
		}
	}
	return nil
}

// ownDirs are the directories that no instance may look into. A repository elsewhere is not made here: where its
// disk is not mounted, that would be a directory on another one.
func (c Config) ownDirs() []string {
	own := []string{c.dir("keeper"), c.recordsDir(), c.backupsDir(), c.volumesDir()}
	if strings.HasPrefix(c.Repository.Dir, c.dir()+"/") {
		own = append(own, c.Repository.Dir)
	}
	return own
}

func isRoot() bool { return os.Geteuid() == 0 }

// checkTraversable refuses a data directory that other users cannot reach, as below /root.
func checkTraversable(dir string) error {
	for parent := filepath.Dir(dir); parent != "/"; parent = filepath.Dir(parent) {
		info, err := os.Stat(parent)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o001 == 0 {
			return fmt.Errorf("databases run as users of their own and cannot pass through %s: "+
				"choose another data directory, such as /var/lib/backstay, or chmod o+x %s", parent, parent)
		}
	}
	return nil
}

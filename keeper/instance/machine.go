package instance

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/cgroup"
	"github.com/backstay/backstay/endpoint"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/keeper/build"
	"github.com/backstay/backstay/keeper/node"
)

// Machine is what the instances of one keeper share. It is not changed once the first of them runs.
type Machine struct {
	DataDir   string
	Host      string   // that endpoints name
	Listen    []string // addresses that engines bind
	Engines   map[string]engine.Engine
	Installed *build.Store
	Records   Records
	Disks     *Disks
	Slots     *semaphore.Weighted  // bounds how many data directories are made at once: it is mostly copying
	AskEvery  func() time.Duration // how often an engine is asked, at most, whether it still serves
	Copies    *semaphore.Weighted  // bounds how many nodes are restored or cloned at once
	Vault     Vault                // nil: nothing is backed up here, and nothing restored
	Front     endpoint.Front       // that stands before the nodes of an instance of two: its program and its build
	Groups    *cgroup.Groups       // of processes, one for each instance; nil: nothing is limited
	Now       func() time.Time
	Log       *slog.Logger
	// ImagesOn tells why there can be no volumes with a file system of their own on a disk now, or nil.
	ImagesOn func(context.Context, *Disk) error
	// Source is the node of an instance of this machine while it serves, of which a clone is to be made.
	Source func(context.Context, backstay.InstanceID) (node.Node, error)

	passed passes
	proof  sync.Mutex // held by whoever uses the place of proofs
}

// RunDir is for the Unix sockets of the instance that has the port, or of a private one: its path is short.
func (m *Machine) RunDir(id backstay.InstanceID, port int) string {
	if port == 0 {
		return filepath.Join(m.DataDir, "run", string(id))
	}
	return filepath.Join(m.DataDir, "run", strconv.Itoa(port))
}

// CacheDir is shared by all nodes of an engine.
func (m *Machine) CacheDir(name string) (string, error) {
	dir := filepath.Join(m.DataDir, "cache", name)
	return dir, node.MakeDir(dir, node.ThroughMode())
}

// firstData is the name of the data directory that an instance begins with.
const firstData = "data"

// dataName is the name of a data directory as a record has it: empty for the first.
func dataName(recorded string) string { return cmp.Or(recorded, firstData) }

// sizeHere is a plan's size as an engine is told of it: one that is told of more memory than the machine has
// does not start.
func sizeHere(s backstay.Size) backstay.Size {
	if has := Memory(); has > 0 {
		s.Memory = min(s.Memory, has)
	}
	return s
}

// Memory is all memory of this machine, and 0 if the system does not tell.
func Memory() backstay.Bytes {
	var machine unix.Sysinfo_t
	if err := unix.Sysinfo(&machine); err != nil {
		return 0
	}
	return backstay.Bytes(machine.Totalram) * backstay.Bytes(machine.Unit)
}

// operator is the name of our own operating-system user, by which engines let us administer them.
var operator = sync.OnceValue(func() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Geteuid())
})

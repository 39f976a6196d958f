package instance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/keeper/node"
	"github.com/backstay/backstay/volume"
)

// Disk is where nodes lie: the data directory, or a directory on another disk, which may be away.
type Disk struct {
	Dir     string
	Reserve backstay.Bytes // what its volumes leave of it

	pools map[volume.Kind]volume.Pool
	away  bool // it may be: nothing is made in its place then
	notes *mountNotes
}

func newDisk(dir string, reserve backstay.Bytes) *Disk {
	d := &Disk{Dir: dir, Reserve: reserve}
	d.pools = map[volume.Kind]volume.Pool{
		volume.Image:     &volume.Images{Root: d.volumes(), Mounts: d.Instances(), Reserve: reserve},
		volume.Directory: &volume.Directories{Root: d.Instances(), Reserve: reserve},
	}
	return d
}

func (d *Disk) volumes() string { return filepath.Join(d.Dir, "volumes") } // of images
func (d *Disk) kept() string    { return filepath.Join(d.Dir, "kept") }    // data of instances that were removed

// Instances is where the directories of nodes are, or their volumes are mounted.
func (d *Disk) Instances() string { return filepath.Join(d.Dir, "instances") }

// Pool is where volumes of a kind lie on the disk.
func (d *Disk) Pool(kind volume.Kind) volume.Pool { return d.pools[kind] }

// Images is the pool of volumes that keep to their size.
func (d *Disk) Images() *volume.Images { return d.pools[volume.Image].(*volume.Images) }

// Free is what the disk has left for us.
func (d *Disk) Free() (backstay.Bytes, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(d.Dir, &fs); err != nil {
		return 0, fmt.Errorf("measure free space: %w", err)
	}
	return backstay.Bytes(int64(fs.Bavail) * fs.Bsize), nil
}

// Size is how much the disk holds, and 0 if the system does not tell.
func (d *Disk) Size() backstay.Bytes {
	var fs unix.Statfs_t
	if err := unix.Statfs(d.Dir, &fs); err != nil {
		return 0
	}
	return backstay.Bytes(fs.Blocks) * backstay.Bytes(fs.Bsize)
}

// errAway is that of a disk that is not there.
var errAway = errors.New("the disk is away")

// Ready makes the directories of the disk, if it is there. It is Unavailable where the directory is missing or cannot
// be written to, or where it lies on another disk than it did before: that is where the disk is to be mounted.
func (d *Disk) Ready() error {
	if !d.away {
		return nil
	}
	at, err := d.mountPoint()
	if err == nil {
		err = d.notes.recognize(d.Dir, at)
	}
	if err == nil {
		err = errors.Join(node.MakeDir(d.Instances(), node.ThroughMode()), node.MakeDir(d.volumes(), 0o700))
	}
	if err != nil {
		return backstay.Wrapf(errors.Join(errAway, err), backstay.Unavailable, "The disk for standbys is not there.")
	}
	return nil
}

// mountPoint is where the file system is mounted that the disk's directory is on.
func (d *Disk) mountPoint() (string, error) {
	var here, above unix.Stat_t
	if err := unix.Stat(d.Dir, &here); err != nil {
		return "", &fs.PathError{Op: "stat", Path: d.Dir, Err: err}
	}
	at := filepath.Clean(d.Dir)
	for ; at != "/"; at = filepath.Dir(at) {
		if err := unix.Stat(filepath.Dir(at), &above); err != nil {
			return "", &fs.PathError{Op: "stat", Path: filepath.Dir(at), Err: err}
		}
		if above.Dev != here.Dev {
			break
		}
	}
	return at, nil
}

// mountNotes is a file in which it is noted where the disks of directories were mounted.
type mountNotes struct {
	path string
	mu   sync.Mutex
}

// recognize refuses a directory that lies on the file system above the one that it was on when it was used last, and
// notes where it is now.
func (n *mountNotes) recognize(dir, at string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	noted := map[string]string{}
	text, err := os.ReadFile(n.path)
	if err == nil {
		err = json.Unmarshal(text, &noted)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch before := noted[dir]; {
	case before == at:
		return nil
	case before != "" && !strings.HasPrefix(at, strings.TrimSuffix(before, "/")+"/"):
		return errors.New("nothing is mounted at " + before)
	}
	noted[dir] = at
	if text, err = json.Marshal(noted); err != nil {
		return err
	}
	return atomicfile.Write(n.path, text, 0o600)
}

// Disks are those of a machine.
type Disks struct {
	Standby string // where second nodes are made; empty: beside the first

	data  *Disk
	notes mountNotes

	mu    sync.Mutex
	known map[string]*Disk // others, by their directories
}

// NewDisks returns the disks of a data directory, where standbys lie in another one if that is not empty. Of each, the
// volumes leave a reserve. Notes is a file in which it is remembered where disks were mounted.
func NewDisks(data, standby, notes string, reserve backstay.Bytes) *Disks {
	d := &Disks{Standby: standby, data: newDisk(data, reserve), known: map[string]*Disk{}}
	d.notes.path = notes
	if standby != "" {
		d.At(standby)
	}
	return d
}

// Data is the disk of the data directory.
func (d *Disks) Data() *Disk { return d.data }

// At is the disk with that directory, which records name; empty: the data directory's.
func (d *Disks) At(dir string) *Disk {
	if dir == "" {
		return d.data
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known[dir] == nil {
		d.known[dir] = newDisk(dir, d.data.Reserve)
		d.known[dir].away, d.known[dir].notes = true, &d.notes
	}
	return d.known[dir]
}

// All are the disks that were asked for by now, that of the data directory first.
func (d *Disks) All() []*Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := []*Disk{d.data}
	for _, other := range d.known {
		all = append(all, other)
	}
	return all
}

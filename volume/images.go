package volume

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/step"
)

// Images is a pool of thin images with file systems of their own. It needs root, loop devices, XFS and mkfs.xfs.
type Images struct {
	Root    string         // a directory
	Reserve backstay.Bytes // of what its disk has free, what volumes leave

	preparing sync.Mutex // of prepared images
	balancing sync.Mutex // of allocated, and of all ballasts
	allocated map[backstay.InstanceID]grown
}

// grown is what an image had of the pool at the last balance, and how quickly it takes more.
type grown struct{ to, pace backstay.Bytes }

// probe is the volume that is made to see whether volumes can be made. No instance has an identifier like it.
const probe backstay.InstanceID = "probe"

// Try tells why the machine cannot have such volumes, in a sentence, or nil.
func (p *Images) Try(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return backstay.Errorf(backstay.Unsupported,
			"Storage is not enforced: volumes with a file system of their own take root.")
	}
	if _, err := exec.LookPath("mkfs.xfs"); err != nil {
		return backstay.Errorf(backstay.Unsupported,
			"Storage is not enforced: there is no mkfs.xfs. Type: apt-get install xfsprogs")
	}
	_, err := p.Ensure(ctx, probe, portion)
	if err := errors.Join(err, p.Remove(ctx, probe)); err != nil {
		return backstay.Wrapf(err, backstay.Unsupported,
			"Storage is not enforced: this machine cannot mount images. The log says why.")
	}
	return nil
}

// Enforced tells that volumes keep to their size.
func (p *Images) Enforced() bool { return true }

// Ensure makes and mounts the volume, and gives it its size.
func (p *Images) Ensure(ctx context.Context, id backstay.InstanceID, size backstay.Bytes) (string, error) {
	v := p.volume(id)
	if size > largest {
		return "", backstay.Errorf(backstay.Unsupported, "A volume of %v cannot be had: the largest is %v.", size, largest)
	}
	return v.mountPoint, step.Run(ctx, p.ensureSteps(v, size)...)
}

func (p *Images) ensureSteps(v volume, size backstay.Bytes) []step.Step {
	return []step.Step{
		{Name: "prepare image", Do: p.prepare},
		{Name: "clone image", Do: func(context.Context) error { return p.clone(v, size) }},
		{Name: "record size", Do: func(context.Context) error { return v.promise(size) }},
		{Name: "make mount point", Do: func(context.Context) error { return os.MkdirAll(v.mountPoint, 0o711) }},
		{Name: "mount volume", Do: func(context.Context) error { return v.mount() }},
		{Name: "balance pool", Do: func(context.Context) error { _, err := p.Balance(); return err }},
	}
}

// Remove unmounts the volume and removes its image.
func (p *Images) Remove(ctx context.Context, id backstay.InstanceID) error {
	return step.Run(ctx, removeSteps(p.volume(id))...)
}

func removeSteps(v volume) []step.Step {
	return []step.Step{
		{Name: "unmount volume", Do: v.unmount},
		{Name: "remove half-made image", Do: func(context.Context) error { return atomicfile.Remove(v.image + halfMade) }},
		{Name: "remove mount point", Do: func(context.Context) error { return ignoreAbsent(unix.Rmdir(v.mountPoint)) }},
		{Name: "remove image", Do: func(context.Context) error { return atomicfile.Remove(v.image) }},
	}
}

func ignoreAbsent(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// StepNames lists the steps by which volumes are made and removed.
func StepNames() []string {
	p := &Images{}
	return append(step.Names(p.ensureSteps(volume{}, 0)), step.Names(removeSteps(volume{}))...)
}

// halfMade ends the name of an image that may not be whole.
const halfMade = ".new"

// Found lists the volumes that have an image, be it half-made, or a mount point.
func (p *Images) Found() ([]backstay.InstanceID, error) {
	var found []backstay.InstanceID
	for _, dir := range []string{"images", "mounts"} {
		entries, err := os.ReadDir(filepath.Join(p.Root, dir))
		if ignoreAbsent(err) != nil {
			return nil, err
		}
		for _, e := range entries {
			name := strings.TrimSuffix(strings.TrimSuffix(e.Name(), halfMade), ".img")
			if name != preparedName {
				found = append(found, backstay.InstanceID(name))
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// Usage asks the file system.
func (p *Images) Usage(id backstay.InstanceID) (Usage, error) {
	m, err := p.volume(id).open()
	if err != nil {
		return Usage{}, err
	}
	defer m.close()
	return Usage{Used: m.used(), Free: m.free(), Held: max(0, m.room()-m.free())}, nil
}

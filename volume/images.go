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
	Root    string         // a directory, for images
	Mounts  string         // a directory, in which each volume has its mount point
	Reserve backstay.Bytes // of what its disk has free, what volumes leave

	preparing sync.Mutex // of prepared images
	balancing sync.Mutex // of allocated, and of all ballasts
	allocated map[backstay.InstanceID]grown
}

// grown is what an image had of the pool at the last balance, and how quickly it takes more.
type grown struct{ to, pace backstay.Bytes }

// probe is the volume that is made to see whether volumes can be made. No instance has an identifier like it.
const probe backstay.InstanceID = ".probe"

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
	if err := CheckSize(size); err != nil {
		return "", err
	}
	return v.mountPoint, step.Run(ctx, append(p.makeSteps(v, size), p.mountSteps(id, size)...)...)
}

// CheckSize is Unsupported for more than a volume can have.
func CheckSize(size backstay.Bytes) error {
	if size > largest {
		return backstay.Errorf(backstay.Unsupported, "A volume of %v cannot be had: the largest is %v.", size, largest)
	}
	return nil
}

// Mount mounts a volume that is there, and gives it its size.
func (p *Images) Mount(ctx context.Context, id backstay.InstanceID, size backstay.Bytes) (string, error) {
	v := p.volume(id)
	if !exists(v.image) {
		return "", backstay.Errorf(backstay.NotFound, "The image %s is missing.", filepath.Base(v.image))
	}
	if err := CheckSize(size); err != nil {
		return "", err
	}
	return v.mountPoint, step.Run(ctx, p.mountSteps(id, size)...)
}

// Unmount takes a volume out of use.
func (p *Images) Unmount(ctx context.Context, id backstay.InstanceID) error {
	return p.volume(id).unmount(ctx)
}

func (p *Images) makeSteps(v volume, size backstay.Bytes) []step.Step {
	return []step.Step{
		{Name: "volume.image-prepared", Do: p.prepare},
		{Name: "volume.image-cloned", Do: func(context.Context) error { return p.clone(v, size) }},
	}
}

func (p *Images) mountSteps(id backstay.InstanceID, size backstay.Bytes) []step.Step {
	v := p.volume(id)
	return []step.Step{
		{Name: "volume.size-recorded", Do: func(context.Context) error { return v.promise(size) }},
		{Name: "volume.mount-point-made", Do: func(context.Context) error {
			return os.MkdirAll(v.mountPoint, 0o711)
		}},
		{Name: "volume.mounted", Do: func(context.Context) error { return v.mount() }},
		{Name: "volume.balanced", Do: func(context.Context) error { return p.settle(id) }},
	}
}

// Remove unmounts the volume and removes its image.
func (p *Images) Remove(ctx context.Context, id backstay.InstanceID) error {
	return step.Run(ctx, removeSteps(p.volume(id))...)
}

func removeSteps(v volume) []step.Step {
	return []step.Step{
		{Name: "volume.unmounted", Do: v.unmount},
		{Name: "volume.half-made-removed", Do: func(context.Context) error {
			return atomicfile.Remove(v.image + halfMade)
		}},
		{Name: "volume.mount-point-removed", Do: func(context.Context) error {
			return ignoreAbsent(unix.Rmdir(v.mountPoint))
		}},
		{Name: "volume.image-removed", Do: func(context.Context) error { return atomicfile.Remove(v.image) }},
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
	steps := append(p.makeSteps(volume{}, 0), p.mountSteps("", 0)...)
	return step.Names(append(steps, removeSteps(volume{})...))
}

// halfMade ends the name of an image that may not be whole.
const halfMade = ".new"

// Found lists the volumes that have an image, be it half-made: that is made before the mount point, and removed behind
// it.
func (p *Images) Found() ([]backstay.InstanceID, error) {
	var found []backstay.InstanceID
	entries, err := os.ReadDir(p.Root)
	if ignoreAbsent(err) != nil {
		return nil, err
	}
	for _, e := range entries {
		name, isImage := strings.CutSuffix(strings.TrimSuffix(e.Name(), halfMade), ".img")
		if isImage && name != preparedName && name != string(probe) {
			found = append(found, backstay.InstanceID(name))
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// Detach unmounts the volume, and moves it to the path of a file on the same disk, in the place of Remove. Where there
// is no such volume, that has been done.
func (p *Images) Detach(ctx context.Context, id backstay.InstanceID, path string) error {
	v := p.volume(id)
	if err := v.unmount(ctx); err != nil {
		return err
	}
	if err := ignoreAbsent(os.Rename(v.image, path)); err != nil {
		return err
	}
	return errors.Join(atomicfile.SyncDir(filepath.Dir(path)), p.Remove(ctx, id))
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

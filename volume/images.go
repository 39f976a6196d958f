package volume

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/step"
)

// Images is a pool of thin images with file systems of their own. It needs root, loop devices, XFS and mkfs.xfs, and
// for encrypted ones dm-crypt and cryptsetup, or ext4 and mkfs.ext4.
type Images struct {
	Root    string         // a directory, for images
	Mounts  string         // a directory, in which each volume has its mount point
	Reserve backstay.Bytes // of what its disk has free, what volumes leave

	choosing  sync.Mutex // of encrypted
	encrypted *kind      // of new encrypted volumes, where that is known
	preparing sync.Mutex // of prepared images
	balancing sync.Mutex // of allocated, and of all ballasts
	allocated map[backstay.InstanceID]grown
	slow      slow
}

// grown is what an image had of the pool at the last balance, and how quickly it takes more.
type grown struct{ to, pace backstay.Bytes }

// The volumes that are made to see whether volumes can be made. No instance has identifiers like them.
const (
	probe          backstay.InstanceID = ".probe"
	probeEncrypted backstay.InstanceID = ".probe-encrypted"
)

// noVolumes are the names of images that are no instance's.
var noVolumes = []string{xfs.prepared, ext4.prepared, string(probe), string(probeEncrypted)}

// Enforced tells that volumes keep to their size.
func (p *Images) Enforced() bool { return true }

// Ensure makes and mounts the volume, and gives it its size.
func (p *Images) Ensure(ctx context.Context, id backstay.InstanceID, wanted Wanted) (string, error) {
	if err := CheckSize(wanted); err != nil {
		return "", err
	}
	v := p.volume(id)
	k, err := p.kindFor(ctx, v, wanted)
	if err != nil {
		return "", err
	}
	return v.mountPoint, step.Run(ctx, append(p.makeSteps(id, k, wanted), p.mountSteps(id, k, wanted)...)...)
}

// CheckSize is Unsupported for more than a volume can have.
func CheckSize(wanted Wanted) error {
	if largest := wanted.Largest(); wanted.Size > largest {
		return backstay.Errorf(backstay.Unsupported,
			"A volume of %v cannot be had: the largest is %v.", wanted.Size, largest)
	}
	return nil
}

// Mount mounts a volume that is there, and gives it its size.
func (p *Images) Mount(ctx context.Context, id backstay.InstanceID, wanted Wanted) (string, error) {
	v := p.volume(id)
	if !exists(v.image) {
		return "", backstay.Errorf(backstay.NotFound, "The image %s is missing.", filepath.Base(v.image))
	}
	k, err := p.kindFor(ctx, v, wanted)
	if err := errors.Join(CheckSize(wanted), err); err != nil {
		return "", err
	}
	return v.mountPoint, step.Run(ctx, p.mountSteps(id, k, wanted)...)
}

// Unmount takes a volume out of use.
func (p *Images) Unmount(ctx context.Context, id backstay.InstanceID) error {
	return p.volume(id).unmount(ctx)
}

func (p *Images) makeSteps(id backstay.InstanceID, k *kind, wanted Wanted) []step.Step {
	return []step.Step{
		{Name: "volume.image-prepared", Do: func(ctx context.Context) error { return p.prepare(ctx, k.fileSystem) }},
		{Name: "volume.image-cloned", Do: func(ctx context.Context) error { return p.clone(ctx, p.volume(id), k, wanted) }},
	}
}

func (p *Images) mountSteps(id backstay.InstanceID, k *kind, wanted Wanted) []step.Step {
	v := p.volume(id)
	return []step.Step{
		{Name: "volume.size-recorded", Do: func(context.Context) error { return v.promise(wanted.Size) }},
		{Name: "volume.mount-point-made", Do: func(context.Context) error { return v.makeMountPoint() }},
		{Name: "volume.mounted", Do: func(ctx context.Context) error { return v.mount(ctx, k, wanted.Key) }},
		{Name: "volume.unlocked", Do: func(ctx context.Context) error { return k.unlock(ctx, v, wanted.Key) }},
		{Name: "volume.balanced", Do: func(context.Context) error { return p.settle(id) }},
	}
}

// Remove unmounts the volume, with which the kernel forgets the key of an encrypted one, and removes its image.
func (p *Images) Remove(ctx context.Context, id backstay.InstanceID) error {
	return step.Run(ctx, removeSteps(p.volume(id))...)
}

func removeSteps(v volume) []step.Step {
	return []step.Step{
		{Name: "volume.unmounted", Do: v.unmount},
		{Name: "volume.half-made-removed", Do: func(ctx context.Context) error {
			if err := unmap(ctx, v.image+halfMade); err != nil {
				return err
			}
			return discard(v.image + halfMade)
		}},
		{Name: "volume.mount-point-removed", Do: func(context.Context) error {
			return ignoreAbsent(unix.Rmdir(v.mountPoint))
		}},
		{Name: "volume.image-removed", Do: func(context.Context) error {
			// What is being removed is not taken for a volume again, as its key is destroyed first.
			err := ignoreAbsent(os.Rename(v.image, v.image+halfMade))
			if err = errors.Join(err, ignoreAbsent(atomicfile.SyncDir(filepath.Dir(v.image)))); err != nil {
				return err
			}
			return discard(v.image + halfMade)
		}},
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
	steps := append(p.makeSteps("", plain, Wanted{}), p.mountSteps("", plain, Wanted{})...)
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
		if isImage && !slices.Contains(noVolumes, name) {
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

// EncryptedBy reads what is noted on the image.
func (p *Images) EncryptedBy(id backstay.InstanceID) (way string, err error) {
	k, err := kindOf(p.volume(id).image)
	if err != nil {
		return "", err
	}
	return k.way, nil
}

package keeper

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/volume"
)

// disk is what was seen of the disk before a new instance is admitted.
type disk struct {
	volume.Room
	pooled bool           // new instances get volumes of its pool
	data   backstay.Bytes // that a new instance begins with
}

// look looks at the disk, which k.mu is not held over.
func (k *Keeper) look(spec backend.Spec) (seen disk, err error) {
	kind, err := k.kindOfNew()
	seen.pooled = err == nil && kind == volume.Image // else there is an error when the volume is made
	if seen.pooled {
		seen.Room, err = k.machine.Pools[volume.Image].Room()
		seen.data = k.beginning(spec)
	} else {
		seen.Free, err = k.free()
	}
	if err != nil {
		return seen, fmt.Errorf("measure free space: %w", err)
	}
	return seen, nil
}

// beginning is how much data a new instance begins with: of the backup or the instance that it is made of.
func (k *Keeper) beginning(spec backend.Spec) (data backstay.Bytes) {
	switch from := spec.Origin; {
	case from == nil:
	case from.Clone:
		in, err := k.instance(from.Instance)
		if err != nil {
			return 0 // there is a better error when it is made
		}
		usage, _ := k.machine.Pools[in.Record().Volume].Usage(from.Instance)
		return usage.Used
	default:
		kept, _ := k.custody.Backups(from.Instance)
		for _, b := range kept.List {
			if from.Backup == "" || b.ID == from.Backup {
				data = b.Data
			}
		}
	}
	return data
}

// checkRoom is Unavailable if a new instance would leave too little of the disk free, or of its pool too little for all
// instances to have their last room. k.mu is held.
func (k *Keeper) checkRoom(spec backend.Spec, seen disk) error {
	if seen.Free < k.MinFree {
		return backstay.Errorf(backstay.Unavailable, "The disk is nearly full: %d MB are free, "+
			"and a new service must leave %d MB. Delete services, or ask the operator for more room.",
			seen.Free/backstay.MB, k.MinFree/backstay.MB)
	}
	if !seen.pooled || promise(spec) == 0 {
		return nil
	}
	kept, takes := seen.Kept+k.begun(spec.Instance, seen.Volumes), volume.Newcomer+seen.data
	if seen.Reserve+kept+takes <= seen.Free {
		return nil
	}
	promised, _ := k.promised(spec.Instance, promise)
	return backstay.Errorf(backstay.Unavailable, "The disk is nearly full: of %d MB that are free, %d MB are kept for "+
		"the platform and %d MB for the services that there are, to which %d GB are promised. A new service takes %d MB of "+
		"them. Delete services or data, or ask the operator for a larger disk, or a smaller `volume-reserve`.",
		seen.Free/backstay.MB, seen.Reserve/backstay.MB, kept/backstay.MB, promised/backstay.GB, takes/backstay.MB)
}

// begun is what instances take of the pool that are admitted, and of which there was no volume yet when the pool was
// looked at. k.mu is held.
func (k *Keeper) begun(but backstay.InstanceID, volumes []backstay.InstanceID) (taken backstay.Bytes) {
	k.each(func(r instance.Record) {
		id := r.Spec.Instance
		if id != but && promise(r.Spec) > 0 && !r.Removing && !slices.Contains(volumes, id) && k.begins(r) {
			taken += volume.Newcomer
		}
	})
	return taken
}

// begins tells whether the instance of the record has, or gets, a volume of the pool.
func (k *Keeper) begins(r instance.Record) bool {
	_, admitted := k.admitted[r.Spec.Instance]
	return admitted || r.Volume == volume.Image
}

// free is what the disk has left for us.
func (k *Keeper) free() (backstay.Bytes, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(k.DataDir, &fs); err != nil {
		return 0, fmt.Errorf("measure free space: %w", err)
	}
	return backstay.Bytes(int64(fs.Bavail) * fs.Bsize), nil
}

// room is the most that one instance can ever have here: what the machine has, and what the disk holds.
func (k *Keeper) room() backstay.Size {
	size := backstay.Size{Memory: instance.Memory()}
	var fs unix.Statfs_t
	if err := unix.Statfs(k.DataDir, &fs); err == nil {
		size.Storage = backstay.Bytes(fs.Blocks) * backstay.Bytes(fs.Bsize)
	}
	return size
}

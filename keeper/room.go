package keeper

import (
	"context"
	"fmt"
	"slices"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/volume"
)

// disk is what was seen of a disk before an instance gets a node there.
type disk struct {
	volume.Room
	on     *instance.Disk
	pooled bool           // new nodes get volumes of its pool
	data   backstay.Bytes // that a new node begins with
}

// look looks at the disks that a Spec wants new nodes on, which k.mu is not held over.
func (k *Keeper) look(ctx context.Context, spec backend.Spec) (seen []disk, err error) {
	k.mu.Lock()
	in, known := k.instances[spec.Instance]
	k.mu.Unlock()
	if spec.Private || spec.Served != nil { // what has served is there already
		return nil, nil
	}
	r := instance.Record{Spec: spec}
	if known {
		r = in.Record()
	}
	disks := k.machine.DisksOf(r, spec)
	switch {
	case known && len(disks) > 1 && disks[1] != disks[0] && r.LacksSecond(spec):
		disks = disks[1:]
	case known:
		return nil, nil
	}
	for _, d := range slices.Compact(disks) { // of two nodes on one disk, the second has what the first leaves
		one, err := k.lookAt(ctx, d, spec)
		if err != nil {
			return nil, err
		}
		seen = append(seen, one)
	}
	return seen, nil
}

func (k *Keeper) lookAt(ctx context.Context, d *instance.Disk, spec backend.Spec) (seen disk, err error) {
	seen.on = d
	if err := d.Ready(); err != nil {
		return seen, err
	}
	kind, err := k.kindOn(ctx, d)
	if err != nil && d != k.machine.Disks.Data() && promise(spec) > 0 { // there, it is told when it is made
		return seen, err
	}
	seen.pooled = err == nil && kind == volume.Image
	if seen.pooled {
		seen.Room, err = d.Images().Room()
		seen.data = k.beginning(spec)
	} else {
		seen.Free, err = d.Free()
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
		usage, _ := k.machine.Usage(in.Record())
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

// checkRoom is Unavailable if a new node would leave too little of its disk free, or of its pool too little for all
// instances to have their last room. k.mu is held.
func (k *Keeper) checkRoom(spec backend.Spec, seen []disk) error {
	for _, d := range seen {
		if err := k.checkRoomOn(d, spec); err != nil {
			return err
		}
	}
	return nil
}

func (k *Keeper) checkRoomOn(seen disk, spec backend.Spec) error {
	name := k.nameOf(seen.on)
	if seen.Free < k.MinFree {
		return backstay.Errorf(backstay.Unavailable, "%s is nearly full: %d MB are free, "+
			"and a new service must leave %d MB. Delete services, or ask the operator for more room.",
			name, seen.Free/backstay.MB, k.MinFree/backstay.MB)
	}
	if !seen.pooled || promise(spec) == 0 {
		return nil
	}
	kept, takes := seen.Kept+k.begun(spec.Instance, seen), volume.Newcomer+seen.data
	if seen.Reserve+kept+takes <= seen.Free {
		return nil
	}
	promised, _ := k.promised(spec.Instance, k.promiseOn(seen.on))
	return backstay.Errorf(backstay.Unavailable, "%s is nearly full: of %d MB that are free, %d MB are kept for "+
		"the platform and %d MB for the services that there are, to which %d GB are promised. A new service takes %d MB of "+
		"them. Delete services or data, or ask the operator for a larger disk, or a smaller `volume-reserve`.", name,
		seen.Free/backstay.MB, seen.Reserve/backstay.MB, kept/backstay.MB, promised/backstay.GB, takes/backstay.MB)
}

// nameOf is what a disk is called in a sentence for users.
func (k *Keeper) nameOf(d *instance.Disk) string {
	if d == k.machine.Disks.Data() {
		return "The disk"
	}
	return "The disk for standbys"
}

// begun is what instances take of a pool that are admitted, and of which there was no volume yet when the pool was
// looked at. k.mu is held.
func (k *Keeper) begun(but backstay.InstanceID, seen disk) (taken backstay.Bytes) {
	k.each(func(r instance.Record) {
		if r.Spec.Instance == but || promise(r.Spec) == 0 || r.Removing || !k.begins(r) {
			return
		}
		homes := []backstay.InstanceID{r.Home(), r.SecondHome()}
		for i, d := range slices.Compact(k.machine.DisksOf(r, r.Spec)) {
			if d == seen.on && !slices.Contains(seen.Volumes, homes[i]) {
				taken += volume.Newcomer
			}
		}
		for _, rep := range r.Replicas {
			if seen.on == k.machine.Disks.Data() && !slices.Contains(seen.Volumes, instance.Home(r.Spec.Instance, rep.Place)) {
				taken += volume.Newcomer
			}
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
func (k *Keeper) free() (backstay.Bytes, error) { return k.machine.Disks.Data().Free() }

// room is the most that one instance can ever have here: what the machine has, and what the disk holds.
func (k *Keeper) room() backstay.Size {
	return backstay.Size{Memory: instance.Memory(), Storage: k.machine.Disks.Data().Size()}
}

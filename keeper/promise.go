package keeper

import (
	"cmp"
	"slices"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/volume"
)

// promise is how much of a disk is promised for each node by a plan, with what its volume takes besides. Nothing is
// promised of our own databases.
func promise(s backend.Spec) backstay.Bytes {
	if s.Private || s.Size.Storage == 0 {
		return 0
	}
	return instance.VolumeSize(s.Size.Storage) + volume.Log
}

// promiseOn is how much of the disk is promised to an instance.
func (k *Keeper) promiseOn(d *instance.Disk) func(instance.Record) backstay.Bytes {
	return func(r instance.Record) (promised backstay.Bytes) {
		for _, other := range k.machine.DisksOf(r, r.Spec) {
			if other == d {
				promised += promise(r.Spec)
			}
		}
		if d == k.machine.Disks.Data() {
			promised += promise(r.Spec) * backstay.Bytes(r.Spec.FurtherReplicas())
		}
		return promised
	}
}

// memoryPromise is how much of the machine's memory is promised by a plan: that of an instance of several nodes, of
// which each must be able to do alone what the other did, and further replicas are to keep up. Others share what is
// left.
func memoryPromise(r instance.Record) backstay.Bytes {
	s := r.Spec
	if s.Nodes < 2 {
		return 0
	}
	return s.Size.Memory * backstay.Bytes(s.AllNodes())
}

// checkPromises is Unavailable if the Spec would have more promised than the operator allows, or the machine has. What
// asks for no more than it has is never refused. k.mu is held.
func (k *Keeper) checkPromises(spec backend.Spec) error {
	return cmp.Or(k.checkStorage(spec), k.checkMemory(spec))
}

// as is the instance as it is, or will be, with a Spec. k.mu is held.
func (k *Keeper) as(spec backend.Spec) instance.Record {
	r := instance.Record{}
	if in, known := k.instances[spec.Instance]; known {
		r = in.Record()
	}
	r.Spec = spec
	return r
}

func (k *Keeper) checkStorage(spec backend.Spec) error {
	r := k.as(spec)
	for _, d := range slices.Compact(k.machine.DisksOf(r, spec)) {
		if err := k.checkStorageOn(d, r); err != nil {
			return err
		}
	}
	return nil
}

func (k *Keeper) checkStorageOn(d *instance.Disk, r instance.Record) error {
	limit := k.promisable(d)
	if limit == 0 {
		return nil
	}
	promised, had := k.promised(r.Spec.Instance, k.promiseOn(d))
	asked := k.promiseOn(d)(r)
	if asked <= had || promised+asked <= limit {
		return nil
	}
	k.Log.Warn("more storage is asked for than may be promised", "instance", r.Spec.Instance, "asked", asked,
		"promised", promised+had, "limit", limit, "overcommit", k.Overcommit, "dir", d.Dir)
	where := "here"
	if d != k.machine.Disks.Data() {
		where = "on the disk for standbys"
	}
	return backstay.Errorf(backstay.Unavailable, "No %v of storage can be promised %s any more: of %d GB that the "+
		"operator allows, %d GB are. Choose a smaller plan, delete services, or ask the operator for a larger disk, or more "+
		"`overcommit`.", r.Spec.Size.Storage, where, limit/backstay.GB, (promised+had)/backstay.GB)
}

func (k *Keeper) checkMemory(spec backend.Spec) error {
	has := k.room().Memory
	promised, had := k.promised(spec.Instance, memoryPromise)
	asked := memoryPromise(instance.Record{Spec: spec})
	if has == 0 || asked <= had || promised+asked <= has {
		return nil
	}
	if asked > has {
		return backstay.Errorf(backstay.Unavailable, "%d nodes with %v of memory each are more than this machine of %d GB "+
			"can have. Choose a smaller plan, one of a single node, or fewer `read_replicas`.",
			spec.AllNodes(), spec.Size.Memory, has/backstay.GB)
	}
	k.Log.Warn("more memory is asked for than can be promised", "instance", spec.Instance, "asked", asked,
		"promised", promised+had, "machine", has)
	return backstay.Errorf(backstay.Unavailable, "No %v of memory for each of %d nodes can be promised here any more: of "+
		"%d GB that the machine has, %d GB are. Choose a smaller plan or one of a single node, delete services, or ask the "+
		"operator for more memory.", spec.Size.Memory, spec.AllNodes(), has/backstay.GB, (promised+had)/backstay.GB)
}

// promised is how much is promised to all instances but one, and to that. k.mu is held.
func (k *Keeper) promised(
	but backstay.InstanceID, promise func(instance.Record) backstay.Bytes,
) (others, had backstay.Bytes) {
	k.each(func(r instance.Record) {
		if r.Spec.Instance == but {
			had = promise(r)
			return
		}
		others += promise(r)
	})
	return others, had
}

// promisable is how much of a disk may be promised; 0: as much as is asked for.
func (k *Keeper) promisable(d *instance.Disk) backstay.Bytes {
	size := d.Size()
	if size == 0 {
		return 0
	}
	return backstay.Bytes(float64(max(0, size-k.Reserve)) * k.Overcommit)
}

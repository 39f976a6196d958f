package keeper

import (
	"cmp"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/volume"
)

// promise is how much of the disk is promised by a plan, with what its volume takes besides. Nothing is promised of our
// own databases.
func promise(s backend.Spec) backstay.Bytes {
	if s.Private || s.Size.Storage == 0 {
		return 0
	}
	return (instance.VolumeSize(s.Size.Storage) + volume.Log) * backstay.Bytes(max(1, s.Nodes))
}

// memoryPromise is how much of the machine's memory is promised by a plan: that of an instance of several nodes, of
// which each must be able to do alone what the other did. Others share what is left.
func memoryPromise(s backend.Spec) backstay.Bytes {
	if s.Nodes < 2 {
		return 0
	}
	return s.Size.Memory * backstay.Bytes(s.Nodes)
}

// checkPromises is Unavailable if the Spec would have more promised than the operator allows, or the machine has. What
// asks for no more than it has is never refused. k.mu is held.
func (k *Keeper) checkPromises(spec backend.Spec) error {
	return cmp.Or(k.checkStorage(spec), k.checkMemory(spec))
}

func (k *Keeper) checkStorage(spec backend.Spec) error {
	limit := k.promisable()
	if limit == 0 {
		return nil
	}
	promised, had := k.promised(spec.Instance, promise)
	asked := promise(spec)
	if asked <= had || promised+asked <= limit {
		return nil
	}
	k.Log.Warn("more storage is asked for than may be promised", "instance", spec.Instance, "asked", asked,
		"promised", promised+had, "limit", limit, "overcommit", k.Overcommit)
	return backstay.Errorf(backstay.Unavailable, "No %v of storage can be promised here any more: of %d GB that the "+
		"operator allows, %d GB are. Choose a smaller plan, delete services, or ask the operator for a larger disk, or more "+
		"`overcommit`.", spec.Size.Storage, limit/backstay.GB, (promised+had)/backstay.GB)
}

func (k *Keeper) checkMemory(spec backend.Spec) error {
	has := k.room().Memory
	promised, had := k.promised(spec.Instance, memoryPromise)
	asked := memoryPromise(spec)
	if has == 0 || asked <= had || promised+asked <= has {
		return nil
	}
	k.Log.Warn("more memory is asked for than can be promised", "instance", spec.Instance, "asked", asked,
		"promised", promised+had, "machine", has)
	return backstay.Errorf(backstay.Unavailable, "No %v of memory for each of %d nodes can be promised here any more: of "+
		"%d GB that the machine has, %d GB are. Choose a smaller plan or one of a single node, delete services, or ask the "+
		"operator for more memory.", spec.Size.Memory, spec.Nodes, has/backstay.GB, (promised+had)/backstay.GB)
}

// promised is how much is promised to all instances but one, and to that. k.mu is held.
func (k *Keeper) promised(
	but backstay.InstanceID, promise func(backend.Spec) backstay.Bytes,
) (others, had backstay.Bytes) {
	k.each(func(r instance.Record) {
		if r.Spec.Instance == but {
			had = promise(r.Spec)
			return
		}
		others += promise(r.Spec)
	})
	return others, had
}

// promisable is how much of the disk may be promised; 0: as much as is asked for.
func (k *Keeper) promisable() backstay.Bytes {
	disk := k.room().Storage
	if disk == 0 {
		return 0
	}
	return backstay.Bytes(float64(max(0, disk-k.Reserve)) * k.Overcommit)
}

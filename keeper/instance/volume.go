package instance

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper/node"
	"github.com/backstay/backstay/volume"
)

// Kept within a volume beside what its plan promises: room for an engine to end in an orderly way, to delete and to
// vacuum when it is full.
const (
	marginPart  = 20 // of the storage
	leastMargin = 128 * backstay.MB
)

// VolumeSize is how large the volume of an instance with that storage is.
func VolumeSize(storage backstay.Bytes) backstay.Bytes {
	return storage + max(leastMargin, storage/marginPart)
}

// volumeSize is how large the volume is to be now. Data that lies aside is not the tenant's to pay for, and where the
// wanted plan is smaller than the one that serves, nothing is taken away before it is reached. Where no plan promises
// anything, there is nothing to keep to.
func (r Record) volumeSize() backstay.Bytes {
	size := VolumeSize(r.storage())
	if r.liesAside() {
		size += r.storage()
	}
	return min(size, volume.Wanted{Key: r.Spec.Volume.Key}.Largest()-recoveryMost)
}

// storage is what the instance may use now.
func (r Record) storage() backstay.Bytes {
	storage := r.Spec.Size.Storage
	if r.Before != nil {
		storage = max(storage, r.Before.Size.Storage)
	}
	return storage
}

// volumeSize is the record's, with what the engine gets for its recovery.
func (in *Instance) volumeSize() backstay.Bytes {
	return in.Record().volumeSize() + in.guarded.refuge()
}

// room is what is known of the room that the instance has.
func (in *Instance) room() (now room, known bool) {
	r := in.Record()
	storage := r.storage()
	switch {
	case r.Spec.Private || storage == 0:
		return now, false
	case r.VolumeKind() == volume.Directory:
		in.mu.Lock()
		used := in.usage.Used
		in.mu.Unlock()
		return room{storage: storage, free: storage - used, watched: true}, used > 0 && !r.liesAside()
	}
	usage, err := in.m.Usage(r)
	kept := VolumeSize(storage) - storage + in.guarded.taken()
	return room{storage: storage, kept: kept, free: usage.Free, held: usage.Held}, err == nil
}

// lendPause is between tries to use room that a volume gets.
const lendPause = 100 * time.Millisecond

// lend has Run make a volume larger for a while that is full by its own size, and tells whether it does: what was to be
// written is to be tried again then.
func (in *Instance) lend(ctx context.Context) bool {
	r, known := in.room()
	return known && in.lendServing(r) && wait.Pause(ctx, lendPause) == nil
}

// lendServing has Run make the volume of an engine that serves in that room larger, at once: who fills it does not
// wait. It reports whether the volume is to be larger than it is.
func (in *Instance) lendServing(r room) bool {
	before := in.guarded.refuge()
	lent := in.guarded.lend(r, recoveryServes)
	if in.guarded.refuge() != before {
		in.wake()
	}
	return lent
}

// liesAside tells whether there is, or is about to be, data of the instance beside that in use.
func (r Record) liesAside() bool {
	if r.Kept != nil || r.Aside != "" || len(r.Gone) > 0 || restoresOf(r.Spec) > r.Restores {
		return true
	}
	return r.Before != nil && r.Before.Version != r.Spec.Version
}

// mountPatience is how long it may take to mount a volume, or to give it a size, where another node may take over.
const mountPatience = 10 * time.Second

// mountVolume has the instance's volume be there, as large as it is to be. One that held data is not made anew.
func (in *Instance) mountVolume(ctx context.Context) error {
	r, extra := in.Record(), in.guarded.refuge()
	pool, size := in.m.pool(r, r.Place), r.volumeSize()+extra
	if r.VolumeKind() == volume.Directory { // whoever prepares the node makes it, or tells that it is missing
		in.seen.volume = size
		return nil
	}
	mount := pool.Ensure
	if r.hasData() {
		mount = pool.Mount
	}
	err := in.onDisk(r.Place, mountPatience, func() error {
		_, err := mount(ctx, r.Home(), volume.Wanted{Size: size, Key: r.Spec.Volume.Key})
		return err
	})
	if err != nil {
		in.seen.volume = 0
		return volumeTrouble(err)
	}
	if before := in.seen.volume; before != 0 && before != size {
		in.log.Info("a volume has another size", "size", size, "before", before)
	}
	in.seen.volume = size
	in.guarded.took(extra)
	return nil
}

// resize gives the volume its size. If it was not there when processes were looked for, what is on it is looked at
// before one is started with that.
func (in *Instance) resize(ctx context.Context) error {
	wasThere := in.seen.volume != 0
	err := in.mountVolume(ctx)
	if err == nil && !wasThere && in.seen.process == nil {
		in.seen.looked = false
	}
	return err
}

// volumeTrouble is a sentence for users where a volume cannot be had.
func volumeTrouble(err error) error {
	switch kind := backstay.KindOf(err); {
	case isFull(err):
		return backstay.Wrapf(err, backstay.Unavailable, "The disk of the service instance's volume is full.")
	case kind == backstay.NotFound:
		return backstay.Wrapf(errors.Join(errMissing, err), backstay.Unavailable, "The volume of the service instance is "+
			"missing. Nothing is made in its place: the service instance serves again when it is back.")
	case kind == backstay.Internal:
		return backstay.Wrapf(err, backstay.Unavailable, "The volume of the service instance cannot be mounted. "+
			"The operator finds the reason in the keeper's log.")
	}
	return err
}

// forgetKey destroys the key of an encrypted volume, of which no more than a last copy is wanted. What is left of the
// data is worth nothing from then on.
func (in *Instance) forgetKey() error {
	if in.Record().Spec.Volume.Key == "" {
		return nil
	}
	return in.amendAlone(func(r *Record) {
		r.Spec.Volume.Key = ""
		if r.Before != nil {
			before := *r.Before
			before.Volume.Key = ""
			r.Before = &before
		}
	})
}

// isShredded tells whether the key of an encrypted volume was destroyed.
func (r Record) isShredded() bool { return r.Spec.Volume.Encrypted && r.Spec.Volume.Key == "" }

// removeFiles removes the instance's volume, and what lies elsewhere of its node, which has ended.
func (in *Instance) removeFiles(ctx context.Context, n node.Node) error {
	r := in.Record()
	for _, p := range allPlaces() {
		if err := in.clearPlace(ctx, p); err != nil {
			return err
		}
	}
	for _, port := range r.Ports() { // it may have been of two nodes, or of one
		if err := os.RemoveAll(in.m.RunDir(in.ID, port)); err != nil {
			return err
		}
	}
	if err := removeShared(r.UID); err != nil {
		return err
	}
	return os.RemoveAll(n.RunDir)
}

// detachVolume moves the volume to a directory as a file, if it is one that can be moved.
func (in *Instance) detachVolume(ctx context.Context, dir string) (detached bool, err error) {
	r := in.Record()
	images, ok := in.m.pool(r, r.Place).(*volume.Images)
	if !ok {
		return false, nil
	}
	return true, images.Detach(ctx, r.Home(), filepath.Join(dir, "volume.img"))
}

// Filled tells an instance whose volume is only watched how full that was a moment ago.
func (in *Instance) Filled(u volume.Usage) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.usage = u
}

// volumeKind is how the volume of an instance is made, of which there is none yet: kind, unless there is nothing that
// it could be kept to, or nothing of the reserve is to be kept from it.
func volumeKind(s backend.Spec, kind volume.Kind) volume.Kind {
	if s.Private || s.Size.Storage == 0 {
		return volume.Directory
	}
	return kind
}

// FoundVolume is the kind of an instance's volume: of the one that is there, else kind.
func (m *Machine) FoundVolume(s backend.Spec, kind volume.Kind) (volume.Kind, error) {
	for _, known := range []volume.Kind{volume.Image, volume.Directory} {
		found, err := m.Disks.Data().Pool(known).Found()
		if err != nil {
			return kind, err
		}
		for _, id := range found {
			if OfHome(id) == s.Instance {
				return known, nil
			}
		}
	}
	return volumeKind(s, kind), nil
}

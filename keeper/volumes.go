package keeper

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/volume"
)

// Volumes says how the volumes of new instances are made. Those that there are stay as they are.
type Volumes string

const (
	AutoVolumes      Volumes = "auto"        // as images where the machine can, else as directories
	ImageVolumes     Volumes = "images"      // which keep to their size; where the machine cannot, there is nothing new
	DirectoryVolumes Volumes = "directories" // which are only watched
)

// ParseVolumes reads one of the three.
func ParseVolumes(text string) (Volumes, error) {
	switch v := Volumes(text); v {
	case AutoVolumes, ImageVolumes, DirectoryVolumes:
		return v, nil
	}
	return "", errors.New("is none of auto, images and directories")
}

// disks are those that volumes lie on.
func (c Config) disks() *instance.Disks {
	return instance.NewDisks(c.DataDir, c.StandbyDir, c.dir("keeper", "mounts.json"), c.Reserve)
}

// tryPatience is for a machine that is so busy that it can hardly make a volume.
const tryPatience = time.Minute

// lookAgain is between two looks for what could not be found out.
const lookAgain = time.Second

// settled is something that is found out once. What cannot be found out now, because a disk is full or away for a
// while, is looked for again when it is asked for again.
type settled[T any] struct {
	find func(context.Context) (T, error)

	mu     sync.Mutex
	known  bool
	value  T
	why    error
	looked time.Time
}

// get is what was found, and why it is what it is.
func (s *settled[T]) get(ctx context.Context) (T, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known || !s.looked.IsZero() && time.Since(s.looked) < lookAgain {
		return s.value, s.why
	}
	limited, cancel := context.WithTimeout(ctx, tryPatience)
	defer cancel()
	value, why := s.find(limited)
	if ctx.Err() != nil { // which says nothing of the machine
		return value, ctx.Err()
	}
	s.value, s.why, s.looked = value, why, time.Now()
	s.known = why == nil || backstay.KindOf(why) == backstay.Unsupported
	return value, why
}

// newKind finds out of which kind the volumes of new instances are.
func (k *Keeper) newKind() *settled[volume.Kind] {
	said := ""
	return &settled[volume.Kind]{find: func(ctx context.Context) (volume.Kind, error) {
		if k.Volumes == "" || k.Volumes == DirectoryVolumes {
			return volume.Directory, nil
		}
		d := k.machine.Disks.Data()
		why := d.Images().Try(ctx)
		if why == nil {
			return volume.Image, nil
		}
		if k.Volumes == AutoVolumes && backstay.KindOf(why) == backstay.Unsupported {
			k.Log.Warn("the storage of new instances is not enforced", "dir", d.Dir, "why", why)
			return volume.Directory, nil
		}
		if said != why.Error() {
			k.Log.Error("there can be no new instances", "why", why)
		}
		said = why.Error()
		return volume.Image, backstay.Wrapf(why, backstay.Unavailable,
			"New services cannot have the storage that they promise. The operator finds the reason in the keeper's log.")
	}}
}

// newImages finds out, for each other disk, whether there can be images on it.
func (k *Keeper) newImages(d *instance.Disk) *settled[volume.Kind] {
	said := ""
	return &settled[volume.Kind]{find: func(ctx context.Context) (volume.Kind, error) {
		why := d.Images().Try(ctx)
		if why == nil {
			if said != "" {
				k.Log.Info("there can be standbys on their disk again", "dir", d.Dir)
			}
			return volume.Image, nil
		}
		if said != why.Error() {
			k.Log.Error("there can be no new standbys", "dir", d.Dir, "why", why)
		}
		said = why.Error()
		if backstay.KindOf(why) == backstay.Unavailable {
			return volume.Image, backstay.Wrapf(why, backstay.Unavailable, "There can be no new standbys on their disk. %s",
				backstay.SentenceOf(why))
		}
		return volume.Image, backstay.Wrapf(why, backstay.Unavailable, "There can be no volumes on the disk for standbys. "+
			"The operator finds the reason in the keeper's log.")
	}}
}

// imagesOn tells why there can be no images on a disk now, or nil: a node of an instance that has volumes is on no
// other one, whatever new instances get.
func (k *Keeper) imagesOn(ctx context.Context, d *instance.Disk) error {
	if err := d.Ready(); err != nil {
		return err
	}
	k.trying.Lock()
	if k.images[d] == nil {
		k.images[d] = k.newImages(d)
	}
	on := k.images[d]
	k.trying.Unlock()
	_, why := on.get(ctx)
	return why
}

// kindOn finds out of which kind the volumes of new instances on a disk are: of one for standbys, when it is there.
func (k *Keeper) kindOn(ctx context.Context, d *instance.Disk) (volume.Kind, error) {
	kind, err := k.kindOfNew.get(ctx)
	if err != nil || d == k.machine.Disks.Data() || kind != volume.Image {
		return kind, err
	}
	return kind, k.imagesOn(ctx, d)
}

// newEncryption finds out by which way the volumes of new instances can be encrypted, or why they cannot be.
func (k *Keeper) newEncryption() *settled[string] {
	said := ""
	return &settled[string]{find: func(ctx context.Context) (way string, why error) {
		kind, err := k.kindOfNew.get(ctx)
		if backstay.KindOf(err) == backstay.Unavailable {
			return "", err
		}
		if err != nil || kind != volume.Image {
			return "", backstay.Wrapf(err, backstay.Unsupported, "Only volumes that are images can be encrypted, and there "+
				"can be no new ones on this machine.")
		}
		if way, why = k.machine.Disks.Data().Images().Encryption(ctx); why != nil && said != why.Error() {
			said = why.Error()
			k.Log.Warn("there are no encrypted plans", "why", why, "cause", errors.Unwrap(why))
		}
		return way, why
	}}
}

// checkEncryption refuses to change whether an instance is encrypted, and with which key, and what cannot be encrypted.
func (k *Keeper) checkEncryption(ctx context.Context, s backend.Spec) error {
	k.mu.Lock()
	in, known := k.instances[s.Instance]
	k.mu.Unlock()
	switch {
	case known && in.Record().Spec.Volume != s.Volume && !in.Record().Removing:
		return backstay.Errorf(backstay.Unsupported, "Encryption at rest is decided when an instance is made.")
	case s.Volume.Encrypted != (s.Volume.Key != ""):
		return backstay.Errorf(backstay.Invalid, "What is encrypted has a key, and nothing else has.")
	case known || !s.Volume.Encrypted:
		return nil
	case s.Private || s.Size.Storage == 0:
		return backstay.Errorf(backstay.Unsupported, "Only an instance with a volume of its own can be encrypted.")
	}
	_, why := k.encryption.get(ctx)
	return why
}

// settleVolume settles how the volume of a new instance is made, or finds the one that an instance has whose record is
// lost. Our own databases need none.
func (k *Keeper) settleVolume(ctx context.Context, r instance.Record) (instance.Record, error) {
	kind, err := volume.Directory, error(nil)
	if !r.Spec.Private {
		if kind, err = k.kindOfNew.get(ctx); err != nil {
			return r, err
		}
	}
	r.Volume, err = k.machine.FoundVolume(r.Spec, kind)
	if err == nil && r.Spec.Volume.Encrypted && r.Volume != volume.Image {
		err = backstay.Errorf(backstay.Unavailable, "The data of the service instance is not on an encrypted volume.")
	}
	return r, err
}

// lookForOneDisk warns of a directory for standbys that is on the disk of their primaries.
func (k *Keeper) lookForOneDisk() {
	var data, standbys unix.Stat_t
	if k.StandbyDir == "" || unix.Stat(k.DataDir, &data) != nil || unix.Stat(k.StandbyDir, &standbys) != nil {
		return
	}
	if data.Dev == standbys.Dev {
		k.Log.Warn("standbys lie on the disk of their primaries", "dir", k.StandbyDir)
	}
}

// mountStrays mounts volumes of instances of which no record could be read, so that it can be seen whose data they
// hold. None of them is removed: their records may be known again. Of one whose key was in its record, the user is the
// one that instances of its name get.
func (k *Keeper) mountStrays() {
	for _, d := range k.machine.Disks.All() {
		found, err := d.Images().Found()
		if err != nil {
			k.Log.Warn("volumes cannot be listed", "dir", d.Dir, "error", err)
		}
		for _, id := range found {
			if k.instances[instance.OfHome(id)] != nil {
				continue
			}
			if _, err := d.Images().Mount(k.life, id, volume.Wanted{}); err != nil {
				k.Log.Warn("a volume of which there is no record cannot be mounted", "instance", id, "error", err)
				k.stray[instance.NewUID(id, nil)] = true
			}
		}
	}
}

// How often the pool is balanced, and how often the files of a volume are counted that nothing keeps to its size.
const (
	balanceEvery = time.Second
	narrowEvery  = 100 * time.Millisecond
	countEvery   = time.Minute
)

// tendImages shares out what each disk can give, until ctx ends. No disk waits for another one, which may hang.
func (k *Keeper) tendImages(ctx context.Context) {
	var tending sync.WaitGroup
	for _, d := range k.machine.Disks.All() {
		tending.Go(func() { k.tendImagesOn(ctx, d) })
	}
	tending.Wait()
}

// tendImagesOn logs what keeps volumes from being balanced, once as long as it stays the same. Where nothing of ours is
// yet, or is mounted any more, there is nothing to balance: whoever wants a volume there is told.
func (k *Keeper) tendImagesOn(ctx context.Context, d *instance.Disk) {
	pause, complaint := balanceEvery, ""
	for wait.Pause(ctx, pause) == nil {
		room, err := d.Images().Balance()
		text := ""
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			text = err.Error()
		}
		if text != complaint && text != "" {
			k.Log.Error("volumes cannot be balanced", "dir", d.Dir, "error", err)
		}
		if pause, complaint = balanceEvery, text; room.Narrow {
			pause = narrowEvery
		}
	}
}

// tendDirectories tells instances how full their directories are, one after the other, until ctx ends.
func (k *Keeper) tendDirectories(ctx context.Context) {
	for took := time.Duration(0); ; {
		watched := k.watched()
		if wait.Pause(ctx, countPause(len(watched), took)) != nil {
			return
		}
		for _, in := range watched {
			begun := time.Now()
			if usage, err := k.machine.Usage(in.Record()); err == nil { // else it is about to go
				in.Filled(usage)
			}
			took = time.Since(begun)
			if wait.Pause(ctx, countPause(len(watched), took)) != nil {
				return
			}
		}
	}
}

// watched returns the instances whose volumes are directories.
func (k *Keeper) watched() []*instance.Instance {
	return slices.DeleteFunc(k.all(), func(in *instance.Instance) bool {
		r := in.Record()
		return r.VolumeKind() != volume.Directory || r.Spec.Private || r.Removing
	})
}

// countPause is between two directories, of which the last one took so long to count: all of them are looked at within
// countEvery, oftener if they are few, and a tenth of one processor's time is spent at the most.
func countPause(directories int, took time.Duration) time.Duration {
	return max(countEvery/time.Duration(max(10, directories+1)), 9*took)
}

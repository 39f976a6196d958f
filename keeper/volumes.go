package keeper

import (
	"context"
	"errors"
	"sync"
	"time"

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

// images is the pool of volumes that keep to their size. Each is mounted where a directory would be.
func (c Config) images() *volume.Images {
	return &volume.Images{Root: c.volumesDir(), Mounts: c.dir("instances"), Reserve: c.Reserve}
}

// pools are where volumes lie, by their kind.
func (c Config) pools() map[volume.Kind]volume.Pool {
	return map[volume.Kind]volume.Pool{
		volume.Image:     c.images(),
		volume.Directory: &volume.Directories{Root: c.dir("instances"), Reserve: c.Reserve},
	}
}

// tryPatience is for a machine that is so busy that it can hardly make a volume.
const tryPatience = time.Minute

// newKind finds out, once, of which kind the volumes of new instances are.
func (c Config) newKind() func() (volume.Kind, error) {
	return sync.OnceValues(func() (volume.Kind, error) {
		if c.Volumes == "" || c.Volumes == DirectoryVolumes {
			return volume.Directory, nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), tryPatience)
		defer cancel()
		why := c.images().Try(ctx)
		switch {
		case why == nil:
			return volume.Image, nil
		case c.Volumes == AutoVolumes:
			c.Log.Warn("the storage of new instances is not enforced", "why", why)
			return volume.Directory, nil
		}
		c.Log.Error("there can be no new instances", "why", why)
		return volume.Image, backstay.Wrapf(why, backstay.Unavailable,
			"New services cannot have the storage that they promise. The operator finds the reason in the keeper's log.")
	})
}

// newEncryption finds out, once, by which way the volumes of new instances can be encrypted, or why they cannot be.
func (k *Keeper) newEncryption() func() (way string, why error) {
	return sync.OnceValues(func() (way string, why error) {
		if kind, err := k.kindOfNew(); err != nil || kind != volume.Image {
			return "", backstay.Wrapf(err, backstay.Unsupported, "Only volumes that are images can be encrypted, and there "+
				"can be no new ones on this machine.")
		}
		ctx, cancel := context.WithTimeout(context.Background(), tryPatience)
		defer cancel()
		if way, why = k.machine.Pools[volume.Image].(*volume.Images).Encryption(ctx); why != nil {
			k.Log.Warn("there are no encrypted plans", "why", why, "cause", errors.Unwrap(why))
		}
		return way, why
	})
}

// checkEncryption refuses to change whether an instance is encrypted, and with which key, and what cannot be encrypted.
func (k *Keeper) checkEncryption(s backend.Spec) error {
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
	_, why := k.encryption()
	return why
}

// settleVolume settles how the volume of a new instance is made, or finds the one that an instance has whose record is
// lost. Our own databases need none.
func (k *Keeper) settleVolume(r instance.Record) (instance.Record, error) {
	kind, err := volume.Directory, error(nil)
	if !r.Spec.Private {
		if kind, err = k.kindOfNew(); err != nil {
			return r, err
		}
	}
	r.Volume, err = k.machine.FoundVolume(r.Spec, kind)
	if err == nil && r.Spec.Volume.Encrypted && r.Volume != volume.Image {
		err = backstay.Errorf(backstay.Unavailable, "The data of the service instance is not on an encrypted volume.")
	}
	return r, err
}

// mountStrays mounts volumes of instances of which no record could be read, so that it can be seen whose data they
// hold. None of them is removed: their records may be known again. Of one whose key was in its record, the user is the
// one that instances of its name get.
func (k *Keeper) mountStrays() {
	pool := k.machine.Pools[volume.Image]
	found, err := pool.Found()
	if err != nil {
		k.Log.Warn("volumes cannot be listed", "error", err)
	}
	for _, id := range found {
		if k.instances[instance.OfHome(id)] != nil {
			continue
		}
		if _, err := pool.Mount(k.life, id, volume.Wanted{}); err != nil {
			k.Log.Warn("a volume of which there is no record cannot be mounted", "instance", id, "error", err)
			k.stray[instance.NewUID(id, nil)] = true
		}
	}
}

// How often the pool is balanced, and how often the files of a volume are counted that nothing keeps to its size.
const (
	balanceEvery = time.Second
	narrowEvery  = 100 * time.Millisecond
	countEvery   = time.Minute
)

// tendImages shares out what the pool can give, until ctx ends.
func (k *Keeper) tendImages(ctx context.Context) {
	pool := k.machine.Pools[volume.Image]
	pause := balanceEvery
	for wait.Pause(ctx, pause) == nil {
		room, err := pool.Balance()
		k.complain(err)
		if pause = balanceEvery; room.Narrow {
			pause = narrowEvery
		}
	}
}

// complain logs what keeps volumes from being balanced, once as long as it stays the same.
func (k *Keeper) complain(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != k.complaint && err != nil {
		k.Log.Error("volumes cannot be balanced", "error", err)
	}
	k.complaint = text
}

// tendDirectories tells instances how full their directories are, with a pause behind each, until ctx ends.
func (k *Keeper) tendDirectories(ctx context.Context) {
	const pause = countEvery / 10
	for wait.Pause(ctx, pause) == nil {
		for _, in := range k.all() {
			r := in.Record()
			if r.Volume != volume.Directory || r.Spec.Private || r.Removing {
				continue
			}
			if usage, err := k.machine.Pools[volume.Directory].Usage(in.Record().Home()); err == nil { // else it is about to go
				in.Filled(usage)
			}
			if wait.Pause(ctx, pause) != nil {
				return
			}
		}
	}
}

package volume

import (
	"context"
	"log/slog"

	"github.com/backstay/backstay"
)

// Kind says how a volume is made. It is recorded of each, so no value changes its meaning.
type Kind string

const (
	Directory Kind = ""      // a directory of the disk, in a pool of Directories
	Image     Kind = "image" // a file system of its own, in a pool of Images
)

// Pool is the disk that volumes lie on, and all that is done with them. Ensure, Mount, Unmount and Remove of one volume
// are not called at the same time; everything else is.
type Pool interface {
	// Ensure makes the volume, or what is missing of it, mounts it and gives it the size, which may be less than it
	// had: what is on it stays. It returns its directory, in which only the keeper's own user can make files. It may
	// be called again after a crash or a reboot, and while the volume is in use. An encrypted volume stays encrypted, with
	// the same key, and a plain one plain.
	Ensure(ctx context.Context, id backstay.InstanceID, wanted Wanted) (dir string, err error)
	// Mount is Ensure for a volume that must be there, with data on it. It is NotFound if it is not. Of size 0, the
	// volume keeps the size that it has.
	Mount(ctx context.Context, id backstay.InstanceID, wanted Wanted) (dir string, err error)
	// Unmount is for a volume of which nothing is in use for a while; Mount brings it back. It is Busy while a process
	// uses it, and success where it is not mounted.
	Unmount(ctx context.Context, id backstay.InstanceID) error
	// Remove ends the volume with all data on it; that there is none is success. It is Busy while a process uses it.
	Remove(ctx context.Context, id backstay.InstanceID) error
	// Found lists every volume of which anything is there, half-made ones too, in order.
	Found() ([]backstay.InstanceID, error)
	// Usage tells how full a volume is. It is NotFound where the volume is not there, or not mounted.
	Usage(id backstay.InstanceID) (Usage, error)
	// EncryptedBy tells by which way a volume is encrypted: "dm-crypt", "fscrypt", or empty where it is not. It is
	// NotFound where the volume is not there.
	EncryptedBy(id backstay.InstanceID) (way string, err error)
	// Balance shares out what the pool can still give, and returns what it saw. Whoever has a pool calls it again and
	// again: a volume that grows in a narrow pool gets no more room than the last call gave it.
	Balance() (Room, error)
	// Room looks at what the pool has, and changes nothing.
	Room() (Room, error)
	// Enforced tells whether volumes keep to their size.
	Enforced() bool
}

// Wanted is what a volume is to be.
type Wanted struct {
	Size backstay.Bytes
	Key  backstay.Secret // that its data is encrypted with, of 32 random bytes or more in any writing; empty: it is not
}

// LogValue is what is wanted without the key.
func (w Wanted) LogValue() slog.Value { return backstay.RedactedValue(w) }

// Usage is how full a volume is.
type Usage struct {
	Used backstay.Bytes
	Free backstay.Bytes // what can be written now
	Held backstay.Bytes // what the volume's size allows beyond that, and the pool cannot give now
}

// Room is what a pool has. Balance tells what was given, and Room what is kept.
type Room struct {
	Free     backstay.Bytes // on the disk
	Reserve  backstay.Bytes // of it, what no volume gets
	Promised backstay.Bytes // what volumes may still take by their size
	Given    backstay.Bytes // of it, what they can take now
	Narrow   bool           // a volume that grows may use up what it can take now long before its size

	Kept    backstay.Bytes        // of what is free, the last room of all volumes, and what new ones begin with
	Volumes []backstay.InstanceID // all that there are
}

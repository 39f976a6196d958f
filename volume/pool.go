package volume

import (
	"context"
	"os"

	"github.com/backstay/backstay"
)

// Pool is the disk that volumes lie on, and all that is done with them. Ensure and Remove of one volume are not called
// at the same time; everything else is.
type Pool interface {
	// Ensure makes the volume, or what is missing of it, mounts and grows it, and returns its directory, in which
	// only the keeper's own user can make files. It never shrinks one. It may be called again after a crash or a
	// reboot, and while the volume is in use.
	Ensure(ctx context.Context, id backstay.InstanceID, size backstay.Bytes) (dir string, err error)
	// Remove ends the volume with all data on it; that there is none is success. It is Busy while a process uses it.
	Remove(ctx context.Context, id backstay.InstanceID) error
	// Found lists every volume of which anything is there, half-made ones too, in order.
	Found() ([]backstay.InstanceID, error)
	// Usage tells how full a volume is. It is NotFound where the volume is not there, or not mounted.
	Usage(id backstay.InstanceID) (Usage, error)
	// Balance shares out what the pool can still give, and returns what it saw. Whoever has a pool calls it again and
	// again: a volume that grows in a narrow pool gets no more room than the last call gave it.
	Balance() (Room, error)
	// Enforced tells whether volumes keep to their size.
	Enforced() bool
}

// Usage is how full a volume is.
type Usage struct {
	Used backstay.Bytes
	Free backstay.Bytes // what can be written now
	Held backstay.Bytes // what the volume's size allows beyond that, and the pool cannot give now
}

// Room is what a pool has.
type Room struct {
	Free     backstay.Bytes // on the disk
	Reserve  backstay.Bytes // of it, what no volume gets
	Promised backstay.Bytes // what volumes may still take by their size
	Given    backstay.Bytes // of it, what they can take now
}

// Open returns the pool in the directory root, by the best way that this machine has, and why it is no better one.
// Of what the disk has, volumes leave reserve.
func Open(ctx context.Context, root string, reserve backstay.Bytes) (p Pool, why error, err error) {
	if err := os.MkdirAll(root, 0o711); err != nil {
		return nil, nil, err
	}
	images := &Images{Root: root, Reserve: reserve}
	if why := images.Try(ctx); why != nil {
		return &Directories{Root: root, Reserve: reserve}, why, nil
	}
	return images, nil, nil
}

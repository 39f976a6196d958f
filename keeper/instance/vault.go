package instance

import (
	"context"
	"log/slog"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/keeper/node"
)

// RestorePoint is what an origin means.
type RestorePoint struct {
	Repository backstay.Repository // where the backups lie
	Point      engine.Point
	Passed     string // what is to be told where it is not quite what was wished for, as backup.Passed says
}

// LogValue is the point without the key of the repository.
func (p RestorePoint) LogValue() slog.Value { return backstay.RedactedValue(p) }

// Vault is what an instance asks of whoever keeps the backups of all instances of the machine (keeper/custody). Its
// methods are called by the goroutine of the instance, may take long, and are called again after a crash.
type Vault interface {
	// Reach returns the point that the origin means in the backups of its instance, without those that are left out. If
	// that instance serves on this machine, its archive is brought as far as the point first. The error is Invalid, with
	// the moments that can be restored, if the point is none of them; NotFound if nothing is kept of the instance; and
	// Unavailable if the repository is away.
	Reach(ctx context.Context, o backend.Origin, without ...string) (RestorePoint, error)
	// Examine reads all that is kept of the origin's instance, because a restore has met damage. Found tells that Reach
	// returns another point, or none, for what has come to light.
	Examine(ctx context.Context, o backend.Origin) (found bool, err error)
	// BackUp takes a backup of the instance, whose node serves, and returns when it is whole. Without a policy there is
	// nothing to do.
	BackUp(ctx context.Context, id backstay.InstanceID, n node.Node) error
	// Ended brings into the archive what a node has logged that has ended. Over is engine.Archiver's.
	Ended(ctx context.Context, id backstay.InstanceID, n node.Node, over time.Time) error
}

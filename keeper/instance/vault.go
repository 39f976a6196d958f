package instance

import (
	"context"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/keeper/node"
)

// Vault is what an instance asks of whoever keeps the backups of all instances of the machine (keeper/custody). Its
// methods are called by the goroutine of the instance, may take long, and are called again after a crash.
type Vault interface {
	// Reach returns where the backups of the origin's instance lie, and the point in them that the origin means. If that
	// instance serves on this machine, its archive is brought as far as the point first. The error is Invalid, with the
	// moments that can be restored, if the point is none of them; NotFound if nothing is kept of the instance; and
	// Unavailable if the repository is away.
	Reach(ctx context.Context, o backend.Origin) (backstay.Repository, engine.Point, error)
	// BackUp takes a backup of the instance, whose node serves, and returns when it is whole. Without a policy there is
	// nothing to do.
	BackUp(ctx context.Context, id backstay.InstanceID, n node.Node) error
	// Ended brings into the archive what a node has logged that was removed and has ended.
	Ended(ctx context.Context, id backstay.InstanceID, n node.Node) error
}

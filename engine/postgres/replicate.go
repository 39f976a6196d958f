package postgres

import (
	"context"

	"github.com/backstay/backstay/engine"
)

var (
	_ engine.Replicator   = Engine{}
	_ engine.Forgetter    = Engine{}
	_ engine.HostedReader = Engine{}
)

// Replicates is true of each version.
func (Engine) Replicates(engine.Installation) bool { return true }

// Copy copies the files of the primary as Clone does.
func (Engine) Copy(ctx context.Context, primary, to engine.Node, progress func(string)) error {
	return server(primary.Installation).Copy(ctx, primary, to, progress)
}

// Fence lays the file by which a server follows, wherever its log ends.
func (Engine) Fence(n engine.Node) error { return server(n.Installation).Fence(n) }

// IsFenced looks for that file.
func (Engine) IsFenced(n engine.Node) (bool, error) { return server(n.Installation).IsFenced(n) }

// Rejoin has pg_rewind exchange what the node has and the primary has not.
func (Engine) Rejoin(ctx context.Context, primary, n engine.Node) error {
	return server(n.Installation).Rejoin(ctx, primary, n)
}

// Follows asks the primary and the node.
func (Engine) Follows(ctx context.Context, primary, n engine.Node) (engine.Following, error) {
	return server(n.Installation).Follows(ctx, primary, n)
}

// Trails leaves out the slot: that is for whoever made the nodes to keep.
func (Engine) Trails(ctx context.Context, primary, n engine.Node) (engine.Following, error) {
	return server(n.Installation).Trails(ctx, primary, n)
}

// Await has commits wait for the standby, or for nobody.
func (Engine) Await(ctx context.Context, primary engine.Node) error {
	return server(primary.Installation).Await(ctx, primary)
}

// HandOver has the primary wait for the standby, and the standby replay what it has got.
func (Engine) HandOver(ctx context.Context, primary, standby engine.Node) error {
	return server(primary.Installation).HandOver(ctx, primary, standby)
}

// Promote has the server replay what it has been sent, and take what clients write.
func (Engine) Promote(ctx context.Context, n engine.Node) error {
	return server(n.Installation).Promote(ctx, n)
}

// Forget drops the slot of the node.
func (Engine) Forget(ctx context.Context, primary engine.Node, name string) error {
	return server(primary.Installation).Forget(ctx, primary, name)
}

// Settle makes two checkpoints.
func (Engine) Settle(ctx context.Context, n engine.Node) error {
	return server(n.Installation).Settle(ctx, n)
}

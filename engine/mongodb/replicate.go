package mongodb

import (
	"context"

	"github.com/backstay/backstay/engine"
)

var (
	_ engine.Replicator = Engine{}
	_ engine.Forgetter  = Engine{}
)

// sinceDirect is the first version of PostgreSQL whose servers speak TLS from their first byte on with the one that
// they follow: the front tells them from clients by that.
const sinceDirect = "17"

// Replicates tells whether the front can let nodes in that follow.
func (Engine) Replicates(i engine.Installation) bool {
	return engine.CompareVersions(serverVersion(i), sinceDirect) >= 0
}

// Copy copies the files of the primary as Clone does.
func (e Engine) Copy(ctx context.Context, primary, to engine.Node, progress func(string)) error {
	return e.server(primary.Installation).Copy(ctx, primary, to, progress)
}

// Fence lays the file by which a server follows, wherever its log ends.
func (e Engine) Fence(n engine.Node) error { return e.server(n.Installation).Fence(n) }

// IsFenced looks for that file.
func (e Engine) IsFenced(n engine.Node) (bool, error) { return e.server(n.Installation).IsFenced(n) }

// Rejoin has pg_rewind exchange what the node has and the primary has not.
func (e Engine) Rejoin(ctx context.Context, primary, n engine.Node) error {
	return e.server(n.Installation).Rejoin(ctx, primary, n)
}

// Follows asks the primary and the node.
func (e Engine) Follows(ctx context.Context, primary, n engine.Node) (engine.Following, error) {
	return e.server(n.Installation).Follows(ctx, primary, n)
}

// Await has commits wait for the standby, or for nobody.
func (e Engine) Await(ctx context.Context, primary engine.Node) error {
	return inWords(e.server(primary.Installation).Await(ctx, primary))
}

// HandOver has the primary wait for the standby, and the standby replay what it has got.
func (e Engine) HandOver(ctx context.Context, primary, standby engine.Node) error {
	return e.server(primary.Installation).HandOver(ctx, primary, standby)
}

// Promote has PostgreSQL replay what it has been sent, and take writes. The front, by which clients have read, lets
// nobody in from then on until the writer serves.
func (e Engine) Promote(ctx context.Context, n engine.Node) error {
	err := e.server(n.Installation).Promote(ctx, n)
	if err == nil {
		lookAnew(ctx, n)
	}
	return err
}

// Forget drops the slot of the node.
func (e Engine) Forget(ctx context.Context, primary engine.Node, name string) error {
	return e.server(primary.Installation).Forget(ctx, primary, name)
}

// Settle makes two checkpoints.
func (e Engine) Settle(ctx context.Context, n engine.Node) error {
	return inWords(e.server(n.Installation).Settle(ctx, n))
}

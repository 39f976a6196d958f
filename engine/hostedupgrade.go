package engine

import "context"

// HostedUpgrader is a Hosted engine whose data somebody else brings to a later version, while no server runs. Users are
// kept out from PrepareUpgrade until FinishUpgrade, by the Rules of a Node without Ports.
type HostedUpgrader interface {
	Hosted
	// PrepareUpgrade ends the sessions of users, and notes in the running server what such an upgrade does not bring
	// over. It may be called again.
	PrepareUpgrade(ctx context.Context, n Node) error
	// ForgoUpgrade takes back, in the server before, what PrepareUpgrade did, before users are let in again. It may be
	// called again.
	ForgoUpgrade(ctx context.Context, n Node) error
	// FinishUpgrade makes the running server of the later version what Establish and Configure expect. It does nothing
	// where that was done.
	FinishUpgrade(ctx context.Context, n Node) error
	// UpgradeObjection is what was against the data, in one line, by what the product's own program has said; empty: it
	// does not tell.
	UpgradeObjection(said string) string
	// Refresh is that of an Upgrader.
	Refresh(ctx context.Context, n Node) error
}

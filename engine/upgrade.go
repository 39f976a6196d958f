package engine

import "context"

// Upgrader is an Engine that can make data of one version out of that of an earlier one. Nodes that are told of as from
// and to are of the same instance, with different installations and different data directories.
type Upgrader interface {
	// MadeBy returns the version, as plans name it, whose servers serve the data in n.DataDir. Nothing else of n is
	// looked at. It is empty for data that does not tell; the error is fs.ErrNotExist if there is none.
	MadeBy(n Node) (version string, err error)
	// CheckUpgrade tells, while from serves, whether Upgrade could make the data of to. It changes nothing of from,
	// and leaves nothing in the place of to. An error that is Unsupported is final until something else is wanted.
	CheckUpgrade(ctx context.Context, from, to Node) error
	// Upgrade makes to.DataDir, which does not exist, out of the data of from, whose processes have ended: with its
	// users, their passwords and their rights, and with the configuration of to. It makes it whole or not at all, and
	// changes nothing of the data of from. Progress is told what is done, as what comes behind a colon. The error is
	// Unsupported if trying again cannot help.
	Upgrade(ctx context.Context, from, to Node, progress func(sentence string)) error
	// Refresh makes a node that was upgraded, and serves, as quick as it was before. It may take long.
	Refresh(ctx context.Context, n Node) error
}

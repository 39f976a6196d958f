package engine

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/backstay/backstay"
)

// Replication is a node's part among the nodes of an instance of several: the primary, which takes what clients write,
// and standbys and replicas, which follow it. It is part of the configuration that Prepare and Reload write.
type Replication struct {
	Name string // of the node among those of its instance: lower-case letters and digits, at most 16; it never changes
	// Link is what the nodes of an instance prove to each other, with an authority of its own: the same for all of
	// them, and no client's. An engine whose nodes know each other by a password derives it from the key.
	Link    backstay.Certificate
	Follows *Source // the node that it follows; nil: it is the primary
	// Awaits is the node that has what was committed before a client of the primary is told of it; empty: none. Of a
	// standby it says nothing.
	Awaits string
	Spare  bool // it follows, and is neither awaited nor promoted, whatever happens
}

// LogValue is the part without the link's key.
func (r Replication) LogValue() slog.Value { return backstay.RedactedValue(r) }

// Source is where a node listens for those that follow it.
type Source struct {
	Name    string
	Address string // an IP address
	Port    int
}

// Replicator is an Engine whose nodes can follow another one, over TLS. One that follows in step takes over when the
// primary is lost. The caller alone knows which node is the primary, and sees to it that there is one at most: before
// it promotes another one, all processes of the one before have ended, and its data is fenced.
//
// Every method may be interrupted at any instruction and called again. What it needs of a node that does not run is the
// node's directories only.
type Replicator interface {
	// Replicates tells whether nodes of an installation can follow each other.
	Replicates(i Installation) bool
	// Copy makes to's data directory, which is not there or was left by a Copy that was interrupted, from the running
	// primary, so that Prepare and a start follow and to.Replication.Follows is followed. Progress is told what is
	// done, as what comes behind a colon.
	Copy(ctx context.Context, primary, to Node, progress func(string)) error
	// Fence makes the data of n, whose processes have ended, that of a node that follows. It is durable: from then on,
	// whoever starts a server with that data gets one that takes no writes, until Promote. It may have been done
	// before.
	Fence(n Node) error
	// IsFenced tells whether the data of n is that of a node that follows, so that no server takes writes with it.
	IsFenced(n Node) (bool, error)
	// Rejoin makes the data of n, which was the primary and is fenced, or has followed another one, and whose
	// processes have ended, follow the running primary: what n alone has committed is gone from it. It stays fenced all
	// the while. The error is ErrCopy if only a copy of the primary's data can follow, as where n has none.
	Rejoin(ctx context.Context, primary, n Node) error
	// Follows tells how a running node follows the running primary. The error is ErrCopy if it cannot any more, since
	// the primary has not kept what it lacks.
	Follows(ctx context.Context, primary, n Node) (Following, error)
	// Await puts primary.Replication.Awaits in force in the running primary, and returns once it is: nothing has been
	// acknowledged since that the node does not have, or nobody waits any more. Commits that wait are released by an
	// empty one, and acknowledged: the caller notes before that the standby may lack them. With a node that does not
	// follow, it does not return before ctx ends, and then has put nothing in force.
	Await(ctx context.Context, primary Node) error
	// HandOver prepares the end of the running primary for the standby, which follows: it returns once nothing that was
	// acknowledged would be missing in the standby if the primary ended now, and both would take a moment only to end
	// and to be promoted. Clients may be kept from writing from then on.
	HandOver(ctx context.Context, primary, standby Node) error
	// Promote makes a running node that follows the primary. It returns once n takes what clients write. All that it
	// was sent is in it. n.Replication is that of a primary. Configure is called after it. The error is ErrBehind where
	// n can tell that far more than a moment would be missing; what it cannot tell is the caller's to know.
	Promote(ctx context.Context, n Node) error
}

// ErrCopy says that a node cannot follow with the data that it has.
var ErrCopy = errors.New("the node can only follow with a copy of the primary's data")

// ErrBehind says that a node must not be promoted, because of how much it would lack.
var ErrBehind = errors.New("the node has no whole copy of what the primary had")

// Asynchronous is a Replicator whose primary tells clients that something is kept before any other node has it. Its
// Await puts nothing in force: it returns once the node has all that was acknowledged when it was called.
type Asynchronous interface {
	// Ready is the part of Promote that may refuse, and changes nothing. The primary has ended. The caller asks before
	// it fences that one, and has it go on where the error is ErrBehind.
	Ready(ctx context.Context, n Node) error
	// Concede has the data of n, which follows, be promoted as it is: the primary's is gone, and what n lacks is lost.
	// The caller tells of that.
	Concede(n Node) error
}

// Mirrorer is a Replicator whose nodes know users of their own, which do not come along with what a node is sent.
type Mirrorer interface {
	// Mirror makes the users of a running node that follows those of the running primary, and ends sessions of users
	// that are no longer there. It may be called at any time, and takes a moment where there is nothing to do. The
	// caller does so once it has made or dropped a user of the primary, before anybody is told, and before it asks how
	// a node follows: one whose users are not the primary's does not stream. Of a Reader, it does all that CatchUp does.
	Mirror(ctx context.Context, primary, n Node) error
}

// Reader is a Replicator whose nodes that follow serve reads: the primary's users log in there too.
type Reader interface {
	// CatchUp returns once a running node that follows knows the users that the running primary had when this was called:
	// who was made can log in, who was dropped cannot, and has no session any more. It waits for as long as readers of n
	// hold up what it is sent.
	CatchUp(ctx context.Context, primary, n Node) error
	// EndReaders ends the sessions of all users on a running node that follows, whatever they are at.
	EndReaders(ctx context.Context, n Node) error
}

// Forgetter is a Replicator whose primary keeps something for each node that follows, also while that is away.
type Forgetter interface {
	// Forget has the running primary keep nothing any more for a node of that name, whose processes have ended for ever.
	// That there is nothing is success.
	Forget(ctx context.Context, primary Node, name string) error
}

// Following is how a node follows the primary.
type Following struct {
	Streams bool           // it is connected, and has caught up with what there was when it began to follow
	Behind  backstay.Bytes // of the primary's log, that it does not have yet
	Lag     time.Duration  // since the moment that its clients read, at most; 0 where they read all there is
	// End is where the primary's log ended, and Read what clients of the node read of it, in a unit of the engine's. How
	// long ago the log ended at Read, who has asked before knows better than the engine, to whom what was written last may
	// be long ago.
	End, Read int64
	// Started is when its server has, where the engine tells: of another one, nothing is known that was seen before.
	Started time.Time
}

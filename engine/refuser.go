package engine

import "context"

// Writes says what clients of a node may write.
type Writes int

const (
	AnyWrites Writes = iota // whatever they like
	// FewWrites refuses what writes, unless a session has asked for writing in the engine's own words, so as to delete.
	FewWrites
	// NoWrites is FewWrites, and interrupts whatever writes at the moment of the call nevertheless.
	NoWrites
)

func (w Writes) String() string { return [...]string{"any", "few", "no"}[w] }

// Refuser is an Engine whose nodes can refuse what clients write, while these read: its disk is nearly full, and what
// room is left is for deleting, and for the node itself. A node with Node.Full begins so. One with Node.Closed lets
// nobody in who could fill it again until RefuseWrites is called; then it shuts out who may have, until AnyWrites.
type Refuser interface {
	// RefuseWrites puts w in force in a running node. Under FewWrites and NoWrites statements that write are refused, by
	// the engine's own error, in sessions that were there before too: these may be ended for it. Statements that began
	// before are interrupted. Users can be made and dropped all the same, and backups taken.
	//
	// Where temporary data has taken the room, the engine may end what has made it, and refuse nothing under FewWrites
	// before it is called again. The error is ErrStuck, with a sentence, if the node's process must be ended for that.
	//
	// It is called when w changes, again and again while it is not AnyWrites, and once after a node has come up.
	RefuseWrites(ctx context.Context, n Node, w Writes) error
	// MakingRoom tells users how they delete under FewWrites, so that the disk has more room afterwards: what comes behind
	// "delete data (", as `SET this, then that`.
	MakingRoom(i Installation) string
}

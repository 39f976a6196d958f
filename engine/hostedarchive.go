package engine

import (
	"context"
	"time"
)

// HostedArchiver is a Hosted engine whose log somebody else archives, and whose data somebody else restores.
type HostedArchiver interface {
	Hosted
	// MarkLog commits something that nobody sees, and has the server end the piece of its log that this is in, so that
	// it is archived. Where nothing was committed since the last mark, it returns that one, with a later Seen.
	MarkLog(ctx context.Context, n Node, last LogMark) (LogMark, error)
	// DropUsers drops all users that CreateUser has made: of data that was restored, they are another instance's, or of
	// another time.
	DropUsers(ctx context.Context, n Node) error
}

// LogMark is a place in a server's log. With Piece in an archive, all can be restored that was committed before At.
type LogMark struct {
	Piece string    `json:"piece,omitempty"` // of the log, by its name
	At    time.Time `json:"at,omitzero"`     // the mark itself is committed later than this
	Seen  time.Time `json:"seen,omitzero"`   // until then nothing was committed behind the mark
	State string    `json:"state,omitempty"` // by which the engine knows that; empty: it cannot
}

// Reaches is the last moment that can be restored with the mark in the archive: the mark comes behind it.
func (m LogMark) Reaches() time.Time {
	if m.At.IsZero() {
		return m.At
	}
	return m.At.Add(-time.Microsecond).UTC()
}

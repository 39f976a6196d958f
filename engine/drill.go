package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"

	"github.com/backstay/backstay"
)

// Drillable is an Engine of which it can be measured what clients feel while the primary is changed, or restarted: a
// user of the platform's writes all the while, by the endpoint and over TLS as they do. It reaches nothing of theirs,
// and what it writes is not among what they see, dump or may store.
type Drillable interface {
	// AdmitDriller makes that user in the running primary, with this password. Nothing is kept of what an earlier one
	// has written.
	AdmitDriller(ctx context.Context, n Node, password backstay.Secret) error
	// OpenDrill logs in as that user. Of the node only what does not depend on its part is used: which one answers, the
	// endpoint decides.
	OpenDrill(ctx context.Context, n Node, l DrillLogin) (DrillSession, error)
	// DismissDriller removes that user, and what it has written, from the running primary. It succeeds where there is
	// none.
	DismissDriller(ctx context.Context, n Node) error
}

// DrillLogin is how the user of a drill comes in.
type DrillLogin struct {
	Password backstay.Secret
	Dial     func(context.Context) (net.Conn, error) // opens a connection to the endpoint
	TLS      *tls.Config                             // by which the endpoint is known
}

// LogValue is the login without the password.
func (l DrillLogin) LogValue() slog.Value { return backstay.RedactedValue(l) }

// DrillSession is a connection of the user of a drill. An error of any method but ErrErased ends it.
type DrillSession interface {
	// Keep has the number kept in the place of the one before. When it returns, that is acknowledged as any client's
	// write is.
	Keep(ctx context.Context, number int64) error
	// Kept returns the number that is kept; 0 where none was. It is ErrErased where it cannot be told whether that was
	// lost or deleted by others.
	Kept(ctx context.Context) (int64, error)
	// Close closes the connection, whatever state it is in.
	Close()
}

// ErrErased says that what a drill had written is not there, and that clients may have deleted it.
var ErrErased = errors.New("what the drill had written is not there")

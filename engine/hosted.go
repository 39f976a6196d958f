package engine

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/backstay/backstay"
)

// Hosted is an Engine whose server somebody else can configure, start and watch over, such as an operator on
// Kubernetes. Prepare and Command are not called for such a node: it has neither directories nor a process here, its
// Installation has no Dir, and Admin reaches it over the network as the server's first superuser. What Prepare makes
// on this machine is made in two parts: Hosting says what whoever starts the server has to be told, and Establish makes
// the rest over the administrative connection. Everything else that an Engine promises of a running node holds then.
type Hosted interface {
	// Hosting returns how the server has to be configured. Its errors are those of Check that are known without the
	// server.
	Hosting(n Node) (Hosting, error)
	// CheckRunning returns those errors of Check that only the running server knows. One that does not answer has none.
	CheckRunning(ctx context.Context, n Node) error
	// Secure begins TLS on a connection to the server, as the product's protocol has it, and returns once the server
	// has proved what config asks for.
	Secure(ctx context.Context, conn net.Conn, config *tls.Config) (*tls.Conn, error)
	// Establish makes in the running server what each node has that Prepare made: the database, the roles of all
	// bindings, and what walls bindings in. It is called each time before Configure, and does nothing where all of
	// that is there.
	Establish(ctx context.Context, n Node) error
	// Stored tells how much of a disk the data takes, with the log of changes but for what waits to be archived.
	Stored(ctx context.Context, n Node) (backstay.Bytes, error)
	// Observe tells what the running server says of itself.
	Observe(ctx context.Context, n Node) (Observation, error)
}

// Hosting is how a server has to be configured that somebody else starts.
type Hosting struct {
	Parameters map[string]string // the product's own settings, by their names
	Libraries  []string          // that the server loads when it starts, and must have
	Rules      []string          // who may connect, in the product's words: the first that fits counts
	Edition    string            // another one whenever something of this is
}

// Observation is what a server says of itself.
type Observation struct {
	Edition   string // of the Hosting that it has read
	Restart   bool   // some of that takes a restart
	Started   time.Time
	Protected bool // whatever it commits is on a further node before a client is told
	Followers []Follower
}

// Follower is a node that follows the server.
type Follower struct {
	Name    string
	InStep  bool           // commits may wait for it
	Lag     backstay.Bytes // of the log that it has not applied yet
	Seconds int64          // how old what its clients read may be
}

// HasInStep tells whether that node follows, lacks nothing and has applied everything.
func (o Observation) HasInStep(name string) bool {
	for _, f := range o.Followers {
		if f.Name == name {
			return f.InStep && f.Lag == 0
		}
	}
	return false
}

// HostedReader is an engine whose nodes serve reads while they follow, also where others keep them.
type HostedReader interface {
	Hosted
	Reader
	// Trails tells how a running node follows the running primary, as Follows does, but for whether it can for long: what
	// is kept for it, is for others to see to.
	Trails(ctx context.Context, primary, n Node) (Following, error)
}

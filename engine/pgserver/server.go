package pgserver

import (
	"cmp"
	"context"
	"path/filepath"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
)

const (
	// Admin is the bootstrap superuser of each server.
	Admin = "backstay"
	// DefaultPort is that of a server that listens for nobody: it only names the socket.
	DefaultPort = 5432
	// ServerFile is the name of the configuration in a data directory.
	ServerFile = "postgresql.conf"
	// StandbySignal is the file by which a server follows, and takes no writes.
	StandbySignal = "standby.signal"
)

// Socket is the file by which a server is reached that has its sockets in a directory; port 0 is DefaultPort.
func Socket(dir string, port int) string {
	return filepath.Join(dir, ".s.PGSQL."+strconv.Itoa(cmp.Or(port, DefaultPort)))
}

// Server is a PostgreSQL server of one installation, with what there is to know of what is sold on it.
type Server struct {
	Product  string   // the name by which users know it: "PostgreSQL 15"
	Version  string   // PostgreSQL's major version
	Programs string   // the directory of PostgreSQL's programs
	Database string   // in which the administrator works
	Own      []string // the files of a data directory that go into no copy which becomes another node's
	// Fronted says that a process of the engine's own stands where clients come, ends TLS, and lets those in that follow.
	Fronted bool
	// Socket is the file by which a node's server is reached.
	Socket func(n engine.Node) string

	// Plan says how a node's data directory is made and configured.
	Plan func(ctx context.Context, n engine.Node) (datadir.Plan, error)
	// Fits refuses data that the node cannot serve, by the full version of the installation that has made it.
	Fits func(made string, n engine.Node) error
	// DropUsers drops all users that the engine has created, from a server that nobody else reaches.
	DropUsers func(ctx context.Context, n engine.Node) error
}

// withAdmin calls do with an administrator's connection to the running node.
func (s Server) withAdmin(ctx context.Context, n engine.Node, do func(*pgx.Conn) error) error {
	return WithAdmin(ctx, n, s.Database, do)
}

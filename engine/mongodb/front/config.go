package front

import (
	"crypto/tls"
	"path/filepath"

	"github.com/backstay/backstay/engine/door"
)

// What FerretDB, and roles in PostgreSQL, are called.
const (
	Writer = "writer" // FerretDB for those who may write, and its role
	Reader = "reader" // FerretDB for those who may not
	Role   = "front"  // our own role
	Writes = "writes" // of which users are a member who may write
	Reads  = "reads"  // and who may not
	Decoy  = "decoy"  // a user that nobody logs in as
)

// A drill's user, and what it may reach. MongoDB's servers have in that database what is theirs alone: tools that copy
// databases leave it out.
const (
	Driller         = "backstay_drill"
	DrillDatabase   = "local"
	DrillCollection = "backstay_drill"
)

// Leads is what the session is called in PostgreSQL by which the front hears of users that are dropped, once clients
// come in who may write.
const Leads = "leads"

// What the front writes into the node's log: Said, and why it ends, or Serves.
const (
	Said   = "front: "
	Serves = "clients are served"
)

// Socket returns where FerretDB listens.
func Socket(runDir, role string) string { return filepath.Join(runDir, role+".sock") }

// Config is what the front is told, by a file in the node's data directory. All of it but Listen and RunDir is in force
// as soon as the file is another one.
type Config struct {
	Listen      []string `json:"listen"` // addresses with their ports
	RunDir      string   `json:"run_dir"`
	Connections int      `json:"connections"` // of users
	Certificate string   `json:"certificate"` // files beside this one
	Key         string   `json:"key"`
	Followers   string   `json:"followers,omitempty"` // the authority of those who follow, likewise; empty: nobody may
	Refuses     string   `json:"refuses,omitempty"`   // Growing or Deleting; empty: nothing
}

// certificate reads the certificate that the configuration at path names.
func certificate(path string) (*tls.Certificate, error) {
	c, err := door.ReadConfig[Config](path)
	if err != nil {
		return nil, err
	}
	return door.Certificate(path, c.Certificate, c.Key)
}

package front

import (
	"crypto/tls"
	"path/filepath"

	"github.com/backstay/backstay/engine/door"
)

// What the front writes into the node's log: Said, and why it ends, or Serves.
const (
	Said   = "front: "
	Serves = "OpenSearch answers"
)

// Files in the directory in which a node runs.
const (
	ConfigDir = "config" // what the server reads, and KeyFile among it, until it has read that
	LogDir    = "logs"
	ProcessID = "pid"      // of the server
	LeafFile  = "node.crt" // by which the server and the front prove themselves to each other
	KeyFile   = "node.key"
	ports     = "http.ports" // in LogDir: where the server listens, which it says itself
)

// Socket returns where the administrator gets in.
func Socket(runDir string) string { return filepath.Join(runDir, "operator.sock") }

// Config is what the front is told, by a file in the node's data directory. All of it but Listen and RunDir is read
// anew for each connection.
type Config struct {
	Listen      []string `json:"listen"` // addresses with their ports
	RunDir      string   `json:"run_dir"`
	Connections int      `json:"connections"` // of users
	Certificate string   `json:"certificate"` // files beside this one
	Key         string   `json:"key"`
	Authority   string   `json:"authority"` // of LeafFile
	Name        string   `json:"name"`      // that is in the server's certificate
}

// certificate reads the certificate that the configuration at path names.
func certificate(path string) (*tls.Certificate, error) {
	c, err := door.ReadConfig[Config](path)
	if err != nil {
		return nil, err
	}
	return door.Certificate(path, c.Certificate, c.Key)
}

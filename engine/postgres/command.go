package postgres

import (
	"os/exec"
	"path/filepath"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/pgserver"
)

// Command runs the server. The arguments hold no secret, since everybody on the machine can read them.
func (Engine) Command(n engine.Node) (engine.Process, error) {
	cmd := exec.Command(filepath.Join(n.Installation.Dir, "postgres"), "-D", n.DataDir)
	cmd.Env = pgserver.Environment
	return engine.Process{Cmd: cmd}, nil
}

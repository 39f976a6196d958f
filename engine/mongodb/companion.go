package mongodb

import (
	"errors"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/mongodb/front"
	"github.com/backstay/backstay/engine/pgserver"
)

// isReached tells whether clients reach the node.
func isReached(n engine.Node) bool { return len(n.Port(engine.ClientPort).Listen) > 0 }

// Companions are FerretDB for those who write and for those who read, and the front before them. On a node that follows
// nobody writes. One that nobody reaches but its administrator has none.
func (e Engine) Companions(n engine.Node) ([]engine.Companion, error) {
	if !isReached(n) {
		return nil, nil
	}
	if len(e.Front) == 0 {
		return nil, errors.New("the engine was not told how its front is run")
	}
	arguments := slices.Concat(e.Front[1:], []string{filepath.Join(n.DataDir, frontFile)})
	cmd := exec.Command(e.Front[0], arguments...)
	cmd.Env = pgserver.Environment
	all := []engine.Companion{
		{Name: front.Reader, Process: gateway(n, front.Reader)},
		{Name: "front", Process: engine.Process{Cmd: cmd}},
	}
	if !pgserver.Follows(n) {
		all = slices.Insert(all, 0, engine.Companion{Name: front.Writer, Process: gateway(n, front.Writer)})
	}
	return all, nil
}

// gateway runs a FerretDB that logs in to PostgreSQL as a role. It takes nothing from the network, and tells
// nobody of itself.
func gateway(n engine.Node, role string) engine.Process {
	query := url.Values{"host": {n.RunDir}, "pool_min_conns": {"1"}, "pool_max_conns": {strconv.Itoa(pool(n.Size))}}
	socket, program := front.Socket(n.RunDir, role), ferretdb(n.Installation.Dir)
	state := filepath.Join(n.RunDir, role) // it keeps there when it was first started
	// FerretDB does not listen where one that was killed has left its socket.
	cmd := exec.Command("/bin/sh", "-c", `rm -f "$1" && mkdir -p "$2" && shift 2 && exec "$0" "$@"`, program,
		socket, state,
		"--postgresql-url=postgres://"+role+"@/"+database+"?"+query.Encode(),
		"--listen-addr=", "--listen-unix="+socket,
		"--debug-addr=-", "--telemetry=disable", "--state-dir="+state, "--log-level=ERROR", "--no-log-uuid")
	cmd.Env = pgserver.Environment
	return engine.Process{Cmd: cmd, Program: program}
}

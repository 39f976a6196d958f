package node

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/process"
)

// launch becomes the program in "$@", once its pid is in the file "$0". It does nothing until it reads a line: then it
// is in its group. If the keeper dies before that, it ends. Of two at once, which a crash of the keeper can bring
// about, the one that makes the file goes on. Before that, it takes the place in the out-of-memory killer's order that
// "$1" says, if it says one and may. It leaves no core, in which data would be.
const launch = `read -r go || exit 1
umask 077; ulimit -c 0; { test -z "$1" || echo "$1" >/proc/self/oom_score_adj; } 2>/dev/null; shift
set -C; echo $$ >"$0" && exec "$@" </dev/null`

// outOfMemory is the node's place in that order: tenants' nodes go first, and what serves nobody does
// too. Our own databases have the keeper's place.
func (n Node) outOfMemory() string {
	if len(n.Ports) == 0 && !n.Scratch {
		return ""
	}
	return strconv.Itoa(process.FirstToGo)
}

// Start starts the main process in a session of its own, as the node's own user, and in the node's group. Find has
// found none, and Prepare has succeeded.
func (n Node) Start(log *slog.Logger) (*process.Process, error) {
	main, err := n.Engine.Command(n.Node)
	if err != nil {
		return nil, err
	}
	return n.start(main, n.pidFile(), log)
}

func (n Node) start(what engine.Process, pidFile string, log *slog.Logger) (*process.Process, error) {
	says, err := os.OpenFile(n.LogFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer says.Close()
	cmd := what.Cmd
	cmd.Args = append([]string{"/bin/sh", "-c", launch, pidFile, n.outOfMemory(), cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	cmd.Dir = n.Dir // by which it is known as the node's
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, says, says
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if cmd.Env == nil {
		cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"}
	}
	if n.Account != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: n.Account.UID, Gid: n.Account.GID}
	}
	goes, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start engine: %w", err)
	}
	p, err := process.Open(cmd.Process.Pid)
	go cmd.Wait() // so that it leaves no zombie while we are its parent
	if errors.Is(err, os.ErrProcessDone) {
		return nil, n.Explain()
	}
	if err != nil {
		return nil, err
	}
	n.confine(p.PID, log)
	_, _ = goes.Write([]byte("go\n")) // fails if it has ended, which awaitPIDFile tells
	if err := n.awaitPIDFile(p, pidFile); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// awaitPIDFile waits until the process can be found by whoever comes after us.
func (n Node) awaitPIDFile(p *process.Process, pidFile string) error {
	for {
		if pid, err := readPIDFile(pidFile); pid == p.PID || err != nil && !errors.Is(err, errNoPID) {
			return err
		}
		select {
		case <-p.Done():
			return n.Explain()
		case <-time.After(time.Millisecond):
		}
	}
}

package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
	"github.com/backstay/backstay/internal/process"
)

// killGrace is how long the kernel may take to end what was killed.
const killGrace = 20 * time.Second

// Stop ends the node's processes, and tells whether the main one ran.
func (n Node) Stop() (stopped bool, err error) {
	p, err := n.Find()
	if p == nil || err != nil {
		return false, errors.Join(err, n.stopCompanions())
	}
	return true, errors.Join(n.End(p), p.Close())
}

// Patience is how long the main process may take to end in an orderly way.
func (n Node) Patience() time.Duration { return n.ending().Grace }

// End ends the node's processes, p being the main one: politely, then not. When it returns nil there is
// no pid file any more.
func (n Node) End(p *process.Process) error { return n.EndWithin(n.Patience(), p) }

// EndWithin is End for a main process that gets that much time to end politely.
func (n Node) EndWithin(patience time.Duration, p *process.Process) error {
	if err := n.stopCompanions(); err != nil {
		return err
	}
	how := n.ending()
	how.Grace = patience
	if err := n.endProcess(p, how); err != nil {
		return err
	}
	return removeFile(n.pidFile())
}

// Kill ends the node's processes without asking: they do not answer.
func (n Node) Kill(p *process.Process) error {
	if err := kill(p); err != nil {
		return err
	}
	return errors.Join(n.stopCompanions(), n.EndRemnants(), removeFile(n.pidFile()))
}

// KillAdrift is Kill for a node whose disk was taken out of the way below it: what it leaves has no name to be found
// by.
func (n Node) KillAdrift(p *process.Process) error {
	besides := n.besides(p)
	return errors.Join(n.Kill(p), n.remnants(besides, kill))
}

// besides tells of a process whether it is a remnant by where it works: in the very directory that a main process works
// in, whose disk may have been taken out of the way, so that it has no name any more.
func (n Node) besides(main *process.Process) func(pid int) bool {
	where, err := os.Stat(cwdOf(main.PID))
	return func(pid int) bool {
		if err != nil || pid == main.PID || ProgramOf(pid) != n.Program || !n.isOwners(pid) {
			return false
		}
		works, err := os.Stat(cwdOf(pid))
		return err == nil && os.SameFile(works, where)
	}
}

func cwdOf(pid int) string { return filepath.Join("/proc", strconv.Itoa(pid), "cwd") }

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// ending is how the main process is ended; an engine that this build does not know gets the signal that
// most know.
func (n Node) ending() engine.Ending {
	if n.Engine == nil {
		return engine.Ending{Signal: syscall.SIGTERM, Grace: killGrace}
	}
	return n.Engine.Ending(n.Node)
}

func (n Node) endProcess(p *process.Process, how engine.Ending) error {
	if IsStopped(p.PID) { // it would hear no signal but this
		return kill(p)
	}
	if err := p.Signal(how.Signal); err != nil {
		return fmt.Errorf("end process %d: %w", p.PID, err)
	}
	select {
	case <-p.Done():
		return nil
	case <-time.After(how.Grace):
		return kill(p)
	}
}

func kill(p *process.Process) error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill process %d: %w", p.PID, err)
	}
	select {
	case <-p.Done():
		return nil
	case <-time.After(killGrace):
		return fmt.Errorf("process %d does not end", p.PID)
	}
}

// EndRemnants kills what a main process that was killed has left behind: a PostgreSQL backend in the
// middle of a query does not look up, and no other server can start until it has ended. A remnant works
// in the instance's directory, runs the engine's very program, and is of the instance's user.
func (n Node) EndRemnants() error { return n.remnants(n.isRemnant, kill) }

func (n Node) remnants(isOne func(pid int) bool, end func(*process.Process) error) error {
	if n.Program == "" {
		return nil
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || !isOne(pid) {
			continue
		}
		p, err := process.Open(pid)
		if errors.Is(err, os.ErrProcessDone) {
			continue
		}
		if err != nil {
			return err
		}
		if isOne(pid) { // still: now the pid cannot change hands
			err = end(p)
		}
		if err := errors.Join(err, p.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (n Node) isRemnant(pid int) bool { return ProgramOf(pid) == n.Program && n.owns(pid) }

// Abandon ends and removes what an upgrade, or a restore, has left that was interrupted.
func (n Node) Abandon() error {
	parts, err := filepath.Glob(filepath.Join(n.Dir, "*.part"))
	for _, part := range parts {
		err = errors.Join(err, datadir.Abandon(strings.TrimSuffix(part, ".part")))
	}
	restoring, globErr := filepath.Glob(filepath.Join(n.Dir, "*.restoring"))
	for _, dir := range restoring {
		err = errors.Join(err, process.KillIn(dir), os.RemoveAll(dir))
	}
	return errors.Join(err, globErr, os.RemoveAll(n.RunDir+".up"))
}

// IsStopped tells whether a process stands still because a signal stopped it, or somebody traces it.
func IsStopped(pid int) bool {
	state, err := stateOf(pid)
	return err == nil && (state == 'T' || state == 't')
}

// stateOf is the state of a process as proc(5) has it: the letter behind its name, which is in
// parentheses and may hold any character.
func stateOf(pid int) (byte, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	for i := len(text) - 3; i > 0; i-- {
		if text[i] == ')' {
			return text[i+2], nil
		}
	}
	return 0, fmt.Errorf("process %d has no state in %q", pid, text)
}

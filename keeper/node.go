package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/process"
)

func (c Config) instanceDir(id backstay.InstanceID) string { return c.dir("instances", string(id)) }

// runDir is for Unix sockets, so its path is short.
func (c Config) runDir(r record) string {
	if r.Port == 0 {
		return c.dir("run", string(r.Spec.Instance))
	}
	return c.portDir(r.Port)
}

func (c Config) portDir(port int) string { return c.dir("run", strconv.Itoa(port)) }

func (s *supervisor) engine() engine.Engine { return s.k.Engines[s.current().Spec.Engine] }

// node is the instance's one node, as the engine is to know it.
func (s *supervisor) node(r record) (engine.Node, error) {
	cache, err := s.k.cacheDir(r.Spec.Engine)
	if err != nil {
		return engine.Node{}, err
	}
	n := engine.Node{
		Instance: s.id, Installation: r.Installation, DataDir: filepath.Join(s.k.instanceDir(s.id), "data"), LogFile: s.logFile(),
		RunDir: s.k.runDir(r), CacheDir: cache, Operator: operator(), Size: sizeHere(r.Spec.Size), TLS: r.Spec.TLS, Settings: r.Spec.Settings,
	}
	if r.UID != 0 {
		n.Account = &engine.Account{UID: r.UID, GID: r.UID}
	}
	if r.Port != 0 {
		n.Endpoint = backstay.Endpoint{Host: s.k.Host, Port: r.Port}
		n.Ports = []engine.Port{{Name: engine.ClientPort, Number: r.Port, Listen: s.k.Listen}}
	}
	if e := s.engine(); e != nil {
		n.Admin = e.LocalAdmin(n)
	}
	return n, nil
}

// sizeHere is a plan's size as an engine is told of it: one that is told of more memory than the machine has
// does not start.
func sizeHere(s backstay.Size) backstay.Size {
	var machine unix.Sysinfo_t
	if err := unix.Sysinfo(&machine); err == nil {
		s.Memory = min(s.Memory, backstay.Bytes(machine.Totalram)*backstay.Bytes(machine.Unit))
	}
	return s
}

// runningNode is the node while it serves clients. One that is on its way there is waited for: who
// asks just after a crash is not to feel it.
func (s *supervisor) runningNode(ctx context.Context) (engine.Node, error) {
	for {
		status, changed := s.look()
		switch status.Phase {
		case backend.Running:
			return s.node(s.current())
		case backend.Failing, backend.Removing:
			return engine.Node{}, backstay.Errorf(backstay.Unavailable, "The service instance does not serve now: %s", status.Message)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return engine.Node{}, backstay.Wrapf(ctx.Err(), backstay.Unavailable, "The service instance does not serve yet: %s", status.Message)
		}
	}
}

// pidFile names the process of the instance's node. It is written before the engine is, by the very
// process that becomes it, so that whatever dies the process can be found.
func (s *supervisor) pidFile() string { return filepath.Join(s.k.runDir(s.current()), "node.pid") }

// launch becomes the program in "$@", once its pid is in the file "$0". Of two at once, which a crash
// of the keeper can bring about, the one that makes the file goes on.
const launch = `umask 077; set -C; echo $$ >"$0" && exec "$@"`

// start starts the engine in a session of its own, as the instance's own user. There is no pid file,
// or it names a process that has ended.
func (s *supervisor) start(n engine.Node) (*process.Process, error) {
	main, err := s.engine().Command(n)
	if err != nil {
		return nil, err
	}
	cmd := main.Cmd
	log, err := os.OpenFile(n.LogFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Args = append([]string{"/bin/sh", "-c", launch, s.pidFile(), cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	cmd.Dir = s.k.instanceDir(s.id) // how find knows it
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if cmd.Env == nil {
		cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"}
	}
	if n.Account != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: n.Account.UID, Gid: n.Account.GID}
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start engine: %w", err)
	}
	p, err := process.Open(cmd.Process.Pid)
	go cmd.Wait() // so that it leaves no zombie while we are its parent
	if errors.Is(err, os.ErrProcessDone) {
		return nil, s.explain()
	}
	if err != nil {
		return nil, err
	}
	return p, s.awaitPIDFile(p)
}

// awaitPIDFile waits until the process can be found by whoever comes after us.
func (s *supervisor) awaitPIDFile(p *process.Process) error {
	for {
		if pid, err := s.readPIDFile(); pid == p.PID || err != nil && !errors.Is(err, errNoPID) {
			return err
		}
		select {
		case <-p.Done():
			return s.explain()
		case <-time.After(time.Millisecond):
		}
	}
}

// adopt returns the node's process, if it runs: with an older Spec than the one that is wanted it is
// ended instead. None is nil.
func (s *supervisor) adopt() (*process.Process, error) {
	p, err := s.find()
	if p == nil || err != nil {
		return nil, err
	}
	r := s.current()
	if r.Started == r.Spec.Generation {
		return p, nil
	}
	defer p.Close()
	s.enter(backend.Starting, "The engine is started again, because its settings have changed.")
	if err := s.end(p); err != nil {
		return nil, err
	}
	return nil, os.Remove(s.pidFile())
}

// find returns the process that the pid file names, if it is the node's: a pid may have come to mean
// another process since. If there is none, it is nil and the pid file is gone.
func (s *supervisor) find() (*process.Process, error) {
	pid, err := s.readWrittenPIDFile()
	if err != nil || pid == 0 {
		return nil, err
	}
	p, err := process.Open(pid)
	if err == nil && s.isOurs(pid) {
		return p, nil
	}
	if p != nil {
		p.Close()
	}
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return nil, err
	}
	return nil, os.Remove(s.pidFile())
}

// errNoPID is that of a pid file that is made and not written yet, or that a power failure has emptied.
var errNoPID = errors.New("no pid in the pid file")

// readPIDFile is 0 if there is no file.
func (s *supervisor) readPIDFile() (int, error) {
	text, err := readSmall(s.pidFile())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && pid > 0 {
		return pid, nil
	}
	return 0, errNoPID
}

// writingPatience is how long a process on a busy machine may take between making the file and writing
// into it.
const writingPatience = 2 * time.Second

// readWrittenPIDFile is readPIDFile for whoever comes after a crash. A file that stays without a pid is
// removed: nobody is about to write into it.
func (s *supervisor) readWrittenPIDFile() (int, error) {
	for begun := time.Now(); time.Since(begun) < writingPatience; time.Sleep(time.Millisecond) {
		if pid, err := s.readPIDFile(); !errors.Is(err, errNoPID) {
			return pid, err
		}
	}
	return 0, os.Remove(s.pidFile())
}

// readSmall reads a file in a directory that an engine can write to: whatever it has put there must
// neither lead us elsewhere nor hold us up.
func readSmall(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 64))
}

// endRemnants kills what a main process that was killed has left behind: a PostgreSQL backend in the
// middle of a query does not look up, and no other server can start until it has ended. A remnant works
// in the instance's directory, runs the engine's very program, and is of the instance's user.
func (s *supervisor) endRemnants() error {
	r := s.current()
	if r.Program == "" {
		return nil // never started
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || !s.isRemnant(pid, r.Program) {
			continue
		}
		p, err := process.Open(pid)
		if errors.Is(err, os.ErrProcessDone) {
			continue
		}
		if err != nil {
			return err
		}
		if s.isRemnant(pid, r.Program) { // still: now the pid cannot change hands
			err = s.kill(p)
		}
		if err := errors.Join(err, p.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (s *supervisor) isRemnant(pid int, program string) bool {
	runs, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "exe"))
	return err == nil && strings.TrimSuffix(runs, " (deleted)") == program && s.isOurs(pid) // deleted: upgraded since
}

// isOurs tells whether a process is of the instance's user and works in its directory.
func (s *supervisor) isOurs(pid int) bool {
	owner := uint32(os.Geteuid())
	if r := s.current(); r.UID != 0 {
		owner = r.UID
	}
	var stat syscall.Stat_t
	err := syscall.Stat(filepath.Join("/proc", strconv.Itoa(pid)), &stat)
	return err == nil && stat.Uid == owner && process.WorksIn(pid, s.k.instanceDir(s.id))
}

// resolved is path without symbolic links, as the kernel names programs.
func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// stopNode ends the node's process, if it runs.
func (s *supervisor) stopNode() error {
	p, err := s.find()
	if p == nil || err != nil {
		return err
	}
	defer p.Close()
	return s.end(p)
}

// end ends a process: politely, then not.
func (s *supervisor) end(p *process.Process) error {
	ending, err := s.ending()
	if err != nil {
		return err
	}
	if err := p.Signal(ending.Signal); err != nil {
		return fmt.Errorf("end process %d: %w", p.PID, err)
	}
	select {
	case <-p.Done():
		return nil
	case <-time.After(ending.Grace):
		return s.kill(p)
	}
}

// ending is how the engine is ended; one that this build does not know gets the signal that most know.
func (s *supervisor) ending() (engine.Ending, error) {
	e := s.engine()
	if e == nil {
		return engine.Ending{Signal: syscall.SIGTERM, Grace: killGrace}, nil
	}
	n, err := s.node(s.current())
	return e.Ending(n), err
}

func (s *supervisor) kill(p *process.Process) error {
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

package endpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/backstay/backstay/internal/process"
)

// What lies in a front's directory.
const (
	pidFile    = "front.pid"
	socket     = "front.sock"
	handSocket = "handover.sock"
	recordFile = "front.json"
)

// PIDFileIn is the file that a front holds as long as it lives.
func PIDFileIn(dir string) string { return filepath.Join(dir, pidFile) }

// SocketIn is where a front is told what to do.
func SocketIn(dir string) string { return filepath.Join(dir, socket) }

// HandoverSocketIn is where a front hands over to another one.
func HandoverSocketIn(dir string) string { return filepath.Join(dir, handSocket) }

// RecordIn is what a front was told last.
func RecordIn(dir string) string { return filepath.Join(dir, recordFile) }

// nobody is the user that owns nothing, by convention since before Linux.
const nobody = 65534

// endGrace is how long a front may take to end in an orderly way, and the kernel to end it.
const endGrace = 5 * time.Second

// User is the operating-system user that a front runs as. It need not be in the password database.
type User struct{ UID, GID uint32 }

// Front is a front of this machine, whether it runs or not.
type Front struct {
	Settings
	// Dir is its own: its process works there, and it is found there. All above it can be passed through by its user,
	// and its path is short enough for a Unix socket in it.
	Dir     string
	LogFile string
	Program string   // that is run; empty: the one that runs now
	Command []string // the command line that makes it a front, its name first, without the flags for Settings
	User    *User    // nil: nobody if we are root, else who we are
}

// Client returns the client of the front.
func (f Front) Client() *Client { return NewClient(f.Dir) }

// Find returns the front's process, or nil if there is none.
func (f Front) Find() (*process.Process, error) {
	pid, err := process.PIDFileHolder(PIDFileIn(f.Dir))
	if err != nil || pid == 0 {
		return nil, err
	}
	p, err := process.Open(pid)
	if errors.Is(err, os.ErrProcessDone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// The pid may have changed hands before it was tied down; who still holds the file has not.
	if again, err := process.PIDFileHolder(PIDFileIn(f.Dir)); err != nil || again != pid || !f.owns(pid) {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// owns tells whether a process is of the front's user: nobody else's is ever signalled.
func (f Front) owns(pid int) bool {
	var stat syscall.Stat_t
	err := syscall.Stat(filepath.Join("/proc", strconv.Itoa(pid)), &stat)
	return err == nil && stat.Uid == f.user().UID
}

// Ensure returns the process of a front that has these settings: the one that runs, or a new one, which takes over all
// that a front with other settings has open. A front that runs and does not answer is an error: to end it, which ends
// its sessions, is for the caller to decide.
func (f Front) Ensure(ctx context.Context) (*process.Process, error) {
	p, err := f.Find()
	if err != nil {
		return nil, err
	}
	if p == nil {
		return f.Start(ctx)
	}
	status, err := f.Client().Status(ctx)
	if err == nil && status.Settings.equal(f.Settings) {
		return p, nil
	}
	if err := errors.Join(err, p.Close()); err != nil {
		return nil, err
	}
	return f.Start(ctx)
}

func (s Settings) equal(o Settings) bool {
	return slices.Equal(s.Listen, o.Listen) && s.Connections == o.Connections && s.Patience == o.Patience &&
		s.Build == o.Build
}

// Start starts a front, in a session of its own, and returns when it serves. It takes over from one that runs: that
// goes on if the new one does not come up. When ctx ends first, the process is left to itself: it will serve or end.
func (f Front) Start(ctx context.Context) (*process.Process, error) {
	if err := f.makeDir(); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(f.LogFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	says, told, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer says.Close()
	cmd := f.command()
	cmd.Stdout, cmd.Stderr = told, log
	err = cmd.Start()
	told.Close()
	if err != nil {
		return nil, fmt.Errorf("start front: %w", err)
	}
	go cmd.Wait() // so that it leaves no zombie while we are its parent
	if err := awaitReady(ctx, says); err != nil {
		return nil, err
	}
	return process.Open(cmd.Process.Pid)
}

// Ready is what a front says on its standard output when it serves, before it closes that. Else it says why not.
const Ready = "ready"

func awaitReady(ctx context.Context, says *os.File) error {
	stop := context.AfterFunc(ctx, func() { _ = says.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	text, err := io.ReadAll(io.LimitReader(says, 4096))
	said := strings.TrimSpace(string(text))
	switch {
	case said == Ready:
		return nil
	case err != nil:
		return fmt.Errorf("the front does not come up: %w", cmp.Or(context.Cause(ctx), err))
	}
	return fmt.Errorf("the front does not start: %s", cmp.Or(said, "it ended without a word"))
}

func (f Front) command() *exec.Cmd {
	// By this name also a user who may not pass through the directories above our program can run it.
	cmd := exec.Command(cmp.Or(f.Program, "/proc/self/exe"))
	cmd.Args = slices.Concat(f.Command, f.arguments())
	cmd.Dir = f.Dir
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if os.Geteuid() == 0 {
		u := f.user()
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: u.UID, Gid: u.GID}
	}
	return cmd
}

// arguments are the flags behind Command. No secret is among them.
func (f Front) arguments() []string {
	listen := make([]string, len(f.Listen))
	for i, a := range f.Listen {
		listen[i] = a.String()
	}
	return []string{
		"--dir", f.Dir, "--listen", strings.Join(listen, ","), "--connections", strconv.Itoa(f.Connections),
		"--patience", f.Patience.String(), "--build", f.Build,
	}
}

func (f Front) user() User {
	switch {
	case f.User != nil:
		return *f.User
	case os.Geteuid() == 0:
		return User{nobody, nobody}
	}
	return User{uint32(os.Geteuid()), uint32(os.Getegid())}
}

// makeDir makes the directory, which nobody but the front's user and root can enter.
func (f Front) makeDir() error {
	if err := os.Mkdir(f.Dir, 0o700); err != nil && !os.IsExist(err) {
		return err
	}
	if err := os.Chmod(f.Dir, 0o700); err != nil || os.Geteuid() != 0 {
		return err
	}
	u := f.user()
	return os.Lchown(f.Dir, int(u.UID), int(u.GID))
}

// End ends the front, if it runs, and its sessions with it. It returns when the process has ended.
func (f Front) End() error {
	p, err := f.Find()
	if p == nil || err != nil {
		return err
	}
	defer p.Close()
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if err := p.Signal(s); err != nil {
			return fmt.Errorf("end front %d: %w", p.PID, err)
		}
		select {
		case <-p.Done():
			return nil
		case <-time.After(endGrace):
		}
	}
	return fmt.Errorf("front %d does not end", p.PID)
}

package local

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper/wire"
)

// Launcher sees to it that a keeper of our own program runs. The keeper is no child to be cared for: it
// has a session of its own, and outlives us.
type Launcher struct {
	Backend    *Backend
	Program    string   // that is run
	Command    []string // the command line that makes it the keeper, its name first
	LogPath    string
	Executable string        // which program that is (see process.Executable): a keeper of another one is replaced
	Told       func() string // which settings it is to go by: a keeper of others is replaced; nil: it was told of none
	// HandOver is what the keeper reads from its standard input when it starts; nil: nothing.
	HandOver func(context.Context) (backstay.Secret, error)
	Patience time.Duration // that a keeper may take until it answers, or until it makes room; 0: startPatience
	Log      *slog.Logger
}

const startPatience = 20 * time.Second

// Ensure returns when a keeper of our program answers, having started one if need be.
func (l *Launcher) Ensure(ctx context.Context) error {
	_, err := l.ensure(ctx)
	return err
}

// Watch starts another keeper whenever one ends, until ctx does.
func (l *Launcher) Watch(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := l.follow(ctx); err != nil && ctx.Err() == nil {
			l.Log.Error("the keeper does not run; it is started again", "error", err)
			wait.Pause(ctx, time.Second)
		}
	}
	return nil
}

// follow returns when the keeper has ended.
func (l *Launcher) follow(ctx context.Context) error {
	k, err := l.ensure(ctx)
	if err != nil {
		return err
	}
	p, err := process.Open(k.PID)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer p.Close()
	select {
	case <-p.Done():
		l.Log.Warn("the keeper has ended", "pid", k.PID)
	case <-ctx.Done():
	}
	return nil
}

// ensure leaves no process behind that it has started and that is not the keeper: one that is still
// coming up could become it when nobody wants any.
func (l *Launcher) ensure(ctx context.Context) (k wire.Keeper, err error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(l.Patience, startPatience))
	defer cancel()
	var ours *candidate
	var dismissed int // the keeper that was asked to make room
	defer func() { ours.leave(k.PID) }()
	for {
		pause := 5 * time.Millisecond
		k, err := l.Backend.ask(ctx)
		switch {
		case err == nil && l.isOurs(k):
			return k, nil
		case err == nil && k.Protocol > wire.Protocol:
			return wire.Keeper{}, newerError(k)
		case err == nil:
			dismissed = k.PID
			if err := l.dismiss(ctx, k); err != nil {
				return wire.Keeper{}, err
			}
		case ctx.Err() != nil && dismissed != 0 && ours == nil:
			return wire.Keeper{}, stubbornError(dismissed)
		case ctx.Err() != nil:
			return wire.Keeper{}, l.failure(ours, ctx.Err())
		case ours == nil:
			if ours, err = l.launch(ctx); err != nil {
				return wire.Keeper{}, err
			}
		case ours.hasEnded():
			if !l.lostRace(ours) {
				return wire.Keeper{}, l.failure(ours, nil)
			}
			ours, pause = nil, 100*time.Millisecond // who has won is about to answer, or to end
		}
		wait.Pause(ctx, pause) // whether ctx has ended is looked at behind the next try
	}
}

// isOurs tells whether a keeper is of our program and goes by our settings.
func (l *Launcher) isOurs(k wire.Keeper) bool {
	told := ""
	if l.Told != nil {
		told = l.Told() // which may have changed while that keeper started
	}
	return k.Protocol == wire.Protocol && k.Executable == l.Executable && k.Told == told
}

// newerError tells of a keeper that speaks what we cannot.
func newerError(k wire.Keeper) error {
	return fmt.Errorf("the databases are kept by a newer Backstay, %s: run that, or a later one", k.Version)
}

// stubbornError tells of a keeper that did not make room.
func stubbornError(pid int) error {
	return fmt.Errorf("the keeper of another Backstay, process %d, does not make room: "+
		"end that process, the databases run on", pid)
}

// dismiss asks a keeper to exit. One that does not answer any more has.
func (l *Launcher) dismiss(ctx context.Context, k wire.Keeper) error {
	l.Log.Info("a keeper of another program, or of other settings, makes room for ours",
		"pid", k.PID, "version", k.Version, "protocol", k.Protocol)
	err := l.Backend.try(ctx, "POST", wire.ExitPath, nil, nil)
	var silence *silenceError
	if errors.As(err, &silence) {
		return nil
	}
	return err
}

// candidate is a process that may become the keeper.
type candidate struct {
	process *os.Process
	ended   chan struct{}
	logFrom int64 // where what it says begins
}

func (l *Launcher) launch(ctx context.Context) (*candidate, error) {
	var handed backstay.Secret
	if l.HandOver != nil {
		var err error
		if handed, err = l.HandOver(ctx); err != nil {
			return nil, err
		}
	}
	log, err := os.OpenFile(l.LogPath, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	before, err := log.Stat()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(l.Program)
	cmd.Args = l.Command
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	if handed != "" {
		cmd.Stdin = strings.NewReader(handed.Reveal())
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &candidate{process: cmd.Process, ended: make(chan struct{}), logFrom: before.Size()}
	go func() {
		cmd.Wait()
		close(c.ended)
	}()
	return c, nil
}

func (c *candidate) hasEnded() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// leave ends the candidate, if there is one, unless it is the keeper.
func (c *candidate) leave(keeper int) {
	if c == nil || c.process.Pid == keeper {
		return
	}
	c.process.Kill() // it is built to bear that; if it has ended already, all the better
	<-c.ended
}

// anotherKeeper is what a keeper says that finds its data directory kept already, as by one that is
// just about to end.
const anotherKeeper = "another keeper keeps"

func (l *Launcher) lostRace(c *candidate) bool {
	return bytes.Contains(l.said(c.logFrom), []byte(anotherKeeper))
}

// failure tells why no keeper came up, with the last thing that one said but for its advice, which is for
// whoever typed its command.
func (l *Launcher) failure(c *candidate, cause error) error {
	var from int64
	if c != nil {
		from = c.logFrom
	}
	var last []byte
	for line := range bytes.Lines(l.said(from)) {
		if line = bytes.TrimSpace(line); len(line) > 0 && !bytes.HasPrefix(line, []byte("Type: ")) {
			last = line
		}
	}
	return errors.Join(fmt.Errorf("the keeper does not start: %s (all of it is in %s)", last, l.LogPath), cause)
}

// said is the end of the log, from there on.
func (l *Launcher) said(from int64) []byte {
	const enough = 64 << 10
	log, err := os.Open(l.LogPath)
	if err != nil {
		return nil
	}
	defer log.Close()
	info, err := log.Stat()
	if err != nil {
		return nil
	}
	from = max(from, info.Size()-enough)
	text, err := io.ReadAll(io.NewSectionReader(log, from, enough))
	if err != nil {
		return nil
	}
	return text
}

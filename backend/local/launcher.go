package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/backstay/backstay/internal/process"
)

// Launcher sees to it that a keeper of our own build runs. The keeper is no child to be cared for: it
// has a session of its own, and outlives us.
type Launcher struct {
	Backend *Backend
	Command []string // that becomes the keeper
	LogPath string
	Version string // of our build: a keeper of another one is replaced, while its engines run on
	Log     *slog.Logger
}

// startPatience is how long a keeper may take until it answers.
const startPatience = 20 * time.Second

// Ensure returns when a keeper of our build answers, having started one if need be.
func (l *Launcher) Ensure(ctx context.Context) error {
	_, err := l.ensure(ctx)
	return err
}

// Watch starts another keeper whenever one ends, until ctx does.
func (l *Launcher) Watch(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := l.follow(ctx); err != nil && ctx.Err() == nil {
			l.Log.Error("the keeper does not run; it is started again", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
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

func (l *Launcher) ensure(ctx context.Context) (info, error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	var ended <-chan struct{} // closed when the one that we have started has ended
	for {
		k, err := l.Backend.ask(ctx)
		switch {
		case err == nil && k.Version == l.Version:
			return k, nil
		case err == nil:
			l.Log.Info("a keeper of another build makes room for ours", "pid", k.PID, "version", k.Version)
			if err := l.Backend.try(ctx, "POST", "exit", nil, nil); err != nil {
				return k, err
			}
		case ctx.Err() != nil:
			return k, l.failure(ctx.Err())
		case ended == nil:
			if ended, err = l.launch(); err != nil {
				return k, err
			}
		case isClosed(ended):
			if ended, err = nil, l.failure(nil); !l.lostRace() {
				return k, err
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (l *Launcher) launch() (ended <-chan struct{}, err error) {
	log, err := os.OpenFile(l.LogPath, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(l.Command[0], l.Command[1:]...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		cmd.Wait()
		close(done)
	}()
	return done, nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// anotherKeeper is what a keeper says that finds its data directory kept already, as by one that is
// just about to end.
const anotherKeeper = "another keeper keeps"

func (l *Launcher) lostRace() bool { return bytes.Contains(l.lastLine(), []byte(anotherKeeper)) }

// failure tells why no keeper came up, with the last thing that one said.
func (l *Launcher) failure(cause error) error {
	err := fmt.Errorf("the keeper does not start: %s (all of it is in %s)", l.lastLine(), l.LogPath)
	return errors.Join(err, cause)
}

func (l *Launcher) lastLine() []byte {
	text, err := os.ReadFile(l.LogPath)
	if err != nil {
		return nil
	}
	text = bytes.TrimSpace(text)
	return text[bytes.LastIndexByte(text, '\n')+1:]
}

package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/wait"
)

// companionGrace is how long a companion may take to end.
const companionGrace = 10 * time.Second

// companionPause is how long after its end a companion is started again.
const companionPause = time.Second

// companionPrefix begins the names of companions' pid files.
const companionPrefix = "companion-"

// Accompany starts the node's companions, adopting those that run, and starts them again when they end,
// until end is called or ctx ends, which leaves them running. The main process runs.
func (n Node) Accompany(ctx context.Context, log *slog.Logger) (end func(), err error) {
	e, ok := n.Engine.(engine.Accompanied)
	if !ok {
		return func() {}, nil
	}
	companions, err := e.Companions(n.Node)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var following sync.WaitGroup
	end = func() { cancel(); following.Wait() }
	for i := range companions {
		p, err := n.companion(i, log)
		if err != nil {
			end()
			return nil, fmt.Errorf("start companion %s: %w", companions[i].Name, err)
		}
		following.Go(func() { n.follow(ctx, i, p, log.With("companion", companions[i].Name)) })
	}
	return end, nil
}

// StartCompanions starts the companions that do not run: the node may not serve without them. Accompany adopts them.
func (n Node) StartCompanions(log *slog.Logger) error {
	e, ok := n.Engine.(engine.Accompanied)
	if !ok {
		return nil
	}
	companions, err := e.Companions(n.Node)
	if err != nil {
		return err
	}
	for i := range companions {
		p, err := n.companion(i, log)
		if err != nil {
			return fmt.Errorf("start companion %s: %w", companions[i].Name, err)
		}
		p.Close()
	}
	return nil
}

// companion returns the process of the companion of that number, which it starts if it does not run.
func (n Node) companion(i int, log *slog.Logger) (*process.Process, error) {
	companions, err := n.Engine.(engine.Accompanied).Companions(n.Node) // anew: a command starts once
	if err != nil {
		return nil, err
	}
	pidFile := n.pidFileOf(companionPrefix + companions[i].Name)
	if p, err := n.find(pidFile); p != nil || err != nil {
		return p, err
	}
	return n.start(companions[i].Process, pidFile, log)
}

// follow starts a companion again whenever it ends, until ctx does.
func (n Node) follow(ctx context.Context, i int, p *process.Process, log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
		case <-p.Done():
		}
		p.Close()
		for p = nil; p == nil; {
			if wait.Pause(ctx, companionPause) != nil {
				return
			}
			var err error
			if p, err = n.companion(i, log); err != nil {
				log.Warn("a companion of an engine has ended and does not start again", "error", err)
			}
		}
		log.Warn("a companion of an engine had ended; it was started again", "pid", p.PID)
	}
}

// stopCompanions ends the companions that run, the last started first.
func (n Node) stopCompanions() error {
	files, err := filepath.Glob(filepath.Join(n.RunDir, companionPrefix+"*.pid"))
	if err != nil || len(files) == 0 {
		return err
	}
	n.inOrder(files)
	for _, pidFile := range slices.Backward(files) {
		p, err := n.find(pidFile)
		if err == nil && p != nil {
			err = n.endProcess(p, engine.Ending{Signal: syscall.SIGTERM, Grace: companionGrace})
			err = errors.Join(err, p.Close(), removeFile(pidFile))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// inOrder sorts pid files as their companions are started; those that the engine does not name come first.
func (n Node) inOrder(pidFiles []string) {
	var names []string
	if e, ok := n.Engine.(engine.Accompanied); ok {
		companions, err := e.Companions(n.Node)
		if err == nil {
			for _, c := range companions {
				names = append(names, c.Name)
			}
		}
	}
	place := func(path string) int {
		name := strings.TrimPrefix(strings.TrimSuffix(filepath.Base(path), ".pid"), companionPrefix)
		return slices.Index(names, name)
	}
	slices.SortFunc(pidFiles, func(a, b string) int { return place(a) - place(b) })
}

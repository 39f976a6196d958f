package node

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"github.com/backstay/backstay/internal/process"
)

// Strike kills the node's processes, and returns once none of them does anything more: each has ended, or is doomed.
// Another node may serve then. No server is to be started with the same data before [Node.EndRemnants] has succeeded.
func (n Node) Strike(p *process.Process) error {
	if err := strike(p); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(n.RunDir, companionPrefix+"*.pid"))
	for _, pidFile := range files {
		companion, found := n.find(pidFile)
		if companion != nil {
			found = errors.Join(strike(companion), companion.Close())
		}
		err = errors.Join(err, found)
	}
	return errors.Join(err, n.StrikeRemnants())
}

// StrikeRemnants does to what a main process has left behind what Strike does.
func (n Node) StrikeRemnants() error { return n.remnants(n.isRemnant, strike) }

func strike(p *process.Process) error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill process %d: %w", p.PID, err)
	}
	for late := time.After(killGrace); ; {
		select {
		case <-p.Done():
			return nil
		case <-late:
			return fmt.Errorf("process %d does not end", p.PID)
		case <-time.After(2 * time.Millisecond):
			if process.IsDoomed(p.PID) {
				return nil
			}
		}
	}
}

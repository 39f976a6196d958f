package engine

import (
	"os/exec"
	"syscall"
	"time"

	"github.com/backstay/backstay"
)

// Process is how a process of a node is started.
type Process struct {
	Cmd *exec.Cmd
	// Program is the executable that finally runs, if Cmd is a script that replaces itself by it. It is empty if
	// Cmd runs the executable itself.
	Program string
}

// Executable returns the path of the program that the process runs once it is up.
func (p Process) Executable() string {
	if p.Program != "" {
		return p.Program
	}
	return p.Cmd.Path
}

// Companion is a process of a node beside the main one. SIGTERM ends it.
type Companion struct {
	Name    string // lower-case letters; no other companion of the node has it
	Process Process
}

// Ending is the signal that asks a process to end, and how long the process may then take before it is killed.
type Ending struct {
	Signal syscall.Signal
	Grace  time.Duration
	Status int // with which the process exits then: some programs tell by it that they were asked to
}

// Flushing returns how long a server may take to write that much memory to a slow disk, one of 50 MB/s.
func Flushing(memory backstay.Bytes) time.Duration {
	return time.Duration(memory/(50*backstay.MB)) * time.Second
}

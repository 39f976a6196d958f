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
	// Program is the executable that runs in the end, where Cmd is a script that becomes it. Empty is
	// the program of Cmd itself.
	Program string
}

// Executable is the program that the process runs once it is up.
func (p Process) Executable() string {
	if p.Program != "" {
		return p.Program
	}
	return p.Cmd.Path
}

// Companion is a process of a node beside its main one, named once in the node. SIGTERM ends it.
type Companion struct {
	Name    string // lower-case letters
	Process Process
}

// Ending is how a process is asked to end, and how long that may take: one that runs on after Grace is killed.
type Ending struct {
	Signal syscall.Signal
	Grace  time.Duration
}

// Flushing is how long a server may take to write so much of its memory to a slow disk, at 50 MB/s.
func Flushing(memory backstay.Bytes) time.Duration {
	return time.Duration(memory/(50*backstay.MB)) * time.Second
}

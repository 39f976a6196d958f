package main

import (
	"context"
	"os"
	"os/exec"
)

// endSignals end conduit while it runs no program.
var endSignals = []os.Signal{os.Interrupt}

// pass does nothing: what a console sends, it sends to the program too.
func pass(os.Signal, *os.Process) {}

func exitCode(e *exec.ExitError) int { return e.ExitCode() }

// awaitOrphaned does nothing: a console's end is a signal here.
func awaitOrphaned(context.Context, func()) {}

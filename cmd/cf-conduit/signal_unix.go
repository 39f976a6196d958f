//go:build unix

package main

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// endSignals end conduit while it runs no program, and are passed on to one that it runs.
var endSignals = []os.Signal{os.Interrupt, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP}

// pass hands a signal on to the program. Those from a keyboard reach it by themselves.
func pass(s os.Signal, to *os.Process) {
	if !fromKeyboard(s) || !inForeground() {
		to.Signal(s)
	}
}

func fromKeyboard(s os.Signal) bool { return s == os.Interrupt || s == syscall.SIGQUIT }

// inForeground tells whether a terminal sends what is typed at it to us and our program.
func inForeground() bool {
	terminal, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer terminal.Close()
	group, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// exitCode is the program's as a shell tells it.
func exitCode(e *exec.ExitError) int {
	if status, ok := e.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return e.ExitCode()
}

// awaitOrphaned calls end when the cf command that started us is gone: nobody is left to use us.
func awaitOrphaned(ctx context.Context, end func()) {
	parent := os.Getppid()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for os.Getppid() == parent {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
	end()
}

package process

import (
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"time"
)

// gently runs a command with less right to the processor and the disk than everybody else. Where the system shares the
// processor between sessions first ("autogroup"), niceness counts within one alone: the session's own is lowered too.
// Who has niceness 10 gets a tenth of another's share. With 19, the last, it is a seventieth: on a machine that is
// never idle, no backup came to its end.
const gently = `while [ "$1" != -- ]; do { echo 0 >"$1"; } 2>/dev/null; shift; done
shift
echo 10 2>/dev/null >/proc/$$/autogroup; renice 10 $$ >/dev/null
exec ionice -t -c 3 "$@"`

// RunGently is RunBound for a command that gives way to all other processes of the machine. Doors are files by which it
// enters a control group, if it can: to give way is not enough beside a database that waits for its disk at each
// commit, for it finds the caches and the other half of its core taken when it goes on.
func RunGently(cmd *exec.Cmd, doors ...string) error {
	const shell = "/bin/sh"
	cmd.Args = slices.Concat([]string{shell, "-c", gently, shell}, doors, []string{"--", cmd.Path}, cmd.Args[1:])
	cmd.Path = shell
	return RunBound(cmd)
}

// RunBound runs a command of [exec.CommandContext] to its end, in a session of its own. With all processes that it has
// started it ends when its context does, and it ends when this process does.
func RunBound(cmd *exec.Cmd) error {
	// The system takes the end of the thread that has started it for ours.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Pdeathsig = true, syscall.SIGKILL
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd.Run()
}

package local_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

func TestMain(m *testing.M) { os.Exit(keepertest.Main(m)) }

// launcher starts keepers of that program on the data directory of c.
func launcher(t *testing.T, c keeper.Config, executable string) *local.Launcher {
	t.Helper()
	c.Executable = executable
	command := keepertest.Command(t, c, "")
	l := &local.Launcher{
		Backend: local.New(keepertest.Socket(c)), Program: command[0], Command: command,
		LogPath: filepath.Join(c.DataDir, "keeper.log"), Executable: executable,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	t.Cleanup(func() {
		if asked, err := l.Backend.Stop(context.Background()); asked && err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return l
}

func mustEnsure(t *testing.T, l *local.Launcher) (pid int) {
	t.Helper()
	if err := l.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	k, err := l.Backend.Keeper(t.Context())
	if err != nil || k.Executable != l.Executable {
		t.Fatalf("the keeper is %+v, %v; want program %q", k, err, l.Executable)
	}
	return k.PID
}

func TestLauncherStartsOneKeeper(t *testing.T) {
	t.Parallel()
	l := launcher(t, keepertest.Config(t, 1), "1")
	first := mustEnsure(t, l)
	if again := mustEnsure(t, l); again != first {
		t.Errorf("a second Ensure replaced keeper %d by %d", first, again)
	}
	if group, err := syscall.Getpgid(first); err != nil || group != first {
		t.Errorf("the keeper is in group %d, %v; want one of its own", group, err)
	}
}

func TestLauncherReplacesAnotherProgram(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	old := mustEnsure(t, launcher(t, c, "1"))
	if now := mustEnsure(t, launcher(t, c, "2")); now == old {
		t.Errorf("keeper %d of another program goes on", old)
	}
}

// TestLauncherReplacesAKeeperOfOtherSettings starts a keeper that was told nothing, where another one is wanted.
func TestLauncherReplacesAKeeperOfOtherSettings(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	old := mustEnsure(t, launcher(t, c, "1"))
	c.Told = "a repository"
	l := launcher(t, c, "1")
	l.Told = func() string { return c.Told }
	if now := mustEnsure(t, l); now == old {
		t.Errorf("keeper %d of other settings goes on", old)
	}
}

func TestLauncherFollowsItsKeeper(t *testing.T) {
	t.Parallel()
	l := launcher(t, keepertest.Config(t, 1), "1")
	ctx, cancel := context.WithCancel(t.Context())
	watched := make(chan error, 1)
	go func() { watched <- l.Watch(ctx) }()
	first := mustEnsure(t, l)
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if k, err := l.Backend.Keeper(t.Context()); err == nil && k.PID != first {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a killed keeper is not replaced")
		}
	}
	cancel()
	if err := <-watched; err != nil {
		t.Errorf("Watch: %v", err)
	}
}

func TestLauncherSaysWhyThereIsNoKeeper(t *testing.T) {
	t.Parallel()
	l := launcher(t, keepertest.Config(t, 1), "1")
	l.Program = "/bin/sh"
	l.Command = []string{"sh", "-c", "echo the dog ate it >&2; echo Type: backstay doctor >&2; exit 1"}
	err := l.Ensure(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the dog ate it") || !strings.Contains(err.Error(), l.LogPath) {
		t.Errorf("%v, want the reason, and where all of it is", err)
	}
}

// TestLauncherLeavesNoCandidate gives up on a process that does not become the keeper.
func TestLauncherLeavesNoCandidate(t *testing.T) {
	t.Parallel()
	l := launcher(t, keepertest.Config(t, 1), "1")
	l.Program, l.Command = "/bin/sh", []string{"sh", "-c", "echo $$; exec sleep 60"}
	ctx, cancel := context.WithCancel(t.Context())
	ensured := make(chan error, 1)
	go func() { ensured <- l.Ensure(ctx) }()
	pid := 0
	deadline := time.Now().Add(10 * time.Second)
	for ; pid == 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		text, _ := os.ReadFile(l.LogPath)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	cancel()
	if err := <-ensured; !errors.Is(err, context.Canceled) {
		t.Errorf("Ensure: %v, want %v", err, context.Canceled)
	}
	if _, err := process.Open(pid); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("process %d goes on: %v", pid, err)
	}
}

// TestLaunchersRace has many find no keeper at once.
func TestLaunchersRace(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	pids := make(chan int, 4)
	for range cap(pids) {
		l := launcher(t, c, "1")
		go func() {
			if err := l.Ensure(t.Context()); err != nil {
				t.Error(err)
			}
			k, err := l.Backend.Keeper(t.Context())
			if err != nil {
				t.Error(err)
			}
			pids <- k.PID
		}()
	}
	first := <-pids
	for range cap(pids) - 1 {
		if pid := <-pids; pid != first {
			t.Errorf("keepers %d and %d", first, pid)
		}
	}
}

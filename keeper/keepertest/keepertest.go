// Package keepertest runs keepers for tests of those who stand on one, with the real PostgreSQL, on
// ports and a directory of their own: in this process, or in one that can be killed.
package keepertest

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/pgserver"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/volume"
)

// Config is that of a keeper with room for a number of instances. Engines that it leaves running end
// with the test, or with this process.
func Config(t testing.TB, room int) keeper.Config {
	t.Helper()
	return configIn(t, testkit.MemoryDir(t), room)
}

func configIn(t testing.TB, dataDir string, room int) keeper.Config {
	t.Helper()
	first, last := testkit.Ports(t, room)
	c := keeper.Config{
		DataDir: dataDir, Engines: map[string]engine.Engine{"postgres": postgres.Engine{}},
		Host: "localhost", Listen: []string{"127.0.0.1"}, Ports: keeper.PortRange{First: first, Last: last},
		Version: "test", Executable: "test", Seal: seal.New(),
		Front: fronts("test"), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	shareGolden(t, c.DataDir)
	leash(t, c.DataDir)
	t.Cleanup(func() {
		if _, err := keeper.StopEngines(c.DataDir, c.Engines); err != nil {
			t.Errorf("stop engines: %v", err)
		}
		pgserver.SweepTools() // those of a keeper that was killed write to the repository still
		checkNoProcess(t, c.DataDir)
	})
	return c
}

// endPatience is how long what is left of an engine may take to end.
const endPatience = 20 * time.Second

// checkNoProcess looks for what works in the data directory though its engine has ended.
func checkNoProcess(t testing.TB, dataDir string) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || !process.WorksIn(pid, dataDir) {
			continue
		}
		p, err := process.Open(pid)
		if errors.Is(err, os.ErrProcessDone) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		select {
		case <-p.Done():
		case <-time.After(endPatience):
			t.Errorf("process %d has outlived its engine", pid)
		}
	}
}

// golden is the cache that the keepers of this process share: making it takes longer than most tests.
var golden struct {
	sync.Mutex
	users int
	dir   string
}

func shareGolden(t testing.TB, dataDir string) {
	t.Helper()
	golden.Lock()
	defer golden.Unlock()
	if golden.users == 0 {
		dir, err := testkit.MakeMemoryDir()
		if err != nil {
			t.Fatal(err)
		}
		golden.dir = dir
	}
	golden.users++
	t.Cleanup(func() {
		golden.Lock()
		defer golden.Unlock()
		if golden.users--; golden.users > 0 {
			return
		}
		if err := os.RemoveAll(golden.dir); err != nil {
			t.Error(err)
		}
	})
	cache := filepath.Join(dataDir, "cache")
	if err := os.Mkdir(cache, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(golden.dir, filepath.Join(cache, "postgres")); err != nil {
		t.Fatal(err)
	}
}

// WithImages is Config for a keeper whose instances lie on images. The test is skipped where there can be none. It
// takes a TestMain that calls [Main].
func WithImages(t testing.TB, room int) keeper.Config {
	t.Helper()
	if !testkit.Walled() {
		t.Skip("Nothing is mounted by a test that has no mounts of its own: that takes root.")
	}
	c := configIn(t, testkit.Dir(t), room)
	c.Volumes, c.Reserve = keeper.ImageVolumes, 64*backstay.MB
	images := volume.Images{Root: filepath.Join(c.DataDir, "volumes"), Mounts: filepath.Join(c.DataDir, "instances")}
	if err := images.Try(t.Context()); err != nil {
		t.Skipf("%v (%v)", err, errors.Unwrap(err))
	}
	return c
}

// sweep ends the engines of the data directory "$0", and removes it, if nobody says that all is well. With them go
// their groups, of the name "$2".
const sweep = `read -r _ && exit; for f in "$0"/run/*/node.pid; do kill -QUIT "$(cat "$f")"; done
umount -l "$0"/instances/* "$0"/instances/* "$0"/volumes/prepared*; rm -rf "$0" "$1"
cd /sys/fs/cgroup; for i in 1 2 3 4 5 6 7 8 9 10; do
	for of in backstay */backstay; do rmdir $of/"$2"/* $of/"$2" $of; done; sleep 1
done 2>/dev/null`

// leash has a process look after the data directory if this one is killed.
func leash(t testing.TB, dataDir string) {
	t.Helper()
	sweeper := exec.Command("/bin/sh", "-c", sweep, dataDir, golden.dir, keeper.GroupsName(dataDir))
	sweeper.Dir, sweeper.SysProcAttr = "/", &syscall.SysProcAttr{Setsid: true}
	end, err := sweeper.StdinPipe()
	if err == nil {
		err = sweeper.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := end.Write([]byte("all is well\n")); err != nil {
			t.Error(err)
		}
		sweeper.Wait()
	})
}

// Run runs a keeper until the test ends, or until stop is called, which leaves its engines running.
func Run(t testing.TB, c keeper.Config) (b *local.Backend, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- keeper.Run(ctx, c) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("keeper: %v", err)
		}
	})
	t.Cleanup(stop)
	return connect(t, c), stop
}

// connect returns when the keeper answers.
func connect(t testing.TB, c keeper.Config) *local.Backend {
	t.Helper()
	b := local.New(Socket(c))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := b.Inventory(ctx); err != nil {
		t.Fatalf("the keeper does not answer: %v", err)
	}
	return b
}

// Socket is where the keeper listens.
func Socket(c keeper.Config) string { return filepath.Join(c.DataDir, "keeper", "keeper.sock") }

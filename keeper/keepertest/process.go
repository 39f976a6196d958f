package keepertest

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/endpoint"
	"github.com/backstay/backstay/endpoint/front"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/mysql"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/engine/redis"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper"
)

// orderVariable tells a process of the test binary that it is to be a keeper, and which.
const orderVariable = "BACKSTAY_TEST_KEEPER"

type order struct {
	DataDir    string
	StandbyDir string
	Ports      keeper.PortRange
	Executable string
	Told       string
	Seal       backstay.Secret // its key, as text
	Roots      []string        // of PostgreSQL's versions
	Engines    []string        // that it has
	Repository string          // a directory; empty: there is none
	Volumes    keeper.Volumes
	Reserve    backstay.Bytes // that no volume gets
	Ahead      time.Duration  // of its clock before the machine's
	DieAfter   string         // the step behind which it kills itself
	Test       int            // the process whose end is its own
}

// Main runs a package's tests, in a process with mounts of its own, or the keeper that [Command] asks for. Call it as
//
//	func TestMain(m *testing.M) { os.Exit(keepertest.Main(m)) }
func Main(m *testing.M) int {
	if code, front := Front(); front {
		return code
	}
	text := os.Getenv(orderVariable)
	if text == "" {
		if code, walled := testkit.RunWalled(); walled {
			return code
		}
		return m.Run()
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	var o order
	err := json.Unmarshal([]byte(text), &o)
	if err == nil {
		err = o.run(log)
	}
	if err != nil {
		log.Error(err.Error())
		return 1
	}
	return 0
}

// beFront is the first argument of a test binary that is to be the front of an instance.
const beFront = "front"

// fronts are processes of this binary.
func fronts(build string) endpoint.Front {
	return endpoint.Front{Command: []string{os.Args[0], beFront}, Settings: endpoint.Settings{Build: build}}
}

// Front serves as a front if this process is to be one. A package whose tests do not begin with Main calls it first.
func Front() (code int, front bool) {
	if len(os.Args) < 2 || os.Args[1] != beFront {
		return 0, false
	}
	return runFront(os.Args[2:]), true
}

func runFront(args []string) (code int) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := front.Main(ctx, args, os.Stdout, os.Stderr); err != nil {
		return 1
	}
	return 0
}

func (o order) run(log *slog.Logger) error {
	test, err := process.Open(o.Test)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	if err != nil {
		return err
	}
	go func() {
		<-test.Done()
		os.Exit(1)
	}()
	switch behind, engines := strings.CutPrefix(o.DieAfter, enginesDie); {
	case engines:
		step.After = func(name string) {
			if name == behind {
				o.killEngines()
			}
		}
	case o.DieAfter != "":
		step.After = func(name string) {
			if name == o.DieAfter {
				syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		}
	}
	key, err := seal.ParseKey(o.Seal)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	all := map[string]engine.Engine{
		"postgres": postgres.Engine{Roots: o.Roots}, "mysql": mysql.Engine{}, "redis": redis.Engine{},
	}
	maps.DeleteFunc(all, func(name string, _ engine.Engine) bool { return !slices.Contains(o.Engines, name) })
	return keeper.Run(ctx, keeper.Config{
		DataDir: o.DataDir, StandbyDir: o.StandbyDir, Engines: all, Repository: backstay.Repository{Dir: o.Repository},
		Host: "localhost", Listen: []string{"127.0.0.1"}, Ports: o.Ports,
		Volumes: o.Volumes, Reserve: o.Reserve, Version: "test", Executable: o.Executable, Seal: key, Told: o.Told, Log: log,
		Front: fronts(o.Executable), Now: func() time.Time { return time.Now().Add(o.Ahead) },
	})
}

const enginesDie = "engines die behind "

// EnginesDie is what is given as dieAfter so that engines die behind the step, and not their keeper. That happens once.
func EnginesDie(step string) string { return enginesDie + step }

// Struck names a file in the data directory that says that engines have died.
const Struck = "struck"

// killEngines kills the engines that run, unless that has been done.
func (o order) killEngines() {
	struck := filepath.Join(o.DataDir, Struck)
	if _, err := os.Stat(struck); err == nil {
		return
	}
	files, _ := filepath.Glob(filepath.Join(o.DataDir, "run", "*", "node.pid")) // the pattern is sound
	for _, path := range files {
		text, _ := os.ReadFile(path)
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err == nil && syscall.Kill(pid, syscall.SIGKILL) == nil {
			os.WriteFile(struck, nil, 0o600) // a test that does not find it fails
		}
	}
}

// Command is the command line of a keeper in a process of its own, which kills itself behind the step
// dieAfter, if that is not empty. The package must have a TestMain that calls [Main].
func Command(t testing.TB, c keeper.Config, dieAfter string) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o := order{DataDir: c.DataDir, StandbyDir: c.StandbyDir, Seal: c.Seal.Text(), Ports: c.Ports,
		Executable: c.Executable, Told: c.Told, DieAfter: dieAfter, Test: os.Getpid()}
	if e, ok := c.Engines["postgres"].(postgres.Engine); ok {
		o.Roots = e.Roots
	}
	o.Volumes, o.Reserve = c.Volumes, c.Reserve
	o.Engines, o.Repository = slices.Collect(maps.Keys(c.Engines)), c.Repository.Dir
	if c.Now != nil {
		o.Ahead = time.Until(c.Now())
	}
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return []string{"/usr/bin/env", orderVariable + "=" + string(text), self}
}

// Start runs a keeper in a process of its own until the test ends, kill is called, or it kills itself,
// which closes ended. It may do that before it ever answers.
func Start(t testing.TB, c keeper.Config, dieAfter string) (b *local.Backend, kill func(), ended <-chan struct{}) {
	t.Helper()
	command := Command(t, c, dieAfter)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		cmd.Wait() // it is killed
	}()
	kill = func() {
		cmd.Process.Kill()
		<-done
	}
	t.Cleanup(kill)
	return local.New(Socket(c)), kill, done
}

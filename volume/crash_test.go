package volume_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/volume"
)

const (
	lifeVariable = "BACKSTAY_TEST_LIFE" // the root of the pool in which a process of the test binary is to lead volumes
	stepVariable = "BACKSTAY_TEST_STEP" // behind which it kills itself
	keyVariable  = "BACKSTAY_TEST_KEY"  // of the volumes; empty: they are plain
	wayVariable  = "BACKSTAY_TEST_WAY"  // by which they are encrypted
)

// liveUntilDead leads volumes through their lives, one after the other, until it is killed.
func liveUntilDead(root, last string) int {
	step.After = func(name string) {
		if name == last {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	}
	p := images{imagesIn(filepath.Dir(root), 0), os.Getenv(wayVariable), backstay.Secret(os.Getenv(keyVariable))}
	p.EncryptBy(p.way)
	for ctx := context.Background(); ; {
		if err := live(ctx, p); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
}

// live leads a volume through its life: it is made, written to, grown and removed. Whatever was left of an earlier life
// that ended anywhere is taken up.
func live(ctx context.Context, p images) error {
	for _, size := range []backstay.Bytes{300 * backstay.MB, 400 * backstay.MB} {
		dir, err := p.Ensure(ctx, "lived", volume.Wanted{Size: size})
		if err != nil {
			return err
		}
		if usage, err := p.Usage("lived"); err != nil || usage.Used+usage.Free+usage.Held < size {
			return fmt.Errorf("a volume of %v has %+v: %w", size, usage, err)
		}
		if err := os.WriteFile(filepath.Join(dir, "file"), []byte("written"), 0o600); err != nil {
			return err
		}
	}
	return p.Remove(ctx, "lived")
}

// startLife has another process lead volumes.
func startLife(t *testing.T, p images, last string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), lifeVariable+"="+p.Root, stepVariable+"="+last,
		keyVariable+"="+p.key.Reveal(), wayVariable+"="+p.way)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// unprepare has the next life prepare an image first.
func unprepare(t *testing.T, p images) {
	t.Helper()
	for _, name := range []string{"prepared.img", "prepared-encrypted.img"} {
		if err := os.RemoveAll(filepath.Join(p.Root, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDeathBehindEveryStep ends a process behind each step, and takes up what it left.
func TestDeathBehindEveryStep(t *testing.T) { eachKind(t, testDeathBehindEveryStep) }

func testDeathBehindEveryStep(t *testing.T, p images) {
	for _, name := range volume.StepNames() {
		if name == "volume.image-prepared" {
			unprepare(t, p)
		}
		cmd := startLife(t, p, name)
		if cmd.Wait(); cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("a process that was to die behind %s: %v", name, cmd.ProcessState)
		}
		if found, err := p.Found(); err != nil || name == "volume.mounted" && !slices.Contains(found, "lived") {
			t.Errorf("behind %s, found %v %v", name, found, err)
		}
		if err := live(t.Context(), p); err != nil {
			t.Errorf("behind %s: %v", name, err)
		}
		checkNothingLeft(t, p.Images)
	}
}

// TestDeathAnywhere ends processes at instants that are no step's end.
func TestDeathAnywhere(t *testing.T) { eachKind(t, testDeathAnywhere) }

func testDeathAnywhere(t *testing.T, p images) {
	began := time.Now()
	if err := live(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	whole := max(200*time.Millisecond, time.Since(began))
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	for round := range rounds {
		if round%4 == 0 {
			unprepare(t, p)
		}
		cmd := startLife(t, p, "")
		time.Sleep(rand.N(whole)) // the instant of its death; nothing is waited for
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
	}
	if err := live(t.Context(), p); err != nil {
		t.Error(err)
	}
}

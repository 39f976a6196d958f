package keeper_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestLargerPlanOnAFullDisk gives an instance a larger plan though its disk has no byte left: that is what helps.
func TestLargerPlanOnAFullDisk(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give a keeper a small disk")
	}
	for _, p := range kinds() {
		t.Run(p.engine, func(t *testing.T) {
			t.Parallel()
			c := everything(t)
			// No other engine makes what it starts from meanwhile: giving up, it would leave room behind.
			maps.DeleteFunc(c.Engines, func(name string, _ engine.Engine) bool { return name != p.engine })
			onSmallDisk(t, c)
			b, _ := keepertest.Run(t, c)
			spec := specOf(t, p)
			mustReach(t, b, spec)
			w, err := p.open(t.Context(), mustCredentials(t, b, spec.Instance))
			if err != nil {
				t.Fatal(err)
			}
			defer w.close()
			if err := w.write(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			awaitReserve(t, c)
			filler := filepath.Join(c.DataDir, "filler")
			fill(t, filler)
			spec.Generation, spec.Size = 2, backstay.Size{
				Storage: 20 * spec.Size.Storage, Memory: 2 * spec.Size.Memory, Connections: 2 * spec.Size.Connections}
			mustReach(t, b, spec)
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
			awaitReserve(t, c)
			mustWriteAgain(t, p, mustCredentials(t, b, spec.Instance))
			spec.Generation, spec.Restarts = 3, 1
			mustReach(t, b, spec)
			mustWriteAgain(t, p, mustCredentials(t, b, spec.Instance))
		})
	}
}

// mustWriteAgain writes once the engine has noticed that there is room.
func mustWriteAgain(t *testing.T, p product, c backstay.Credentials) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for {
		w, err := p.open(ctx, c)
		if err == nil {
			err = w.write(ctx, 1)
			w.close()
		}
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("nothing can be written: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// onSmallDisk gives the keeper a small disk of its own.
func onSmallDisk(t *testing.T, c keeper.Config) {
	t.Helper()
	if err := unix.Mount("none", c.DataDir, "tmpfs", 0, "size=400m,mode=0711"); err != nil {
		t.Skipf("this root may not mount: %v", err)
	}
	t.Cleanup(func() {
		stopEngines(t, c)
		if err := unix.Unmount(c.DataDir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// awaitReserve waits until the keeper has set room aside.
func awaitReserve(t *testing.T, c keeper.Config) {
	t.Helper()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(c.DataDir, "keeper", "reserve")); err == nil {
			return
		}
	}
	t.Fatal("the keeper sets no room aside")
}

// fill makes a file that takes all the room that its disk has.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	for size := 1 << 20; err == nil && size > 0; size /= 16 {
		for err == nil {
			_, err = f.Write(bytes.Repeat([]byte{'x'}, size))
		}
		if errors.Is(err, syscall.ENOSPC) {
			err = nil
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

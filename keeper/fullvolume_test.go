package keeper_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/engine/mysql"
	"github.com/backstay/backstay/engine/redis"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

// everythingOnImages is a keeper's configuration with all engines, a repository, and room for some instances on images.
func everythingOnImages(t *testing.T, room int) keeper.Config {
	t.Helper()
	c := keepertest.WithImages(t, room)
	c.Engines["mysql"], c.Engines["redis"] = mysql.Engine{}, redis.Engine{}
	c.Repository = backstay.Repository{Dir: filepath.Join(c.DataDir, "repository")}
	return c
}

// TestFullVolumeWedgesNothing fills the volume of an instance: to the end of its plan's storage, with which it is backed
// up, and then to the last byte and inode. Its neighbour does not notice, a user of it is dropped, a larger plan helps,
// and it can be deleted.
func TestFullVolumeWedgesNothing(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("engines that find no room are started again and again")
	}
	c := everythingOnImages(t, 2*len(products))
	b, _ := keepertest.Run(t, c)
	for _, p := range products {
		t.Run(p.engine, func(t *testing.T) {
			t.Parallel()
			neighbour, full := onSmallVolume(t, p), onSmallVolume(t, p)
			mustReach(t, b, neighbour)
			mustReach(t, b, full)
			w, err := p.open(t.Context(), mustCredentials(t, b, neighbour.Instance))
			if err != nil {
				t.Fatal(err)
			}
			defer w.close()
			credentials := mustCredentials(t, b, full.Instance)
			if err := errors.Join(w.write(t.Context(), 0), writeOnce(t.Context(), p, credentials)); err != nil {
				t.Fatal(err)
			}
			fillVolume(t, c, full.Instance, full.Size.Storage)
			full.Generation, full.Backups = 2, 1
			mustReach(t, b, full)
			mustAwaitBackups(t, b, full.Instance, func(k backend.Backups) bool { return k.Asked == 1 })

			fillVolume(t, c, full.Instance, 0)
			if err := w.write(t.Context(), 1); err != nil {
				t.Errorf("the neighbour of a full volume: %v", err)
			}
			mustDrop(t, b, full.Instance)
			full.Generation, full.Size.Storage = 3, 2*full.Size.Storage
			mustReach(t, b, full)
			mustWriteAgain(t, p, mustCredentials(t, b, full.Instance))

			fillVolume(t, c, full.Instance, 0)
			if err := b.Remove(t.Context(), full.Instance); err != nil {
				t.Fatal(err)
			}
			awaitGone(t, b, full.Instance)
			if err := w.write(t.Context(), 1); err != nil {
				t.Errorf("the neighbour of a volume that is gone: %v", err)
			}
		})
	}
}

// onSmallVolume wants an instance with little storage, that is backed up and leaves no last backup.
func onSmallVolume(t *testing.T, p product) backend.Spec {
	spec := specOf(t, p)
	spec.Size.Storage = 300 * backstay.MB
	spec.Backup = &backend.BackupPolicy{Window: "02:30-03:00", Days: 7, Key: backstay.Secret(strings.Repeat("5a", 32))}
	return spec
}

func writeOnce(ctx context.Context, p product, c backstay.Credentials) error {
	w, err := p.open(ctx, c)
	if err != nil {
		return err
	}
	defer w.close()
	return w.write(ctx, 0)
}

// mustDrop drops the user of an instance, as one does who unbinds.
func mustDrop(t *testing.T, b *local.Backend, id backstay.InstanceID) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := b.DropUser(ctx, id, "u1"); err != nil {
		t.Errorf("drop a user of a full instance: %v", err)
	}
}

// fillVolume sets space of a volume aside until so much of it is in use, which takes nothing of the disk; if that is 0,
// until there is none left, neither for a byte nor for an inode.
func fillVolume(t *testing.T, c keeper.Config, id backstay.InstanceID, until backstay.Bytes) {
	t.Helper()
	dir := filepath.Join(c.DataDir, "instances", string(id))
	f, err := os.OpenFile(filepath.Join(dir, fmt.Sprint("filler", until)), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	end, chunk := int64(0), int64(16*backstay.MB)
	for ; chunk >= 4096; chunk /= 4 {
		for until == 0 || usedIn(t, c, id) < until {
			if err = unix.Fallocate(int(f.Fd()), 0, end, chunk); err != nil {
				break
			}
			end += chunk
		}
		if err == nil {
			return
		}
	}
	for made := 0; !errors.Is(err, syscall.ENOSPC) || made == 0; made++ {
		if err = os.Mkdir(filepath.Join(dir, fmt.Sprintf("filler%v-%d", until, made)), 0o700); err != nil {
			break
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

func usedIn(t *testing.T, c keeper.Config, id backstay.InstanceID) backstay.Bytes {
	t.Helper()
	u, err := imagesOf(c).Usage(id)
	if err != nil {
		t.Fatal(err)
	}
	return u.Used
}

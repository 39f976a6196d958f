package volume_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/volume"
)

// TestNarrowPool has three volumes fill a pool that holds a small part of what they were promised. They get full, and the
// pool does not; what is there can be read and changed, and what one deletes is room for the others.
func TestNarrowPool(t *testing.T) { eachKind(t, testNarrowPool) }

func testNarrowPool(t *testing.T, p images) {
	if testing.Short() && p.key != "" {
		t.Skip("It takes long to fill a pool with what is encrypted.")
	}
	size := "640M"
	if p.key != "" {
		size = "448M" // what is encrypted takes longer
	}
	p = newNarrowPool(t, p, size)
	writers, stop := startWriters(t, p)
	balanceUntil(t, p, "all volumes are full", func() bool {
		return writers[0].refused.Load() && writers[1].refused.Load() && writers[2].refused.Load() && haveNone(t, p)
	})
	stop()
	if room, err := p.Balance(); err != nil || room.Given > room.Free-room.Reserve+8*backstay.MB {
		t.Errorf("behind all writes, volumes may take more than the pool has: %+v %v", room, err)
	}
	for _, w := range writers {
		if w.failed != nil {
			t.Errorf("a writer in a narrow pool: %v", w.failed)
		}
		if err := w.check(); err != nil {
			t.Errorf("what was written to a volume that is full: %v", err)
		}
	}
	if err := os.Remove(writers[0].path); err != nil {
		t.Errorf("delete on a full volume: %v", err)
	}
	balanceUntil(t, p, "others can write again", func() bool { // those that use little first
		return mustUsage(t, p, "volume1").Free > 0 || mustUsage(t, p, "volume2").Free > 0
	})
}

// newNarrowPool returns a pool on a disk of that size, of which 128 MB are kept.
func newNarrowPool(t *testing.T, p images, size string) images {
	t.Helper()
	disk, image := filepath.Join(filepath.Dir(p.Root), "small"), filepath.Join(filepath.Dir(p.Root), "disk")
	for _, command := range [][]string{
		{"truncate", "-s", size, image}, {"mkfs.ext4", "-q", "-b", "4096", image},
		{"mkdir", "-p", disk}, {"mount", "-o", "loop", image, disk},
	} {
		if output, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Skipf("There is no small disk: %v: %v %s", command, err, output)
		}
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	p.Images = imagesIn(disk, 128*backstay.MB)
	narrow := p.Images
	t.Cleanup(func() { checkNothingLeft(t, narrow) })
	return p
}

// balanceUntil balances the pool until it has reached a state, and sees each time that the reserve is there.
func balanceUntil(t *testing.T, p images, what string, reached func() bool) {
	t.Helper()
	for began := time.Now(); time.Since(began) < 2*time.Minute; time.Sleep(10 * time.Millisecond) {
		room, err := p.Balance()
		if err != nil {
			t.Fatal(err)
		}
		if room.Free < room.Reserve {
			t.Fatalf("the pool has %+v", room)
		}
		if reached() {
			return
		}
	}
	t.Fatalf("after two minutes, it is not so that %s", what)
}

// haveNone tells whether no volume has room for another block.
func haveNone(t *testing.T, p volume.Pool) bool {
	t.Helper()
	return !slices.ContainsFunc(ids, func(id backstay.InstanceID) bool { return mustUsage(t, p, id).Free >= backstay.MB })
}

var ids = []backstay.InstanceID{"volume0", "volume1", "volume2"}

// startWriters has each of three volumes of 5 GB written to until stop is called, which waits for the end.
func startWriters(t *testing.T, p volume.Pool) (writers []*writer, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	stop = func() { cancel(); group.Wait() }
	t.Cleanup(stop)
	for _, id := range ids {
		w := &writer{path: filepath.Join(mustEnsure(t, p, id, 5*backstay.GB), "file")}
		writers = append(writers, w)
		group.Go(func() { w.failed = w.write(ctx) })
	}
	return writers, stop
}

// writer appends blocks to a file, each synced, and tries again while there is no room.
type writer struct {
	path    string
	blocks  int
	refused atomic.Bool
	failed  error // read it behind the end
}

func (w *writer) write(ctx context.Context) error {
	f, err := os.Create(w.path)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		err := w.writeBlock(f)
		if errors.Is(err, syscall.ENOSPC) {
			w.refused.Store(true)
		} else if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Millisecond): // as a database that is used, and tries again
		}
	}
}

const writeSize = int(backstay.MB)

func (w *writer) block() []byte {
	block := make([]byte, writeSize)
	pattern{}.Read(block)
	return block
}

func (w *writer) writeBlock(f *os.File) error {
	if _, err := f.WriteAt(w.block(), int64(w.blocks*writeSize)); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	w.blocks++
	return nil
}

// check reads all blocks and writes one anew, if there is any.
func (w *writer) check() error {
	f, err := os.OpenFile(w.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	read, want := make([]byte, writeSize), string(w.block())
	for i := range w.blocks {
		if _, err := f.ReadAt(read, int64(i*writeSize)); err != nil {
			return err
		}
		if string(read) != want {
			return fmt.Errorf("block %d of %d is not what was written", i, w.blocks)
		}
	}
	if w.blocks == 0 { // the others were quicker, and all that would be written is new
		return nil
	}
	_, err = f.WriteAt(read, 0)
	return errors.Join(err, f.Sync())
}

// TestQuietVolumeKeepsItsLastRoom has a new volume use up a narrow pool, by writing whatever it gets. One that has more on
// it, and does not write, keeps its last room: all of that can be written, though nobody looks after the pool any more.
func TestQuietVolumeKeepsItsLastRoom(t *testing.T) { eachKind(t, testQuietVolumeKeepsItsLastRoom) }

func testQuietVolumeKeepsItsLastRoom(t *testing.T, p images) {
	p = newNarrowPool(t, p, "640M")
	quiet := mustEnsure(t, p, "quiet", 5*backstay.GB)
	room, err := p.Balance()
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, filepath.Join(quiet, "much"), (room.Free-room.Reserve-2*volume.Log)/2)
	greedy := mustEnsure(t, p, "greedy", 5*backstay.GB)
	for i, full := 0, 0; full < 10; i++ {
		if written, err := fill(filepath.Join(greedy, fmt.Sprint("file", i))); !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		} else if written < nothing {
			full++
		}
		if _, err := p.Balance(); err != nil {
			t.Fatal(err)
		}
	}
	mustWrite(t, filepath.Join(quiet, "last"), volume.Last-4*backstay.MB)
}

// nothing is what is written at most to a volume that has nothing left.
const nothing = int64(backstay.MB)

func mustWrite(t *testing.T, path string, size backstay.Bytes) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.CopyN(f, pattern{}, int64(size)); err != nil {
		t.Errorf("write %v: %v", size, err)
	}
	if err := f.Sync(); err != nil {
		t.Errorf("write %v: %v", size, err)
	}
}

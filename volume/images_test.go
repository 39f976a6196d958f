package volume_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/volume"
)

// TestSizeCanBeWritten sees that a volume has the room that its plan promises and no more, made so or grown.
func TestSizeCanBeWritten(t *testing.T) { eachKind(t, testSizeCanBeWritten) }

func testSizeCanBeWritten(t *testing.T, p images) {
	for _, size := range []backstay.Bytes{backstay.MB, 2 * backstay.GB, 512 * backstay.GB, 2 * backstay.TB} {
		mustEnsure(t, p, "made", size)
		if u := mustUsage(t, p, "made"); u.Used+u.Free+u.Held != size || u.Used > directory {
			t.Errorf("a volume of %v has %v free and %v held", size, u.Free, u.Held)
		}
		if err := p.Remove(t.Context(), "made"); err != nil {
			t.Fatal(err)
		}
		mustEnsure(t, p, "grown", size)
		if u := mustUsage(t, p, "grown"); u.Used+u.Free+u.Held != size || u.Used > directory {
			t.Errorf("a volume grown to %v has %v free and %v held", size, u.Free, u.Held)
		}
	}
}

// TestShrunkVolume sees that a volume can get smaller than what is on it. Nothing is lost, and nothing can be added.
func TestShrunkVolume(t *testing.T) {
	t.Parallel()
	p := newImages(t)
	file := filepath.Join(mustEnsure(t, p, "shrunk", 64*backstay.MB), "file")
	if err := os.WriteFile(file, make([]byte, 32*backstay.MB), 0o600); err != nil {
		t.Fatal(err)
	}
	mustEnsure(t, p, "shrunk", 16*backstay.MB)
	if u := mustUsage(t, p, "shrunk"); u.Used < 32*backstay.MB || u.Free+u.Held > backstay.MB {
		t.Errorf("a volume of 16MB with 32MB on it has %+v", u)
	}
	mustEnsure(t, p, "shrunk", 64*backstay.MB)
	if u := mustUsage(t, p, "shrunk"); u.Used+u.Free+u.Held != 64*backstay.MB {
		t.Errorf("a volume of 64MB again has %+v", u)
	}
}

// TestDetachedVolume sees that a volume can be moved elsewhere as a file, and that nothing else is left of it.
func TestDetachedVolume(t *testing.T) {
	t.Parallel()
	p, path := newImages(t), filepath.Join(testkit.Dir(t), "elsewhere.img")
	mustEnsure(t, p, "gone", backstay.GB)
	for range 2 {
		if err := p.Detach(t.Context(), "gone", path); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		t.Errorf("the image elsewhere: %v %v", info, err)
	}
}

// directory is what an encrypted volume has in it from the beginning.
const directory = 8 * backstay.KB

// TestFullVolume fills a volume to the last byte and inode. Its neighbour does not notice, and what is deleted is
// room again.
func TestFullVolume(t *testing.T) { eachKind(t, testFullVolume) }

func testFullVolume(t *testing.T, p images) {
	full, neighbour := mustEnsure(t, p, "full", 64*backstay.MB), mustEnsure(t, p, "neighbour", 64*backstay.MB)
	before := mustUsage(t, p, "neighbour")
	large := filepath.Join(full, "large")
	if _, err := fill(large); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("a volume that is filled says %v", err)
	}
	made := 0
	for ; ; made++ {
		if err := os.Mkdir(filepath.Join(full, fmt.Sprint("directory", made)), 0o700); err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("a directory in a full volume: %v", err)
			}
			break
		}
	}
	if after := mustUsage(t, p, "neighbour"); after != before {
		t.Errorf("the neighbour had %+v and has %+v", before, after)
	}
	if err := os.WriteFile(filepath.Join(neighbour, "file"), make([]byte, 16*backstay.MB), 0o600); err != nil {
		t.Error(err)
	}
	if err := os.Remove(large); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(large, make([]byte, 16*backstay.MB), 0o600); err != nil {
		t.Errorf("behind deleting, with %d directories made: %v", made, err)
	}
}

// fill writes to a new file until that fails, and returns how much it wrote.
func fill(path string) (written int64, err error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	written, err = io.Copy(f, pattern{})
	return written, errors.Join(err, f.Sync())
}

// pattern is endless, and no zeros.
type pattern struct{}

func (pattern) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(i%251) + 1
	}
	return len(b), nil
}

// TestGrowUnderAWriter grows a volume several times while it is written to.
func TestGrowUnderAWriter(t *testing.T) { eachKind(t, testGrowUnderAWriter) }

func testGrowUnderAWriter(t *testing.T, p images) {
	dir := mustEnsure(t, p, "grown", 300*backstay.MB)
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- writeUntil(stop, filepath.Join(dir, "file")) }()
	for size := 400 * backstay.MB; size <= 900*backstay.MB; size += 100 * backstay.MB {
		mustEnsure(t, p, "grown", size)
		if u := mustUsage(t, p, "grown"); u.Used+u.Free+u.Held != size {
			t.Errorf("grown to %v, the volume has %+v", size, u)
		}
	}
	close(stop)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func writeUntil(stop <-chan struct{}, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, backstay.MB)
	for at := int64(0); ; at = (at + int64(len(block))) % int64(128*backstay.MB) {
		select {
		case <-stop:
			return nil
		default:
		}
		if _, err := f.WriteAt(block, at); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
	}
}

// TestVolumeInUseIsNotRemoved sees that a process in a volume keeps it from going, and that the volume stays whole.
func TestVolumeInUseIsNotRemoved(t *testing.T) { eachKind(t, testVolumeInUseIsNotRemoved) }

func testVolumeInUseIsNotRemoved(t *testing.T, p images) {
	dir := mustEnsure(t, p, "used", backstay.GB)
	f, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // so that it does not wait for the file to be closed
	if err := p.Remove(ctx, "used"); backstay.KindOf(err) != backstay.Busy {
		t.Errorf("remove a volume with an open file: %v, want Busy", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Error(err)
	}
}

// TestManyVolumes makes and removes as many volumes as one machine may have.
func TestManyVolumes(t *testing.T) { eachKind(t, testManyVolumes) }

func testManyVolumes(t *testing.T, p images) {
	many := 200
	switch { // it is the same to the pool what is in an image
	case p.key != "" && testing.Short():
		many = 5
	case p.key != "" || testing.Short():
		many = 20
	}
	began := time.Now()
	err := each(many, func(id backstay.InstanceID) error {
		_, err := p.Ensure(t.Context(), id, volume.Wanted{Size: 5 * backstay.GB})
		return err
	})
	t.Logf("%d volumes made in %v", many, time.Since(began))
	if found, err := p.Found(); err != nil || len(found) != many {
		t.Errorf("found %d volumes of %d: %v", len(found), many, err)
	}
	began = time.Now()
	room, balanced := p.Balance()
	t.Logf("balanced in %v: %+v", time.Since(began), room)
	began = time.Now()
	removed := each(many, func(id backstay.InstanceID) error { return p.Remove(t.Context(), id) })
	t.Logf("removed in %v", time.Since(began))
	if err := errors.Join(err, balanced, removed); err != nil {
		t.Error(err)
	}
}

// each does something to many volumes, some at the same time.
func each(many int, do func(backstay.InstanceID) error) error {
	var group errgroup.Group
	group.SetLimit(8)
	for i := range many {
		group.Go(func() error { return do(backstay.InstanceID(fmt.Sprint("volume", i))) })
	}
	return group.Wait()
}

var _ = []volume.Pool{&volume.Images{}, &volume.Directories{}}

// endFileSystem has a file system end itself, as it does behind an error of the disk that it cannot write around.
func endFileSystem(t *testing.T, dir string) {
	t.Helper()
	const goingDown, keepNothing = 0x8004587d, 2 // XFS_IOC_GOINGDOWN, XFS_FSOP_GOING_FLAGS_NOLOGFLUSH, and ext4's too
	f, err := os.Open(dir)
	if err == nil {
		err = errors.Join(unix.IoctlSetPointerInt(int(f.Fd()), goingDown, keepNothing), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestDeadVolume sees that a volume whose file system has ended itself keeps no other one from being made, is mended by
// being mounted again, and can be removed.
func TestDeadVolume(t *testing.T) { eachKind(t, testDeadVolume) }

func testDeadVolume(t *testing.T, p images) {
	dir := mustEnsure(t, p, "dead", backstay.GB)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("written"), 0o600); err != nil {
		t.Fatal(err)
	}
	unix.Sync()
	endFileSystem(t, dir)
	if _, err := p.Balance(); err == nil && p.way != "fscrypt" { // the numbers of ext4 can be had all the same
		t.Error("nothing is said of a volume that is dead")
	}
	mustEnsure(t, p, "other", backstay.GB)
	mustEnsure(t, p, "dead", backstay.GB)
	if text, err := os.ReadFile(file); string(text) != "written" {
		t.Errorf("what was written before: %q %v", text, err)
	}
	endFileSystem(t, dir)
	if err := p.Remove(t.Context(), "dead"); err != nil {
		t.Errorf("remove a dead volume: %v", err)
	}
}

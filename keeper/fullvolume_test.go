package keeper_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/mysql"
	"github.com/backstay/backstay/engine/redis"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

// testedMySQL is the machine's server, or that below the directory that the environment names: full volumes are met by
// both products.
var (
	testedMySQL  = mysql.Engine{Roots: filepath.SplitList(os.Getenv("BACKSTAY_TEST_MYSQL"))}
	mysqlVersion = versionOf(testedMySQL, "10.11")
)

// versionOf is the version of an engine's first installation, or the one that is said where there is none.
func versionOf(e engine.Engine, or string) string {
	found, err := e.Installations(context.Background())
	if err != nil || len(found) == 0 {
		return or
	}
	return found[0].Version
}

// everythingOnImages is a keeper's configuration with all engines, a repository, and room for some instances on images.
func everythingOnImages(t *testing.T, room int) keeper.Config {
	t.Helper()
	c := keepertest.WithImages(t, room)
	c.Engines["mysql"], c.Engines["redis"] = testedMySQL, redis.Engine{}
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
	for _, p := range kinds() {
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

// TestFullPoolWedgesNothing has one instance write until the disk gives nothing more. What is kept for the platform is
// still there, so its own database and the keeper's records go on, the neighbour can be read, and when the greedy one is
// deleted there is room for all again.
func TestFullPoolWedgesNothing(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	if testing.Short() {
		t.Skip("takes some seconds, and most of a gigabyte")
	}
	c := everythingOnImages(t, 3)
	onSmallPool(t, c)
	c.Reserve = 192 * backstay.MB
	b, _ := keepertest.Run(t, c)
	ours, greedy, neighbour := newSpec(t), newSpec(t), newSpec(t)
	ours.Private, ours.TLS = true, backstay.Certificate{}
	greedy.Size.Storage = 5 * backstay.GB
	for _, spec := range []backend.Spec{ours, greedy, neighbour} {
		mustReach(t, b, spec)
	}
	p := products[0]
	w, err := p.open(t.Context(), mustCredentials(t, b, neighbour.Instance))
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	credentials := mustCredentials(t, b, greedy.Instance)
	if err := errors.Join(w.write(t.Context(), 0), writeOnce(t.Context(), p, credentials)); err != nil {
		t.Fatal(err)
	}
	writeUntilPoolIsFull(t, c, greedy.Instance)
	var disk unix.Statfs_t
	if err := unix.Statfs(c.DataDir, &disk); err != nil {
		t.Fatal(err)
	}
	if free := backstay.Bytes(int64(disk.Bavail) * disk.Bsize); free < c.Reserve/2 {
		t.Errorf("of %v that are kept for the platform, %v are left", c.Reserve, free)
	}
	mustWriteOurs(t, b, ours.Instance)
	neighbour.Generation, neighbour.Size.Memory = 2, 2*neighbour.Size.Memory // which takes a restart
	mustReach(t, b, neighbour)
	mustQuery(t, mustCredentials(t, b, neighbour.Instance), `SELECT n FROM probe`)
	mustDrop(t, b, greedy.Instance)
	if err := b.Remove(t.Context(), greedy.Instance); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, b, greedy.Instance)
	mustWriteAgain(t, p, mustCredentials(t, b, neighbour.Instance))
	mustReach(t, b, newSpec(t))
}

// writeUntilPoolIsFull writes to a volume until it gets nothing more though it has not reached its size.
func writeUntilPoolIsFull(t *testing.T, c keeper.Config, id backstay.InstanceID) {
	t.Helper()
	f, err := os.Create(filepath.Join(c.DataDir, "instances", string(id), "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := bytes.Repeat([]byte{'x'}, int(backstay.MB))
	refused := 0
	for began := time.Now(); refused < 30; { // the pool is balanced ten times a second while it is narrow
		if time.Since(began) > 2*time.Minute {
			t.Fatal("the pool does not get full")
		}
		if _, err = f.Write(block); err == nil {
			refused = 0
			continue
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		if u, err := imagesOf(c).Usage(id); err == nil && u.Held > backstay.GB && u.Free < backstay.MB {
			refused++
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// onSmallPool gives the keeper a disk of 1200 MB of its own.
func onSmallPool(t *testing.T, c keeper.Config) {
	t.Helper()
	image := filepath.Join(testkit.Dir(t), "disk")
	golden, err := os.Readlink(filepath.Join(c.DataDir, "cache", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{
		{"truncate", "--size=1200M", image}, {"mkfs.ext4", "-q", image}, {"mount", "-o", "loop", image, c.DataDir},
		{"chmod", "711", c.DataDir}, {"mkdir", "-m", "711", filepath.Join(c.DataDir, "cache")},
		{"ln", "-s", golden, filepath.Join(c.DataDir, "cache", "postgres")},
	} {
		if output, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Skipf("There is no small disk: %v: %v %s", command, err, output)
		}
	}
	t.Cleanup(func() {
		stopEngines(t, c)
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		err := wait.Until(ctx, wait.Every(50*time.Millisecond), func() (again bool, err error) {
			err = unix.Unmount(c.DataDir, 0)
			return errors.Is(err, unix.EBUSY), err // what has just ended may have a file there still
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// TestRestartAwaitsRoom: an engine that serves on a disk that somebody else has filled is not ended for a change, which
// it would not survive there. It serves, says what it waits for, and the change is made when there is room.
func TestRestartAwaitsRoom(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes some seconds, and most of a gigabyte")
	}
	c := everythingOnImages(t, 2)
	onSmallPool(t, c)
	c.Reserve = 192 * backstay.MB
	b, _ := keepertest.Run(t, c)
	spec := newSpec(t)
	spec.Size.Storage = 5 * backstay.GB
	mustReach(t, b, spec)
	pid, credentials := mustPID(t, b, spec.Instance), mustCredentials(t, b, spec.Instance)
	filler := filepath.Join(c.DataDir, "somebody-elses")
	fillDisk(t, filler, 16*backstay.MB)
	awaitNoRoom(t, c, spec.Instance)
	spec.Generation, spec.Restarts = 2, 1
	if err := b.Apply(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	s := until(t, b, spec.Instance, func(s backend.Status) bool { // at first, or where nothing at all is left, it is another
		why := s.Obstacle.Sentence
		return s.Obstacle.Generation == 2 && (strings.Contains(why, "until there is room") || strings.Contains(why, "no space is left"))
	})
	if s.Obstacle.Final || mustPID(t, b, spec.Instance) != pid {
		t.Errorf("on a disk that is full: %+v", s)
	}
	mustQuery(t, credentials, `SELECT 1`)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	until(t, b, spec.Instance, func(s backend.Status) bool { return running(s) && s.Generation == 2 })
	if mustPID(t, b, spec.Instance) == pid {
		t.Error("it was not started again")
	}
}

// fillDisk leaves so much of a disk.
func fillDisk(t *testing.T, path string, leave backstay.Bytes) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var disk unix.Statfs_t
	if err := unix.Statfs(path, &disk); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(disk.Bavail)*disk.Bsize-int64(leave)); err != nil {
		t.Fatal(err)
	}
}

// awaitNoRoom returns when the pool gives a volume next to nothing.
func awaitNoRoom(t *testing.T, c keeper.Config, id backstay.InstanceID) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		u, err := imagesOf(c).Usage(id)
		if err == nil && u.Free < backstay.MB {
			return
		}
		if time.Since(began) > limit {
			t.Fatalf("the volume has room: %+v (%v)", u, err)
		}
	}
}

// mustWriteOurs writes to an instance that has no port.
func mustWriteOurs(t *testing.T, b *local.Backend, id backstay.InstanceID) {
	t.Helper()
	a, err := b.Admin(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), fmt.Sprintf("host=%s port=5432 user=backstay dbname=main", a.SocketDir))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	const fill = "CREATE TABLE filled AS SELECT repeat(md5(n::text), 30) FROM generate_series(1, 20000) n"
	if _, err := conn.Exec(t.Context(), fill); err != nil { // 19 MB
		t.Errorf("the platform's own database in a full pool: %v", err)
	}
}

package postgres_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/cgroup"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/internal/datadir"
	"github.com/backstay/backstay/internal/testkit"
)

// BenchmarkBackup backs up a database of a gigabyte, restores it until it serves and clones it, beside what pgBackRest
// takes that is run by hand, and beside pgbench's throughput. Set against each other is what was measured in the same run.
func BenchmarkBackup(b *testing.B) {
	n := enginetest.NewNode(b, archiving)
	n.Size = backstay.Size{Storage: 10 * backstay.GB, Memory: backstay.GB, Connections: 50}
	enginetest.Serve(b, archiving, n)
	pgbench(b, n, "--initialize", "--scale=70", "--quiet")
	r, bare := enginetest.NewRepository(b), newBare(b, n)
	var made backstay.Backup
	for b.Loop() {
		byHand, ours := inTurn(
			func() time.Duration {
				return bare.took(b, "--type=full", "--no-archive-check", "--start-fast", "backup") + bare.pushed(b, n)
			},
			func() time.Duration {
				return took(b, func() (err error) { made, err = archiving.Backup(b.Context(), n, r, false); return err })
			})
		b.ReportMetric(ours.Seconds(), "s/backup")
		b.ReportMetric(ours.Seconds()/byHand.Seconds(), "backup/by-hand")

		byHand, ours = inTurn(
			func() time.Duration { return restoredByHand(b, n, r, made.ID) },
			func() time.Duration { return restored(b, r, made.ID) })
		b.ReportMetric(ours.Seconds(), "s/restore")
		b.ReportMetric(ours.Seconds()/byHand.Seconds(), "restore/by-hand")

		other := enginetest.NewNode(b, archiving)
		ours = took(b, func() error { return archiving.Clone(b.Context(), n, other, func(string) {}) })
		b.ReportMetric(ours.Seconds(), "s/clone")
		n.Background = background(b)
		b.ReportMetric(throughputWhile(b, n, func() error { _, err := archiving.Backup(b.Context(), n, r, true); return err }),
			"throughput/without")
	}
}

// inTurn measures one thing, twice another, and the first again, and returns the means. Before that, the first is done
// once and not measured: a disk that has rested is fast for what it is asked first, and would make all else slow.
func inTurn(one, another func() time.Duration) (meanOfOne, meanOfAnother time.Duration) {
	one()
	meanOfOne = one()
	meanOfAnother = (another() + another()) / 2
	return (meanOfOne + one()) / 2, meanOfAnother
}

// restored returns how long it takes until a server serves what is in the backup.
func restored(b *testing.B, r backstay.Repository, id string) time.Duration {
	b.Helper()
	n := enginetest.NewNode(b, archiving)
	restoring := took(b, func() error {
		return archiving.Restore(b.Context(), n, r, engine.Point{Backup: id, Alone: true})
	})
	began := time.Now()
	served := enginetest.Serve(b, archiving, n)
	serving := time.Since(began)
	served.Stop(b)
	return restoring + serving
}

// BenchmarkCloneOnReflinks clones a database of one gigabyte and one of five on a file system whose files share blocks: it
// takes as long whatever the size.
func BenchmarkCloneOnReflinks(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("only root can mount a file system")
	}
	for gigabytes, scale := range map[int]string{1: "--scale=70", 5: "--scale=350"} {
		b.Run(fmt.Sprintf("%dGB", gigabytes), func(b *testing.B) {
			disk := reflinking(b)
			n := nodeOn(b, disk, "original")
			n.Size = backstay.Size{Storage: 20 * backstay.GB, Memory: backstay.GB, Connections: 50}
			enginetest.Serve(b, archiving, n)
			pgbench(b, n, "--initialize", scale, "--quiet")
			i := 0
			for b.Loop() {
				copied := nodeOn(b, disk, fmt.Sprintf("copy-%d", i))
				i++
				ours := took(b, func() error { return archiving.Clone(b.Context(), n, copied, func(string) {}) })
				b.ReportMetric(ours.Seconds(), "s/clone")
				b.ReportMetric(2, "s/clone-allowed")
			}
		})
	}
}

// nodeOn returns a node whose data is to lie on that disk, below that name.
func nodeOn(b *testing.B, disk, name string) engine.Node {
	b.Helper()
	n := enginetest.NewNode(b, archiving)
	n.DataDir = filepath.Join(disk, name, "data")
	if err := os.Mkdir(filepath.Dir(n.DataDir), 0o711); err != nil {
		b.Fatal(err)
	}
	return n
}

// reflinking mounts a new file system whose files can share blocks.
func reflinking(b *testing.B) string {
	b.Helper()
	dir := testkit.Dir(b)
	image, disk := filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	if err := errors.Join(os.Mkdir(disk, 0o711), os.WriteFile(image, nil, 0o600), os.Truncate(image, 16<<30)); err != nil {
		b.Fatal(err)
	}
	for _, command := range [][]string{{"mkfs.xfs", "-q", image}, {"mount", "-o", "loop", image, disk}} {
		if out, err := exec.CommandContext(b.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
			b.Skipf("%v: %v: %s", command, err, out)
		}
	}
	b.Cleanup(func() {
		if out, err := exec.Command("umount", disk).CombinedOutput(); err != nil {
			b.Errorf("umount: %v: %s", err, out)
		}
	})
	if err := os.Chmod(disk, 0o711); err != nil {
		b.Fatal(err)
	}
	return disk
}

// took returns how long something takes, beginning with nothing that is still to be written to the disk.
func took(b *testing.B, do func() error) time.Duration {
	b.Helper()
	syscall.Sync()
	began := time.Now()
	if err := do(); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

var transactions = regexp.MustCompile(`tps = ([0-9.]+)`)

// pgbench returns the transactions per second.
func pgbench(b *testing.B, n engine.Node, args ...string) (rate float64) {
	b.Helper()
	args = append([]string{"--host=" + n.RunDir, "--port=" + strconv.Itoa(n.Endpoint.Port), "--username=backstay"}, args...)
	out, err := exec.CommandContext(b.Context(), filepath.Join(n.Installation.Dir, "pgbench"),
		append(args, "main")...).CombinedOutput()
	if err != nil {
		b.Fatalf("pgbench: %v: %s", err, out)
	}
	if match := transactions.FindSubmatch(out); match != nil {
		rate, _ = strconv.ParseFloat(string(match[1]), 64) // it is a number
	}
	return rate
}

// throughputWhile returns pgbench's throughput while do is done again and again, as a part of that before and after.
func throughputWhile(b *testing.B, n engine.Node, do func() error) float64 {
	b.Helper()
	args := []string{"--client=4", "--time=20", "--no-vacuum"}
	pgbench(b, n, args...) // is not measured: what was loaded just now is still vacuumed
	before := pgbench(b, n, args...)
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
				if err := do(); err != nil {
					done <- err
					return
				}
			}
		}
	}()
	while := pgbench(b, n, args...)
	close(stop)
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	return while / ((before + pgbench(b, n, args...)) / 2)
}

// background makes the control group that a keeper has for what nobody waits for, if this machine has any.
func background(b *testing.B) (doors []string) {
	b.Helper()
	groups, err := cgroup.Open(filepath.Base(testkit.Dir(b)))
	if err != nil {
		b.Logf("the backups are not bounded: %v", err)
		return nil
	}
	if err := groups.Set("background", cgroup.Background()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := groups.Remove("background"); err != nil {
			b.Error(err)
		}
	})
	return groups.Doors("background")
}

// bare is pgBackRest run by hand, on a repository of its own.
type bare struct{ config string }

func newBare(b *testing.B, n engine.Node) bare {
	b.Helper()
	dir := b.TempDir()
	text := fmt.Sprintf("[global]\nrepo1-path=%[1]s/repo\nrepo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass=secret\n"+
		"repo1-bundle=y\nrepo1-retention-full=2\ncompress-type=lz4\nprocess-max=2\nlock-path=%[1]s\nlog-level-file=off\n"+
		"[main]\npg1-path=%[2]s\npg1-socket-path=%[3]s\npg1-port=%[4]d\npg1-user=backstay\npg1-database=main\n",
		dir, n.DataDir, n.RunDir, n.Endpoint.Port)
	config := filepath.Join(dir, "pgbackrest.conf")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	by := bare{config}
	by.took(b, "stanza-create")
	return by
}

func (p bare) took(b *testing.B, args ...string) time.Duration {
	b.Helper()
	return took(b, func() error {
		out, err := exec.CommandContext(b.Context(), "pgbackrest",
			append([]string{"--config=" + p.config, "--stanza=main"}, args...)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// pushed returns how long it takes to archive the segment of the log that the newest backup ends with, without which
// nobody can restore it: by hand, the backup waits for the server to have that done.
func (p bare) pushed(b *testing.B, n engine.Node) time.Duration {
	b.Helper()
	out, err := exec.CommandContext(b.Context(), "pgbackrest", "--config="+p.config, "--stanza=main", "--output=json",
		"info").Output()
	stops := regexp.MustCompile(`"stop":"([0-9A-F]{24})"`).FindAllSubmatch(out, -1)
	if err != nil || len(stops) == 0 {
		b.Fatalf("pgbackrest info: %v: %s", err, out)
	}
	return p.took(b, "archive-push", filepath.Join(n.DataDir, "pg_wal", string(stops[len(stops)-1][1])))
}

// restoredByHand returns how long it takes by hand until a server serves what is in the backup.
func restoredByHand(b *testing.B, n engine.Node, r backstay.Repository, id string) time.Duration {
	b.Helper()
	uid, gid := n.Account.IDs()
	dir, repo := testkit.Dir(b), filepath.Join(r.Dir, r.Part)
	data, config := filepath.Join(dir, "data"), filepath.Join(dir, "pgbackrest.conf")
	text := fmt.Sprintf("[global]\nrepo1-path=%s\nrepo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass=%s\nprocess-max=2\n"+
		"lock-path=%[3]s\nspool-path=%[3]s\nlog-level-file=off\n[main]\npg1-path=%[4]s\n", repo, r.Key.Reveal(), dir, data)
	if err := errors.Join(os.WriteFile(config, []byte(text), 0o600), os.Mkdir(data, 0o700)); err != nil {
		b.Fatal(err)
	}
	for _, owned := range []string{dir, r.Dir} {
		if err := datadir.Give(owned, uid, gid); err != nil {
			b.Fatal(err)
		}
	}
	run := func(program string, args ...string) error {
		cmd := exec.CommandContext(b.Context(), program, args...)
		cmd.Dir = dir
		if n.Account != nil {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: n.Account.UID, Gid: n.Account.GID}}
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", program, err, out)
		}
		return nil
	}
	ctl := filepath.Join(n.Installation.Dir, "pg_ctl")
	defer run(ctl, "stop", "--pgdata="+data, "--mode=immediate")
	return took(b, func() error {
		err := run("pgbackrest", "--config="+config, "--stanza=main", "--set="+id, "--type=immediate",
			"--target-action=promote", "restore")
		if err != nil {
			return err
		}
		return run(ctl, "start", "--wait", "--silent", "--pgdata="+data, "--log="+filepath.Join(dir, "log"), "--options="+
			"-c listen_addresses='' -c ssl=off -c archive_mode=off -c unix_socket_directories="+dir)
	})
}

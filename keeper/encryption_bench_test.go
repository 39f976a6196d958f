package keeper_test

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

// BenchmarkVolume measures an instance on each kind of volume that this machine has: how long it takes until it serves,
// how many transactions pgbench makes, and how quickly a file is written and read in one piece.
func BenchmarkVolume(b *testing.B) {
	for _, kind := range []struct {
		name      string
		config    func(testing.TB, int) keeper.Config
		encrypted bool
	}{
		{"directory", keepertest.Config, false}, {"image", keepertest.WithImages, false},
		{"encrypted", withEncryption, true},
	} {
		b.Run(kind.name, func(b *testing.B) {
			c := kind.config(b, 8)
			if way, err := imagesOf(c).Encryption(b.Context()); kind.encrypted && err == nil {
				b.Logf("encrypted by %s", way)
			}
			c.Log = slog.New(slog.DiscardHandler)
			its, _ := keepertest.Run(b, c)
			spec := func() backend.Spec {
				s := newSpec(b)
				if s.Size.Storage = 4 * backstay.GB; kind.encrypted {
					s.Volume = backend.Volume{Encrypted: true, Key: "a key"}
				}
				return s
			}
			mustReach(b, its, spec()) // which prepares what is made once
			for b.Loop() {
				s, began := spec(), time.Now()
				mustReach(b, its, s)
				b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms/create")
				b.ReportMetric(transactions(b, mustCredentials(b, its, s.Instance)), "tps")
				written, read := sequential(b, filepath.Join(c.DataDir, "instances", string(s.Instance), "file"))
				b.ReportMetric(written, "MB/s-written")
				b.ReportMetric(read, "MB/s-read")
			}
		})
	}
}

var tps = regexp.MustCompile(`tps = ([0-9.]+)`)

// transactions is how many pgbench makes in a second, by four clients.
func transactions(b *testing.B, c backstay.Credentials) float64 {
	b.Helper()
	l := loadOf(products[0], c)
	run := strings.Split(strings.Replace(strings.Join(l.run, "\n"), "-c\n2\n-T\n600", "-c\n4\n-T\n8", 1), "\n")
	var output []byte
	for _, args := range [][]string{l.prepare, run} {
		cmd := exec.CommandContext(b.Context(), args[0], args[1:]...)
		cmd.Env = append(os.Environ(), l.password+"="+c["password"].(string), "PGSSLMODE=require")
		var err error
		if output, err = cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %v %s", args, err, output)
		}
	}
	found := tps.FindSubmatch(output)
	if found == nil {
		b.Fatalf("pgbench says %s", output)
	}
	number, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return number
}

// sequential writes a file and reads it from the disk, and tells how many megabytes a second that were.
func sequential(b *testing.B, path string) (written, read float64) {
	b.Helper()
	const size = 256 * backstay.MB
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer os.Remove(path)
	defer f.Close()
	speed := func(do func() error) float64 {
		began := time.Now()
		if err := do(); err != nil {
			b.Fatal(err)
		}
		return float64(size/backstay.MB) / time.Since(began).Seconds()
	}
	block := []byte(strings.Repeat(fmt.Sprintf("%015d\n", 1), int(backstay.MB)/16))
	written = speed(func() error {
		for range size / backstay.MB {
			if _, err := f.Write(block); err != nil {
				return err
			}
		}
		return f.Sync()
	})
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		b.Fatal(err)
	}
	read = speed(func() error {
		_, err := io.Copy(io.Discard, io.NewSectionReader(f, 0, int64(size)))
		return err
	})
	return written, read
}

package instance

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// TestAttest: it is told that work goes on for as long as it writes something, and not while it hangs.
func TestAttest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "data", "file")
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		in := newIdle(t)
		defer in.attest(t.Context(), dir, filepath.Join(dir, "not there"))()
		synctest.Wait()
		for n, work := range []func() error{
			func() error { return os.WriteFile(file, nil, 0o600) },
			func() error { return nil },
			func() error { return os.WriteFile(file, []byte("something"), 0o600) },
			func() error { // it wrote what was there already, later by the clock of the file system
				info, err := os.Stat(file)
				if err != nil {
					return err
				}
				at := info.ModTime().Add(time.Hour)
				return os.Chtimes(file, at, at)
			},
			func() error { return nil },
			func() error { return os.Remove(file) },
		} {
			before, _ := in.Look()
			if err := work(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(workEvery)
			synctest.Wait()
			status, _ := in.Look()
			if worked := status.Worked != before.Worked; worked != (n != 1 && n != 4) {
				t.Errorf("after work %d it is told that something was done: %t", n, worked)
			}
		}
	})
}

// TestAttestElsewhere: work that leaves nothing to be seen here goes on until it ends.
func TestAttestElsewhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := newIdle(t)
		end := in.attest(t.Context())
		var told []string
		for range 3 {
			time.Sleep(workEvery)
			synctest.Wait()
			status, _ := in.Look()
			told = append(told, fmt.Sprint(time.Since(status.Worked)))
		}
		end()
		time.Sleep(time.Hour)
		status, _ := in.Look()
		if told = append(told, fmt.Sprint(time.Since(status.Worked))); fmt.Sprint(told) != "[0s 0s 0s 1h0m0s]" {
			t.Errorf("it was told that work went on before %v", told)
		}
	})
}

package repository_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/repository"
)

const key = backstay.Secret("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")

func mustOpen(t *testing.T, r backstay.Repository) *repository.Store {
	t.Helper()
	s, err := repository.Open(r)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// kind is a repository of a test, with the directory in which each of its objects is a file of its name.
type kind struct {
	backstay.Repository
	files string
}

func inDirectory(t *testing.T) kind {
	dir := t.TempDir()
	return kind{backstay.Repository{Dir: dir}.Of("instance-1", key), filepath.Join(dir, "instance-1")}
}

func inBucket(t *testing.T) kind {
	o := testkit.ObjectStore(t)
	o.Prefix = "backstay/one"
	return kind{backstay.Repository{Objects: &o.ObjectStore}.Of("instance-1", key),
		filepath.Join(o.Dir, "backstay", "one", "instance-1")}
}

// onBoth runs a test with a directory and with an object store.
func onBoth(t *testing.T, test func(t *testing.T, k kind)) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) kind{"directory": inDirectory, "bucket": inBucket} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func mustPut(t *testing.T, s *repository.Store, name string, content []byte) repository.Stored {
	t.Helper()
	stored, err := s.PutText(t.Context(), name, content)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

// noise is content that cannot be compressed.
func noise(size int) []byte {
	content := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(content)
	return content
}

func TestRoundTrip(t *testing.T) {
	onBoth(t, func(t *testing.T, k kind) {
		s := mustOpen(t, k.Repository)
		contents := [][]byte{nil, []byte("x"), bytes.Repeat([]byte("backstay "), 1<<18), noise(9 << 20)}
		if !testing.Short() {
			contents = append(contents, noise(70<<20)) // more than one part
		}
		for _, content := range contents {
			stored := mustPut(t, s, "log/000001", content)
			if got, err := s.Text(t.Context(), "log/000001"); err != nil || !bytes.Equal(got, content) {
				t.Fatalf("%d bytes are read as %d, %v", len(content), len(got), err)
			}
			list, err := s.List(t.Context(), "log/")
			if err != nil || len(list) != 1 || list[0].Size != stored.Size || stored.Data != backstay.Bytes(len(content)) {
				t.Errorf("%d bytes are listed as %v, %v; stored %v", len(content), list, err, stored)
			}
		}
		if _, err := s.Text(t.Context(), "log/000002"); backstay.KindOf(err) != backstay.NotFound {
			t.Errorf("an absent object: %v", err)
		}
	})
}

func TestListAndDelete(t *testing.T) {
	onBoth(t, func(t *testing.T, k kind) {
		s, other := mustOpen(t, k.Repository), mustOpen(t, k.Repository.Of("instance-2", key))
		for _, s := range []*repository.Store{s, other} {
			if list, err := s.List(t.Context(), ""); err != nil || len(list) != 0 {
				t.Fatalf("at first there are %v, %v", list, err)
			}
		}
		for _, name := range []string{"b/2", "a", "b/1", "c/d/e"} {
			mustPut(t, s, name, []byte(name))
		}
		for prefix, want := range map[string]string{"": "a b/1 b/2 c/d/e", "b": "b/1 b/2", "b/2": "b/2", "x": ""} {
			if got := names(t, s, prefix); got != want {
				t.Errorf("%q lists %q, want %q", prefix, got, want)
			}
		}
		for range 2 { // the second time they are absent
			if err := s.Delete(t.Context(), time.Now(), "b/1", "c/d/e"); err != nil {
				t.Error(err)
			}
		}
		if got := names(t, s, ""); got != "a b/2" || names(t, other, "") != "" {
			t.Errorf("in the end there are %q, and %q of another instance", got, names(t, other, ""))
		}
	})
}

func names(t *testing.T, s *repository.Store, prefix string) string {
	t.Helper()
	list, err := s.List(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name)
	}
	return strings.Join(names, " ")
}

// TestDamageIsFound changes, shortens, lengthens and exchanges what lies in a repository.
func TestDamageIsFound(t *testing.T) {
	onBoth(t, func(t *testing.T, k kind) {
		s := mustOpen(t, k.Repository)
		content := noise(200_000) // some packages
		mustPut(t, s, "a", content)
		mustPut(t, s, "b", noise(300_000))
		path := filepath.Join(k.files, "a")
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		exchanged, err := os.ReadFile(filepath.Join(k.files, "b"))
		if err != nil {
			t.Fatal(err)
		}
		damages := map[string][]byte{"exchanged": exchanged, "longer": append(slices.Clone(whole), 0), "empty": {}}
		for _, at := range []int{1, 30, 50, 51, 60, 70, 100, len(whole) / 2, len(whole) - 1} {
			damages["a bit flipped at "+time.Duration(at).String()] = flip(whole, at)
			damages["cut off at "+time.Duration(at).String()] = whole[:at]
		}
		for name, damage := range damages {
			if err := os.WriteFile(path, damage, 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Text(t.Context(), "a"); backstay.KindOf(err) != backstay.Invalid && backstay.KindOf(err) != backstay.Unavailable {
				t.Errorf("%s: %d bytes are read, %v", name, len(got), err)
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Text(t.Context(), "a"); err != nil || !bytes.Equal(got, content) {
			t.Errorf("put right, it is read as %d bytes, %v", len(got), err)
		}
		wrong := mustOpen(t, k.Repository.Of("instance-1", backstay.Secret(strings.Repeat("ab", 32))))
		if _, err := wrong.Text(t.Context(), "a"); backstay.KindOf(err) != backstay.Invalid {
			t.Errorf("with another key: %v", err)
		}
	})
}

func flip(whole []byte, at int) []byte {
	damaged := slices.Clone(whole)
	damaged[at] ^= 4
	return damaged
}

// TestAFailedPutLeavesWhatWas when its writer fails, and when nobody waits any more.
func TestAFailedPutLeavesWhatWas(t *testing.T) {
	onBoth(t, func(t *testing.T, k kind) {
		s := mustOpen(t, k.Repository)
		mustPut(t, s, "a", []byte("before"))
		broken := errors.New("the engine has ended")
		for name, end := range map[string]func(cancel func()) error{
			"the writer fails": func(func()) error { return broken },
			"nobody waits":     func(cancel func()) error { cancel(); return nil },
		} {
			ctx, cancel := context.WithCancel(t.Context())
			_, err := s.Put(ctx, "a", func(w io.Writer) error {
				if _, err := w.Write(noise(20 << 20)); err != nil {
					return err
				}
				if err := end(cancel); err != nil {
					return err
				}
				_, err := w.Write(noise(20 << 20))
				return err
			})
			if !errors.Is(err, broken) && !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
			if got, err := s.Text(t.Context(), "a"); err != nil || string(got) != "before" || names(t, s, "") != "a" {
				t.Errorf("%s: it is read as %d bytes, %v", name, len(got), err)
			}
			cancel()
		}
	})
}

// TestAtOnce has many write and read the same objects.
func TestAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, k kind) {
		s := mustOpen(t, k.Repository)
		contents := [][]byte{bytes.Repeat([]byte("a"), 100_000), bytes.Repeat([]byte("b"), 50_000)}
		mustPut(t, s, "log/1", contents[0])
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() {
				for range 10 {
					if i < 2 {
						if _, err := s.PutText(t.Context(), "log/1", contents[i]); err != nil {
							t.Error(err)
						}
					} else if got, err := s.Text(t.Context(), "log/1"); err != nil ||
						!bytes.Equal(got, contents[0]) && !bytes.Equal(got, contents[1]) {
						t.Errorf("%d bytes that are neither are read, %v", len(got), err)
					}
				}
			})
		}
		all.Wait()
	})
}

// TestHalvesOfTheDeadGo after a day, and not those that somebody writes.
func TestHalvesOfTheDeadGo(t *testing.T) {
	t.Parallel()
	k := inDirectory(t)
	s := mustOpen(t, k.Repository)
	mustPut(t, s, "a", nil)
	half := filepath.Join(k.files, ".half", "1")
	if err := os.WriteFile(half, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := names(t, s, ""); got != "a" {
		t.Errorf("with the half, %q are listed", got)
	}
	for _, hours := range []time.Duration{23, 25} {
		if err := s.Delete(t.Context(), time.Now().Add(hours*time.Hour)); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(half); (err == nil) != (hours < 24) {
			t.Errorf("after %d hours: %v", hours, err)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, inDirectory(t).Repository)
	for _, name := range []string{"", "/", "a/", "/a", "a//b", "..", "a/../b", ".half/1", "a b", "ü", "a\x00"} {
		if _, err := s.PutText(t.Context(), name, nil); err == nil {
			t.Errorf("an object is named %q", name)
		}
	}
	for _, r := range []backstay.Repository{
		{Dir: "/r", Part: "a"}, {Dir: "/r", Part: "../a", Key: key}, {Part: "a", Key: key}, {Dir: "/r", Part: "a", Key: "00"},
	} {
		if _, err := repository.Open(r); err == nil {
			t.Errorf("%v can be opened", r)
		}
	}
}

// FuzzGet reads what anybody could have put into a repository: it is never taken for content.
func FuzzGet(f *testing.F) {
	dir := f.TempDir()
	s, err := repository.Open(backstay.Repository{Dir: dir}.Of("i", key))
	if err != nil {
		f.Fatal(err)
	}
	content := []byte("what was put")
	if _, err := s.Put(f.Context(), "a", func(w io.Writer) error { _, err := w.Write(content); return err }); err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(dir, "i", "a")
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:51])
	f.Add([]byte("backstay object 1\n"))
	f.Fuzz(func(t *testing.T, sealed []byte) {
		if err := os.WriteFile(path, sealed, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Text(t.Context(), "a"); err == nil && !bytes.Equal(got, content) {
			t.Errorf("%d bytes are read as %q", len(sealed), got)
		}
	})
}

// dying is a context that ends after it was asked a number of times whether it has.
type dying struct {
	context.Context
	left atomic.Int64
}

func (d *dying) Err() error {
	if d.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// TestWhoStopsReadingFindsNoDamage: what looks damaged is left out of lists, and what is not on a list is removed.
func TestWhoStopsReadingFindsNoDamage(t *testing.T) {
	t.Parallel()
	s, content := mustOpen(t, inDirectory(t).Repository), noise(1<<20)
	mustPut(t, s, "a", content)
	for asked := int64(0); ; asked++ {
		ctx := &dying{Context: t.Context()}
		ctx.left.Store(asked)
		got, err := s.Text(ctx, "a")
		if err == nil {
			if asked < 10 || !bytes.Equal(got, content) {
				t.Errorf("asked %d times, %d bytes are read", asked, len(got))
			}
			return
		}
		if !errors.Is(err, context.Canceled) || backstay.KindOf(err) == backstay.Invalid {
			t.Fatalf("stopped when it was asked %d times, it says %v", asked, err)
		}
	}
}

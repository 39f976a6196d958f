package repository_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/repository"
)

// TestAnotherRepositoryIsAway: in the place of the repository that is meant there is an empty one, as where a disk is not
// mounted, or another Backstay's. Nothing is written into it, removed from it, or taken for gone.
func TestAnotherRepositoryIsAway(t *testing.T) {
	onBoth(t, func(t *testing.T, k kind) {
		mark := filepath.Join(filepath.Dir(k.files), "backstay-repository")
		meant := k.Repository
		meant.Identity = "the-one"
		if err := repository.Begin(t.Context(), meant); err != nil {
			t.Fatal(err)
		}
		s := mustOpen(t, meant)
		mustPut(t, s, "kept", []byte("something"))
		if err := os.WriteFile(mark, []byte("another\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		wantAway(t, meant, "belongs to another Backstay")
		if err := os.Remove(mark); err != nil {
			t.Fatal(err)
		}
		wantAway(t, meant, repository.Doubt(meant))
		if asked := repository.Doubt(meant); strings.Contains(asked, "bucket") != (meant.Objects != nil) {
			t.Errorf("what is asked for is: %s", asked)
		}
		if found := names(t, mustOpen(t, k.Repository), ""); found != "kept" {
			t.Errorf("in the other one there is %q now", found)
		}
		if err := repository.Begin(t.Context(), meant); err != nil {
			t.Fatal(err)
		}
		if text, err := mustOpen(t, meant).Text(t.Context(), "kept"); string(text) != "something" || err != nil {
			t.Errorf("when it is back, it has %q, %v", text, err)
		}
	})
}

func wantAway(t *testing.T, r backstay.Repository, why string) {
	t.Helper()
	s := mustOpen(t, r)
	for doing, do := range map[string]func() error{
		"put":    func() error { _, err := s.PutText(t.Context(), "new", []byte("x")); return err },
		"list":   func() error { _, err := s.List(t.Context(), ""); return err },
		"delete": func() error { return s.Delete(t.Context(), time.Now(), "kept") },
		"get": func() error {
			content, err := s.Get(t.Context(), "never-there")
			if err == nil {
				err = errors.Join(errors.New("there is something"), content.Close())
			}
			return err
		},
		"reach": func() error { return repository.Reachable(t.Context(), r) },
	} {
		err := do()
		if backstay.KindOf(err) != backstay.Unavailable || !strings.Contains(backstay.SentenceOf(err), why) {
			t.Errorf("%s with another repository: %v", doing, err)
		}
	}
}

// TestARepositoryIsBegunOnce, and never in the place of one that somebody else has begun.
func TestARepositoryIsBegunOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, k kind) {
		if found, err := repository.Identity(t.Context(), k.Repository); found != "" || err != nil {
			t.Fatalf("one that nobody has begun is %q, %v", found, err)
		}
		first, second := k.Repository, k.Repository
		first.Identity, second.Identity = "first", "second"
		for range 2 {
			if err := repository.Begin(t.Context(), first); err != nil {
				t.Fatal(err)
			}
		}
		if err := repository.Begin(t.Context(), second); backstay.KindOf(err) != backstay.Unavailable {
			t.Errorf("another one is begun in its place: %v", err)
		}
		if found, err := repository.Identity(t.Context(), second); found != "first" || err != nil {
			t.Errorf("it is %q, %v", found, err)
		}
		if any, err := repository.HasPart(t.Context(), first); any || err != nil {
			t.Errorf("the mark is taken for a part: %v, %v", any, err)
		}
		mustPut(t, mustOpen(t, first), "a/b", []byte("x"))
		if any, err := repository.HasPart(t.Context(), second); !any || err != nil {
			t.Errorf("no part is seen: %v, %v", any, err)
		}
	})
}

// TestADiskThatGoesMeanwhile leaves an empty directory: what has the repository open does not go on there.
func TestADiskThatGoesMeanwhile(t *testing.T) {
	t.Parallel()
	k := inDirectory(t)
	k.Identity = "the-one"
	if err := repository.Begin(t.Context(), k.Repository); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, k.Repository)
	mustPut(t, s, "log/1", []byte("x"))
	if err := errors.Join(os.Rename(k.Dir, k.Dir+".disk"), os.Mkdir(k.Dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	_, err := s.Put(t.Context(), "log/2", func(w io.Writer) error { _, err := w.Write([]byte("y")); return err })
	if backstay.KindOf(err) != backstay.Unavailable {
		t.Errorf("a piece is put beside the disk: %v", err)
	}
	if left, err := os.ReadDir(k.Dir); len(left) > 0 || err != nil {
		t.Errorf("in the empty directory there is %v, %v", left, err)
	}
}

// TestADiskThatGoesWhileItIsListed: what is not listed then is not gone.
func TestADiskThatGoesWhileItIsListed(t *testing.T) {
	t.Parallel()
	for _, identity := range []string{"", "the-one"} {
		k := inDirectory(t)
		if k.Identity = identity; identity != "" {
			if err := repository.Begin(t.Context(), k.Repository); err != nil {
				t.Fatal(err)
			}
		}
		s := mustOpen(t, k.Repository)
		mustPut(t, s, "kept", []byte("x"))
		going := &asked{Context: t.Context(), of: func() error {
			err := os.Rename(k.Dir, k.Dir+".disk")
			if err == nil && identity != "" {
				err = os.Mkdir(k.Dir, 0o700)
			}
			return err
		}}
		if found, err := s.List(going, ""); backstay.KindOf(err) != backstay.Unavailable {
			t.Errorf("a repository that goes, with the identity %q, has %v, %v", identity, found, err)
		}
		if going.of != nil {
			t.Error("it was listed before it went")
		}
	}
}

// asked is a context that does something when somebody first asks whether it has ended.
type asked struct {
	context.Context
	of func() error
}

func (a *asked) Err() error {
	if of := a.of; of != nil {
		a.of = nil
		return of()
	}
	return a.Context.Err()
}

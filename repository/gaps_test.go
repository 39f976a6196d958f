package repository_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/backstay/backstay"
)

// TestGapsStayWithTheArchive wants gaps to be told of as they were noted, each once, until nothing that is kept needs
// to know of them.
func TestGapsStayWithTheArchive(t *testing.T) {
	onBoth(t, func(t *testing.T, k kind) {
		s := mustOpen(t, k.Repository)
		at := func(seconds int, nanoseconds int) time.Time {
			return time.Date(2026, 11, 28, 3, 0, seconds, nanoseconds, time.FixedZone("", 3600))
		}
		want := func(what string, gaps ...backstay.Gap) {
			t.Helper()
			told, err := s.Gaps(t.Context())
			same := func(a, b backstay.Gap) bool { return a.From.Equal(b.From) && a.Until.Equal(b.Until) }
			if err != nil || !slices.EqualFunc(told, gaps, same) {
				t.Errorf("%s: told %v, %v, want %v", what, told, err, gaps)
			}
		}
		add := func(gaps ...backstay.Gap) {
			t.Helper()
			if err := s.AddGaps(t.Context(), gaps); err != nil {
				t.Fatal(err)
			}
		}
		want("of nothing")
		first, second := backstay.Gap{From: at(1, 7), Until: at(2, 0)}, backstay.Gap{From: at(10, 0), Until: at(11, 1)}
		add(second)
		add(first, second)
		want("noted twice", first, second)
		longer := backstay.Gap{From: first.From, Until: at(3, 0)}
		add(longer, first)
		want("one goes on", longer, second)
		never := backstay.Gap{Until: at(1, 0)}
		add(never)
		want("nothing came before it", never, longer, second)
		if err := os.WriteFile(filepath.Join(k.files, "gaps", "other"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		want("beside another file", never, longer, second)
		if err := s.DropGaps(t.Context(), at(11, 0)); err != nil {
			t.Fatal(err)
		}
		want("after the first two", second)
		if err := s.DropGaps(t.Context(), at(12, 0)); err != nil {
			t.Fatal(err)
		}
		want("after all")
	})
}

package build_test

import (
	"context"
	"slices"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// layered is an engine of one version whose builds stand on PostgreSQL, as MongoDB's do: they are run in their places.
type layered struct {
	engine.Engine
	full []string // what is installed, the newest first
}

func (e layered) Installations(context.Context) ([]engine.Installation, error) {
	var all []engine.Installation
	for _, full := range e.full {
		all = append(all, engine.Installation{Product: "FerretDB", Version: "2", FullVersion: full, Dir: "/" + full})
	}
	return all, nil
}

const (
	on186 = "2.7.0 on PostgreSQL 18.6 with DocumentDB 1.0-0"
	on187 = "2.7.0 on PostgreSQL 18.7 with DocumentDB 1.0-0"
	on190 = "2.7.0 on PostgreSQL 19.0 with DocumentDB 1.0-0"
	on191 = "2.8.0 on PostgreSQL 19.1 with DocumentDB 1.0-0"
)

// TestDataKeepsItsFoundation: what PostgreSQL 18 has served is served by no build that stands on another one, be it the
// newest, and be it the only one that is left.
func TestDataKeepsItsFoundation(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		installed []string
		wanted    string
		found     string // empty: none
	}{
		{name: "its own build, beside a newer one of another", installed: []string{on190, on186}, wanted: on186, found: on186},
		{name: "the newest, where none is named", installed: []string{on190, on186}, found: on190},
		{name: "a newer one of the same", installed: []string{on190, on187}, wanted: on186, found: on187},
		{name: "its own build, before a newer one", installed: []string{on187, on186}, wanted: on186, found: on186},
		{name: "only another is left", installed: []string{on190}, wanted: on186},
		{name: "only an older one is left", installed: []string{on186}, wanted: on187},
		{name: "only an older foundation is left", installed: []string{on187}, wanted: on190},
		{name: "several to stand in", installed: []string{on191, on190, on187}, wanted: on186, found: on187},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t, "mongodb", layered{full: tc.installed})
			i, err := s.Find(t.Context(), "mongodb", "2", tc.wanted)
			if i.FullVersion != tc.found || (err == nil) != (tc.found != "") ||
				err != nil && backstay.KindOf(err) != backstay.Unsupported {
				t.Errorf("found %+v, %v", i, err)
			}
		})
	}
}

// TestNewestOfEachFoundation: what new instances get comes first, and an update of each of the others is known.
func TestNewestOfEachFoundation(t *testing.T) {
	t.Parallel()
	s := newStore(t, "mongodb", layered{full: []string{on191, on190, on187, on186}})
	found, err := s.Newest(t.Context(), "mongodb")
	must(t, err)
	var full []string
	for _, i := range found {
		full = append(full, i.FullVersion)
	}
	if want := []string{on191, on187}; !slices.Equal(full, want) {
		t.Errorf("the newest are %q, want %q", full, want)
	}
}

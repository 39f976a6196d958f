package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// Store finds builds. It is safe for concurrent use.
type Store struct {
	Engines map[string]engine.Engine
	Dir     string // where builds are kept
	Now     func() time.Time
	Log     *slog.Logger

	mu   sync.Mutex
	seen map[string]sight // by engine
}

// sight is what was installed of an engine when it was last looked at.
type sight struct {
	traces    traces
	at        time.Time
	installed []engine.Installation // the copies; where there is none, what is installed itself
}

// lookEvery is how long what was seen is believed though nothing has left a trace: a library of the machine's that a
// program needs may have come or gone.
const lookEvery = time.Minute

// Installed lists the builds that the machine has of an engine, newest first, as they are now. Programs are run only
// where something has changed. While the machine's packages are being replaced, it is what was there before.
func (s *Store) Installed(ctx context.Context, name string) ([]engine.Installation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.installed(ctx, name)
}

// Newest lists the newest build of each version that the machine has, the newest first: what new instances get, and
// behind it, for the data of others, the newest build of each other foundation of the version.
func (s *Store) Newest(ctx context.Context, name string) ([]engine.Installation, error) {
	installed, err := s.Installed(ctx, name)
	var newest []engine.Installation
	for _, i := range installed {
		if !slices.ContainsFunc(newest, func(n engine.Installation) bool { return serveTheSame(n, i) }) {
			newest = append(newest, i)
		}
	}
	return newest, err
}

// serveTheSame tells whether two builds serve each other's data, as far as versions tell.
func serveTheSame(a, b engine.Installation) bool {
	return a.Version == b.Version && engine.Foundation(a.FullVersion) == engine.Foundation(b.FullVersion)
}

// installed is Installed; s.mu is held.
func (s *Store) installed(ctx context.Context, name string) ([]engine.Installation, error) {
	now, before := s.Now(), s.seen[name]
	found := tracesOf(s.Engines[name])
	fresh := found.same(before.traces) && now.Sub(before.at) < lookEvery
	if len(before.installed) > 0 && (fresh || !found.same(before.traces) && !found.settled(now)) {
		return before.installed, nil
	}
	installed, err := s.look(ctx, name)
	if errors.Is(err, errReplacing) && len(before.installed) == 0 {
		return s.kept(name), nil // by a keeper before us
	}
	if errors.Is(err, errReplacing) {
		return before.installed, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for installations of %s: %w", name, err)
	}
	if s.seen == nil {
		s.seen = map[string]sight{}
	}
	s.seen[name] = sight{traces: found, at: now, installed: installed}
	return installed, nil
}

// look finds out what is installed, and keeps a copy of it. It is errReplacing in the middle of a replacement.
func (s *Store) look(ctx context.Context, name string) ([]engine.Installation, error) {
	found, err := s.Engines[name].Installations(ctx)
	if err != nil {
		return nil, err
	}
	for n, i := range found {
		kept, err := s.keep(ctx, name, i)
		switch {
		case errors.Is(err, errReplacing) || ctx.Err() != nil:
			return nil, err
		case err != nil:
			s.warn(name, i, err)
		default:
			found[n] = kept
		}
	}
	return found, nil
}

// Find returns the build of that full version of an engine, or the newest installed one of the version if build is
// empty; where none is installed any more, one that is kept. Where the machine has that build no more and no copy is
// left of it, a newer one of the same version and foundation stands in for it: its data is served rather than not. It
// is Unsupported if there is none.
func (s *Store) Find(ctx context.Context, name, version, build string) (engine.Installation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	installed, err := s.installed(ctx, name)
	if err != nil {
		return engine.Installation{}, err
	}
	for _, i := range ranked(installed, s.kept(name), version, build) {
		if slices.Contains(installed, i) || s.runs(ctx, name, i) {
			return i, nil
		}
	}
	return engine.Installation{}, backstay.Errorf(backstay.Unsupported, "%s %s is not installed on this machine.",
		name, cmp.Or(build, version))
}

// ranked lists the builds that will do, the best first: those that were asked for, then newer ones. Of equals, the
// machine's own comes before one that is kept.
func ranked(installed, kept []engine.Installation, version, build string) []engine.Installation {
	var exact, newer []engine.Installation
	for _, i := range slices.Concat(installed, kept) {
		switch {
		case i.Version != version:
		case build == "" || i.FullVersion == build:
			exact = append(exact, i)
		case strings.HasPrefix(build, version+".") && engine.Succeeds(i.FullVersion, build):
			newer = append(newer, i)
		}
	}
	slices.SortStableFunc(newer, engine.NewestFirst)
	return append(exact, newer...)
}

// runs tells whether a build that is kept still does, on the machine as it is now.
func (s *Store) runs(ctx context.Context, name string, i engine.Installation) bool {
	k, ok := s.Engines[name].(engine.Keepable)
	if !ok {
		return false
	}
	full, err := k.Report(ctx, i)
	if err != nil && ctx.Err() == nil {
		s.Log.Warn("a build that is kept does not run any more", "engine", name, "build", i.FullVersion, "error", err)
	}
	return err == nil && full == i.FullVersion
}

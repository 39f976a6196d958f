package node

import (
	"cmp"
	"context"
	"fmt"
	"sync"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// Installations remembers what is installed on this machine: finding out runs programs. It is safe for
// concurrent use.
type Installations struct {
	Engines map[string]engine.Engine

	mu    sync.Mutex
	known map[string][]engine.Installation
}

// Of lists the installations of an engine, newest first, as they were when any was first seen.
func (i *Installations) Of(ctx context.Context, name string) ([]engine.Installation, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if list := i.known[name]; len(list) > 0 {
		return list, nil
	}
	return i.look(ctx, name)
}

// ofNow lists the installations of an engine as they are now.
func (i *Installations) ofNow(ctx context.Context, name string) ([]engine.Installation, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.look(ctx, name)
}

// look finds out anew. i.mu is held.
func (i *Installations) look(ctx context.Context, name string) ([]engine.Installation, error) {
	list, err := i.Engines[name].Installations(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for installations of %s: %w", name, err)
	}
	if i.known == nil {
		i.known = map[string][]engine.Installation{}
	}
	i.known[name] = list
	return list, nil
}

// Find returns an installation of that version, and of that build unless it is empty, looking anew if none
// is known. It is Unsupported if there is none.
func (i *Installations) Find(ctx context.Context, name, version, build string) (engine.Installation, error) {
	for _, list := range []func(context.Context, string) ([]engine.Installation, error){i.Of, i.ofNow} {
		installed, err := list(ctx, name)
		if err != nil {
			return engine.Installation{}, err
		}
		for _, found := range installed {
			if found.Version == version && (build == "" || found.FullVersion == build) {
				return found, nil
			}
		}
	}
	return engine.Installation{}, backstay.Errorf(backstay.Unsupported, "%s %s is not installed on this machine.",
		name, cmp.Or(build, version))
}

package keeper

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
)

// installations remembers what is installed: finding out runs programs.
type installations struct {
	engines map[string]engine.Engine
	mu      sync.Mutex
	known   map[string][]engine.Installation
}

// of lists the installations of an engine as they were when any was first seen.
func (i *installations) of(ctx context.Context, name string) ([]engine.Installation, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if list := i.known[name]; len(list) > 0 {
		return list, nil
	}
	return i.look(ctx, name)
}

// ofNow lists the installations of an engine as they are now.
func (i *installations) ofNow(ctx context.Context, name string) ([]engine.Installation, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.look(ctx, name)
}

// look finds out anew. i.mu is held.
func (i *installations) look(ctx context.Context, name string) ([]engine.Installation, error) {
	list, err := i.engines[name].Installations(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for installations of %s: %w", name, err)
	}
	if i.known == nil {
		i.known = map[string][]engine.Installation{}
	}
	i.known[name] = list
	return list, nil
}

// find returns an installation of that version, and of that build unless it is empty, looking anew if none is known.
func (i *installations) find(ctx context.Context, name, version, build string) (engine.Installation, error) {
	for _, list := range []func(context.Context, string) ([]engine.Installation, error){i.of, i.ofNow} {
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
	return engine.Installation{}, backstay.Errorf(backstay.Unsupported, "%s %s is not installed on this machine.", name, cmp.Or(build, version))
}

// names are by what every endpoint of this machine is reached: an instance has a place here without taking one.
func (k *Keeper) names() []string {
	return append([]string{k.Host, "localhost", "127.0.0.1"}, k.Listen...)
}

// checkAbilities refuses what is wanted and this machine cannot do.
func (k *Keeper) checkAbilities(ctx context.Context, s backend.Spec) error {
	refuse := func(format string, args ...any) error { return backstay.Errorf(backstay.Unsupported, format, args...) }
	switch {
	case k.Engines[s.Engine] == nil:
		return refuse("There is no engine %q here.", s.Engine)
	case s.Nodes > 1:
		return refuse("An instance has one node here, not %d.", s.Nodes)
	case s.Volume.Encrypted:
		return refuse("There are no encrypted volumes here.")
	case s.Backup != nil:
		return refuse("There are no backups here.")
	case s.Origin != nil:
		return refuse("Nothing can be restored here.")
	case s.Build == "":
		return nil
	}
	_, err := k.found.find(ctx, s.Engine, s.Version, s.Build)
	return err
}

// inventory is what can be served here.
func (k *Keeper) inventory(ctx context.Context) (backend.Inventory, error) {
	inventory := backend.Inventory{Engines: []backend.EngineVersion{}}
	for _, name := range slices.Sorted(maps.Keys(k.Engines)) {
		installed, err := k.found.of(ctx, name)
		if err != nil {
			return inventory, err
		}
		for _, i := range installed {
			inventory.Engines = append(inventory.Engines, backend.EngineVersion{Engine: name, Product: i.Product, Version: i.Version, FullVersion: i.FullVersion})
		}
	}
	return inventory, nil
}

package keeper

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/keeper/build"
	"github.com/backstay/backstay/keeper/instance"
)

// buildInterval is how long a build may be installed, or be kept for nobody, until that is seen by itself. Whoever asks
// what is installed sees it at once.
const buildInterval = 5 * time.Second

// tendBuilds keeps copies of what is installed, warms it up, and removes what nobody uses, until ctx ends.
func (k *Keeper) tendBuilds(ctx context.Context) {
	warm := map[string][]engine.Installation{}
	tick := time.NewTicker(buildInterval)
	defer tick.Stop()
	for {
		for name := range k.Engines {
			k.tendEngine(ctx, name, warm)
		}
		if err := k.sweepBuilds(ctx); err != nil && ctx.Err() == nil {
			k.Log.Warn("builds that nobody uses could not be removed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// tendEngine warms an engine up whose builds have changed.
func (k *Keeper) tendEngine(ctx context.Context, name string, warm map[string][]engine.Installation) {
	installed, err := k.machine.Installed.Newest(ctx, name)
	if err != nil && ctx.Err() == nil {
		k.Log.Warn("it is not known what is installed", "engine", name, "error", err)
	}
	if err != nil || slices.Equal(installed, warm[name]) {
		return
	}
	for _, i := range installed {
		k.Log.Info("a build is installed", "engine", name, "build", i.FullVersion, "dir", i.Dir)
		k.warm(ctx, name, i)
	}
	warm[name] = installed
}

// warm makes golden directories before anyone waits for them.
func (k *Keeper) warm(ctx context.Context, name string, i engine.Installation) {
	w, ok := k.Engines[name].(engine.Warmer)
	if !ok {
		return
	}
	cache, err := k.machine.CacheDir(name)
	if err == nil {
		err = w.Warm(ctx, i, cache)
	}
	if err != nil && ctx.Err() == nil {
		k.Log.Warn("an engine could not be warmed up", "engine", name, "version", i.Version, "error", err)
	}
}

// sweepBuilds removes what nobody uses. As long as there is data of which no record is known, nothing is: it may be
// known again, and then want its build.
func (k *Keeper) sweepBuilds(ctx context.Context) error {
	entries, err := os.ReadDir(k.dir("instances"))
	if err != nil {
		return err
	}
	uses, known := k.uses()
	for _, e := range entries {
		if !known[instance.OfHome(backstay.InstanceID(e.Name()))] {
			return nil
		}
	}
	return k.machine.Installed.Sweep(ctx, uses)
}

// uses lists the builds that instances want, and that their processes run from, and the instances.
func (k *Keeper) uses() (uses []build.Use, known map[backstay.InstanceID]bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	known = map[backstay.InstanceID]bool{}
	k.each(func(r instance.Record) {
		uses = append(uses, usesOf(r)...)
		known[r.Spec.Instance] = true
	})
	return uses, known
}

// KeptBuild is a build of which a keeper keeps a copy.
type KeptBuild struct {
	engine.Installation
	Copy      string                // the directory that all of it lies in
	Size      backstay.Bytes        // what it takes of the disk beside what is installed
	Instances []backstay.InstanceID // that run from it
}

// KeptBuilds lists the builds of an engine that are kept below a data directory, newest first. It changes nothing, and
// a keeper may run meanwhile.
func KeptBuilds(dataDir, name string) (kept []KeptBuild, err error) {
	c := Config{DataDir: dataDir}
	records, err := instance.Records{Dir: c.recordsDir(), Log: slog.New(slog.DiscardHandler)}.Read()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, i := range build.Kept(c.buildsDir(), name) {
		k := KeptBuild{Installation: i, Copy: build.CopyOf(c.buildsDir(), name, i)}
		if k.Size, err = build.SizeOf(k.Copy); err != nil {
			return nil, err
		}
		for _, r := range records {
			if r.Installation.Dir == i.Dir {
				k.Instances = append(k.Instances, r.Spec.Instance)
			}
		}
		kept = append(kept, k)
	}
	return kept, nil
}

func usesOf(r instance.Record) (uses []build.Use) {
	for _, s := range []*backend.Spec{&r.Spec, r.Before} {
		if s != nil {
			uses = append(uses, build.Use{Engine: s.Engine, Version: s.Version, Build: s.Build})
		}
	}
	if r.Kept != nil { // data that it can return to
		uses = append(uses, build.Use{Engine: r.Spec.Engine, Version: r.Kept.Version})
	}
	runs := []engine.Installation{r.Installation}
	if r.Second != nil {
		runs = append(runs, r.Second.Installation)
	}
	for _, rep := range r.Replicas {
		runs = append(runs, rep.Installation)
	}
	for _, i := range runs {
		uses = append(uses, build.Use{Engine: r.Spec.Engine, Version: i.Version, Build: i.FullVersion, Dir: i.Dir})
	}
	return uses
}

package keeper

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/step"
)

// Keeper keeps the instances of one data directory.
type Keeper struct {
	Config
	slots *semaphore.Weighted // bounds what is prepared and started at once: it is mostly copying
	found installations

	life    context.Context // of supervisors: until the keeper ends, or the engines are to end
	endLife context.CancelFunc

	mu          sync.Mutex
	supervisors map[backstay.InstanceID]*supervisor
	stopping    bool
	running     sync.WaitGroup // supervisors
	stop        context.CancelCauseFunc
}

// Why a keeper ends, other than by its context.
var (
	errExit = errors.New("asked to exit") // engines run on
	errStop = errors.New("asked to stop") // engines have ended
)

// Run keeps the instances until ctx ends, or until it is asked to exit. Engines run on in both cases.
func Run(ctx context.Context, c Config) error {
	if err := c.prepare(); err != nil {
		return err
	}
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	k := &Keeper{
		Config: c, slots: semaphore.NewWeighted(int64(2 * runtime.NumCPU())),
		supervisors: map[backstay.InstanceID]*supervisor{}, stop: stop,
	}
	k.found.engines = c.Engines
	records, err := c.load()
	if err != nil {
		return fmt.Errorf("read records: %w", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	k.life, k.endLife = context.WithCancel(ctx)
	defer k.endLife()
	k.mu.Lock()
	for _, r := range records {
		k.supervise(r)
	}
	k.mu.Unlock()
	g.Go(func() error { return k.serve(ctx) })
	g.Go(func() error { k.warm(ctx); return nil })
	g.Go(func() error { k.boundLogs(ctx); return nil })
	err = g.Wait()
	k.running.Wait()
	if cause := context.Cause(ctx); errors.Is(cause, errExit) || errors.Is(cause, errStop) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// ErrKept is that of a data directory on which a keeper runs already.
var ErrKept = errors.New("another keeper keeps")

// lock makes this the only keeper of the data directory, until the process ends.
func (c Config) lock() (unlock func() error, err error) {
	f, err := os.OpenFile(c.dir("keeper", "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%w %s", ErrKept, c.DataDir), f.Close())
	}
	return f.Close, nil
}

// warm makes golden directories before anyone waits for them.
func (k *Keeper) warm(ctx context.Context) {
	for name, e := range k.Engines {
		w, ok := e.(engine.Warmer)
		if !ok {
			continue
		}
		for _, i := range k.found.of(ctx, name) {
			cache, err := k.cacheDir(name)
			if err == nil {
				err = w.Warm(ctx, i, cache)
			}
			if err != nil && ctx.Err() == nil {
				k.Log.Warn("an engine could not be warmed up", "engine", name, "version", i.Version, "error", err)
			}
		}
	}
}

func (k *Keeper) cacheDir(name string) (string, error) {
	dir := k.dir("cache", name)
	return dir, makeDir(dir, throughMode())
}

// supervise begins to keep an instance. k.mu is held.
func (k *Keeper) supervise(r record) {
	s := newSupervisor(k, r)
	k.supervisors[r.Spec.Instance] = s
	k.running.Go(func() { s.run(k.life) })
}

// forget ends the memory of an instance of which nothing is left.
func (k *Keeper) forget(id backstay.InstanceID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.supervisors, id)
}

func (k *Keeper) supervisor(id backstay.InstanceID) (*supervisor, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := k.supervisors[id]
	if !ok {
		return nil, backstay.Errorf(backstay.NotFound, "Instance %s not found", id)
	}
	return s, nil
}

// apply makes a Spec what is wanted. The record on disk is the fact; the supervisor follows it.
func (k *Keeper) apply(ctx context.Context, spec backend.Spec) error {
	if err := checkSpec(spec); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopping {
		return backstay.Errorf(backstay.Unavailable, "The keeper is stopping.")
	}
	if s, ok := k.supervisors[spec.Instance]; ok {
		return s.respec(ctx, spec)
	}
	if err := k.admit(spec); err != nil {
		return err
	}
	r, err := k.newRecord(spec)
	if err != nil {
		return err
	}
	if err := step.Run(ctx, k.applySteps(r)...); err != nil {
		return err
	}
	k.supervise(r)
	return nil
}

func (k *Keeper) applySteps(r record) []step.Step {
	return []step.Step{{Name: "keeper.spec-written", Do: func(context.Context) error { return k.save(r) }}}
}

func checkSpec(s backend.Spec) error {
	switch {
	case s.Instance == "" || len(s.Instance) > 64:
		return backstay.Errorf(backstay.Invalid, "An instance id has between 1 and 64 characters.")
	case !plainName(string(s.Instance)):
		return backstay.Errorf(backstay.Invalid, "Instance id %q: want letters, digits and hyphens.", s.Instance)
	case s.Generation < 1:
		return backstay.Errorf(backstay.Invalid, "Instance %s: generations count from 1.", s.Instance)
	}
	return nil
}

// plainName keeps an id from naming anything but a file of its own.
func plainName(s string) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' {
			return false
		}
	}
	return true
}

// admit refuses a new instance for which this machine has no engine, no port or no room. k.mu is held.
func (k *Keeper) admit(s backend.Spec) error {
	if _, ok := k.Engines[s.Engine]; !ok {
		return backstay.Errorf(backstay.Unsupported, "There is no engine %q here.", s.Engine)
	}
	if s.Private { // our own: without it nobody could delete anything
		return nil
	}
	if _, err := k.freePort(); err != nil {
		return err
	}
	return k.checkRoom()
}

func (k *Keeper) checkRoom() error {
	var fs unix.Statfs_t
	if err := unix.Statfs(k.DataDir, &fs); err != nil {
		return fmt.Errorf("measure free space: %w", err)
	}
	free := backstay.Bytes(int64(fs.Bavail) * fs.Bsize)
	if free < k.MinFree {
		return backstay.Errorf(backstay.Unavailable, "The disk is nearly full: %d MB are free, and a new service must leave %d MB. Delete services, or ask the operator for more room.",
			free/backstay.MB, k.MinFree/backstay.MB)
	}
	return nil
}

func (k *Keeper) newRecord(spec backend.Spec) (r record, err error) {
	r.Spec = spec
	if !spec.Private {
		if r.Port, err = k.freePort(); err != nil {
			return r, err
		}
	}
	if isRoot() {
		taken := map[uint32]bool{}
		for _, s := range k.supervisors {
			taken[s.current().UID] = true
		}
		r.UID = newUID(spec.Instance, taken)
	}
	return r, nil
}

// freePort is the lowest that no instance holds and that can be bound now. k.mu is held.
func (k *Keeper) freePort() (int, error) {
	held := map[int]bool{}
	for _, s := range k.supervisors {
		held[s.current().Port] = true
	}
	for port := k.Ports.First; port <= k.Ports.Last; port++ {
		if !held[port] && k.bindable(port) {
			return port, nil
		}
	}
	return 0, backstay.Errorf(backstay.Unavailable, "No free port is left in the range %s. Delete services, or ask the operator for a larger range.", k.Ports)
}

func (k *Keeper) bindable(port int) bool {
	for _, address := range k.Listen {
		l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

// installations remembers what is installed: finding out runs programs.
type installations struct {
	engines map[string]engine.Engine
	mu      sync.Mutex
	known   map[string][]engine.Installation
}

// of lists the installations of an engine as they were when first asked for.
func (i *installations) of(ctx context.Context, name string) []engine.Installation {
	i.mu.Lock()
	defer i.mu.Unlock()
	if list, ok := i.known[name]; ok {
		return list
	}
	return i.look(ctx, name)
}

// look finds out anew. i.mu is held.
func (i *installations) look(ctx context.Context, name string) []engine.Installation {
	list, err := i.engines[name].Installations(ctx)
	if err != nil {
		return nil
	}
	if i.known == nil {
		i.known = map[string][]engine.Installation{}
	}
	i.known[name] = list
	return list
}

// find returns an installation of that version, looking anew if none is known.
func (i *installations) find(ctx context.Context, name, version string) (engine.Installation, error) {
	for _, list := range [2]func() []engine.Installation{
		func() []engine.Installation { return i.of(ctx, name) },
		func() []engine.Installation {
			i.mu.Lock()
			defer i.mu.Unlock()
			return i.look(ctx, name)
		},
	} {
		for _, found := range list() {
			if found.Version == version {
				return found, nil
			}
		}
	}
	return engine.Installation{}, backstay.Errorf(backstay.Unavailable, "%s %s is not installed on this machine.", name, version)
}

// inventory is what can be served here.
func (k *Keeper) inventory(ctx context.Context) backend.Inventory {
	inventory := backend.Inventory{Hosts: append([]string{k.Host, "localhost", "127.0.0.1"}, k.Listen...)}
	for name := range k.Engines {
		for _, i := range k.found.of(ctx, name) {
			inventory.Engines = append(inventory.Engines, backend.EngineVersion{Engine: name, Version: i.Version, FullVersion: i.FullVersion})
		}
	}
	return inventory
}

// stopAll ends all engines in an orderly way, and then the keeper.
func (k *Keeper) stopAll() error {
	k.mu.Lock()
	k.stopping = true // no supervisor begins any more
	k.mu.Unlock()
	defer k.stop(errStop) // last, so that who asked is answered
	k.endLife()
	k.running.Wait()
	var all errgroup.Group
	for _, s := range k.supervisors {
		all.Go(func() error {
			if err := s.stopNode(); err != nil {
				return fmt.Errorf("stop instance %s: %w", s.id, err)
			}
			return nil
		})
	}
	return all.Wait()
}

// StopEngines ends the engines of a data directory that have lost their keeper, and returns how many
// they were. It is ErrKept if they have one: then that is to be asked.
func StopEngines(dataDir string, engines map[string]engine.Engine) (count int, err error) {
	c := Config{DataDir: dataDir, Engines: engines, Log: slog.New(slog.DiscardHandler)}
	if _, err := os.Stat(c.recordsDir()); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	unlock, err := c.lock()
	if err != nil {
		return 0, err
	}
	defer unlock()
	records, err := c.load()
	if err != nil {
		return 0, err
	}
	k := &Keeper{Config: c}
	for _, r := range records {
		s := newSupervisor(k, r)
		p, err := s.find()
		if err == nil && p != nil {
			count++
			err = errors.Join(s.end(p), p.Close())
		}
		if err != nil {
			return count, fmt.Errorf("stop instance %s: %w", s.id, err)
		}
	}
	return count, nil
}

// statuses lists the status of every instance.
func (k *Keeper) statuses() []backend.Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := []backend.Status{}
	for _, s := range k.supervisors {
		status, _ := s.look()
		list = append(list, status)
	}
	return list
}

// stopGrace is how long an engine may take to end in an orderly way.
const stopGrace = 20 * time.Second

package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
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

// lockPatience is for the children of a keeper that was killed as it forked them: until they are another
// program, they have its lock.
const lockPatience = time.Second

// lock makes this the only keeper of the data directory, until the process ends.
func (c Config) lock() (unlock func() error, err error) {
	f, err := os.OpenFile(c.dir("keeper", "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for giveUp := time.Now().Add(lockPatience); ; time.Sleep(5 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if errors.Is(err, unix.EWOULDBLOCK) && time.Now().After(giveUp) {
			err = fmt.Errorf("%w %s", ErrKept, c.DataDir)
		} else if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR) {
			continue
		}
		return nil, errors.Join(err, f.Close())
	}
	return func() error { // not the file alone: a child of ours that has just been forked has it too
		return errors.Join(unix.Flock(int(f.Fd()), unix.LOCK_UN), f.Close())
	}, nil
}

// warm makes golden directories before anyone waits for them.
func (k *Keeper) warm(ctx context.Context) {
	for name, e := range k.Engines {
		w, ok := e.(engine.Warmer)
		if !ok {
			continue
		}
		installed, err := k.found.of(ctx, name)
		if err != nil && ctx.Err() == nil {
			k.Log.Warn("an engine could not be warmed up", "engine", name, "error", err)
		}
		for _, i := range installed {
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
		return nil, k.absence(id)
	}
	return s, nil
}

// absence tells why there is no instance of that id: nothing of it is left, or its record cannot be
// read, and it must not be taken for gone. k.mu is held.
func (k *Keeper) absence(id backstay.InstanceID) error {
	if plainName(string(id)) && exists(k.recordPath(id)) {
		return backstay.Errorf(backstay.Unavailable, "The record of instance %s cannot be read. The operator finds the reason in the keeper's log.", id)
	}
	return backstay.Errorf(backstay.NotFound, "There is no instance %s.", id)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// apply makes a Spec what is wanted. The record on disk is the fact; the supervisor follows it.
func (k *Keeper) apply(ctx context.Context, spec backend.Spec) error {
	if err := errors.Join(checkSpec(spec), k.checkAbilities(ctx, spec)); err != nil {
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
	if err := k.absence(spec.Instance); backstay.KindOf(err) != backstay.NotFound {
		return err
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

// held is the generation that is wanted of each instance that there is a record of.
func (k *Keeper) held() map[backstay.InstanceID]int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	generations := make(map[backstay.InstanceID]int64, len(k.supervisors))
	for id, s := range k.supervisors {
		generations[id] = s.current().Spec.Generation
	}
	return generations
}

// unwell lists the status of every instance that does not serve as wanted.
func (k *Keeper) unwell() []backend.Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := []backend.Status{}
	for _, s := range k.supervisors {
		status, _ := s.look()
		if status.Phase == backend.Failing || status.Obstacle != (backend.Obstacle{}) {
			list = append(list, status)
		}
	}
	return list
}

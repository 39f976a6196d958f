package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper/custody"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/keeper/node"
	"github.com/backstay/backstay/volume"
)

// Keeper keeps the instances of one data directory.
type Keeper struct {
	Config
	machine *instance.Machine
	custody *custody.Custody

	life    context.Context // of instances: until the keeper ends, or the engines are to end
	endLife context.CancelFunc
	stop    context.CancelCauseFunc
	starts  *starts

	kindOfNew  *settled[volume.Kind] // of volumes of new instances
	encryption *settled[string]      // by which way they can be encrypted
	trying     sync.Mutex            // of images
	images     map[*instance.Disk]*settled[volume.Kind]

	mu        sync.Mutex // never held over anything that waits
	instances map[backstay.InstanceID]*instance.Instance
	admitted  map[backstay.InstanceID]admission
	allotting map[backstay.InstanceID]*instance.Allotment // to instances whose record does not tell yet
	giving    map[int]bool                                // ports of fronts for reads, the same
	stray     map[uint32]bool                             // users that own data of which no record can be read
	stopping  bool
	running   sync.WaitGroup // instances
}

// admission is a new instance whose record is being written for the first time.
type admission struct {
	record instance.Record // holds its port and its user
	done   chan struct{}   // closed when it is written, or given up
}

// Why a keeper ends, other than by its context.
var (
	errExit = errors.New("asked to exit") // engines run on
	errStop = errors.New("asked to stop") // engines have ended
)

func newKeeper(c Config) *Keeper {
	if c.Now == nil {
		c.Now = time.Now
	}
	k := &Keeper{
		Config: c, machine: c.machine(), starts: newStarts(), stray: map[uint32]bool{},
		instances: map[backstay.InstanceID]*instance.Instance{}, admitted: map[backstay.InstanceID]admission{},
		allotting: map[backstay.InstanceID]*instance.Allotment{}, giving: map[int]bool{},
		images: map[*instance.Disk]*settled[volume.Kind]{},
	}
	k.kindOfNew, k.encryption = k.newKind(), k.newEncryption()
	k.machine.ImagesOn = k.imagesOn
	k.machine.AskEvery, k.machine.Source, k.machine.Groups = k.askEvery, k.serving, c.groups()
	k.custody = k.newCustody()
	k.machine.Vault = k.custody
	return k
}

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
	if err := c.checkFormat(); err != nil {
		return err
	}
	k := newKeeper(c)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	k.stop = stop
	records, err := k.machine.Records.Load()
	if err == nil {
		err = k.wantOpen()
	}
	if err != nil {
		return fmt.Errorf("read records: %w", err)
	}
	if err := k.custody.Load(); err != nil {
		return fmt.Errorf("read records of backups: %w", err)
	}
	k.lookForOneDisk()
	g, ctx := errgroup.WithContext(ctx)
	k.life, k.endLife = context.WithCancel(ctx)
	defer k.endLife()
	k.superviseAll(records)
	k.sweepGroups()
	k.boundBackground()
	defer k.leaveBackground()
	k.attendOrphans()
	g.Go(func() error { return k.serve(ctx) })
	g.Go(func() error { k.awaitOurs(ctx); k.tendBuilds(ctx); return nil })
	g.Go(func() error { k.starts.bound(ctx); return nil })
	g.Go(func() error { k.boundLogs(ctx); return nil })
	g.Go(func() error { _, _ = k.encryption.get(ctx); k.tendImages(ctx); return nil }) // before somebody waits for it
	g.Go(func() error { k.tendDirectories(ctx); return nil })
	g.Go(func() error { k.sweepKept(ctx); return nil })
	err = g.Wait()
	k.refuseMore()
	k.running.Wait()
	cause := context.Cause(ctx)
	if errors.Is(cause, errExit) || errors.Is(cause, errStop) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// wantOpen refuses to keep instances whose secrets are sealed without the key: what is sealed would be taken for them.
func (k *Keeper) wantOpen() error {
	if k.Seal != (seal.Key{}) {
		return nil
	}
	sealed, err := k.machine.Records.Sealed()
	if sealed {
		err = errors.New("their secrets are sealed, and this keeper was told no key to open them")
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
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	err = wait.Until(ctx, wait.Every(5*time.Millisecond), func() (again bool, err error) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return true, fmt.Errorf("%w %s", ErrKept, c.DataDir)
		}
		return errors.Is(err, unix.EINTR), err
	})
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error { // not the file alone: a child of ours that has just been forked has it too
		return errors.Join(unix.Flock(int(f.Fd()), unix.LOCK_UN), f.Close())
	}, nil
}

// superviseAll begins to keep what there are records of: our own databases first.
func (k *Keeper) superviseAll(records []instance.Record) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range records {
		k.supervise(r)
	}
	k.mountStrays()
	k.findStrays()
}

// awaitOurs returns when our own databases serve, or have had their head start.
func (k *Keeper) awaitOurs(ctx context.Context) {
	defer close(k.starts.ours)
	ctx, cancel := context.WithTimeout(ctx, headStart)
	defer cancel()
	for _, in := range k.all() {
		if in.Record().Spec.Private {
			awaitUp(ctx, in)
		}
	}
}

// supervise begins to keep an instance. k.mu is held.
func (k *Keeper) supervise(r instance.Record) {
	in := instance.New(k.machine, r)
	k.instances[in.ID] = in
	keep := k.custody.Attend(in.ID, source{in})
	k.running.Go(func() { keep(k.life) })
	k.running.Go(func() {
		if !r.Spec.Private {
			k.starts.take(k.life, func(ctx context.Context) { awaitUp(ctx, in) })
		}
		if in.Run(k.life) {
			k.inherit(in.Record()) // before another instance can have the id, whose custodian would look after one that is gone
			k.forget(in.ID)
			in.Farewell()
		}
	})
}

// forget ends the memory of an instance of which nothing is left.
func (k *Keeper) forget(id backstay.InstanceID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.instances, id)
}

// refuseMore lets no new instance begin.
func (k *Keeper) refuseMore() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopping = true
}

// all lists the instances.
func (k *Keeper) all() []*instance.Instance {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := make([]*instance.Instance, 0, len(k.instances))
	for _, in := range k.instances {
		list = append(list, in)
	}
	return list
}

func (k *Keeper) instance(id backstay.InstanceID) (*instance.Instance, error) {
	k.mu.Lock()
	in, ok := k.instances[id]
	k.mu.Unlock()
	if !ok {
		return nil, k.absence(id)
	}
	return in, nil
}

// serving returns the node of an instance while it serves.
func (k *Keeper) serving(ctx context.Context, id backstay.InstanceID) (node.Node, error) {
	in, err := k.instance(id)
	if err != nil {
		return node.Node{}, err
	}
	return in.Serving(ctx)
}

// absence tells why there is no instance of that id: nothing of it is left, or its record cannot be
// read, and it must not be taken for gone.
func (k *Keeper) absence(id backstay.InstanceID) error {
	if plainName(string(id)) && k.machine.Records.Has(id) {
		return backstay.Errorf(backstay.Unavailable,
			"The record of instance %s cannot be read. The operator finds the reason in the keeper's log.", id)
	}
	return backstay.Errorf(backstay.NotFound, "There is no instance %s.", id)
}

// How often engines are asked whether they serve: each as often as that a hung one is noticed within seconds,
// and all together no more often than costs a few hundredths of a processor. That one's process is stopped
// is noticed without asking.
const (
	askEvery = 2 * time.Second
	askPause = 80 * time.Millisecond
)

func (k *Keeper) askEvery() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return max(askEvery, time.Duration(len(k.instances))*askPause)
}

// held is the generation that is wanted of each instance that there is a record of.
func (k *Keeper) held() map[backstay.InstanceID]int64 {
	generations := map[backstay.InstanceID]int64{}
	for _, in := range k.all() {
		generations[in.ID] = in.Record().Spec.Generation
	}
	return generations
}

// unwell lists the status of every instance that does not serve as wanted, or has troubles.
func (k *Keeper) unwell() []backend.Status {
	list := []backend.Status{}
	for _, in := range k.all() {
		if status, _ := in.Look(); in.Unwell() {
			list = append(list, status)
		}
	}
	return list
}

// drills are those that have ended last, of each instance that had one.
func (k *Keeper) drills() map[backstay.InstanceID][]backend.Drill {
	held := map[backstay.InstanceID][]backend.Drill{}
	for _, in := range k.all() {
		if r := in.Record(); len(r.Drills) > 0 {
			held[in.ID] = r.Drills
		}
	}
	return held
}

// VolumeStepNames lists the steps that it takes besides where volumes are images.
func VolumeStepNames() []string { return volume.StepNames() }

// StepNames lists every step that the keeper takes for an instance: where it may die in the middle.
func StepNames() []string { return instance.StepNames() }

// RestoreStepNames lists the steps that it takes besides where data is restored.
func RestoreStepNames() []string { return instance.RestoreStepNames() }

// PairStepNames lists the steps that it takes besides for instances of two nodes.
func PairStepNames() []string { return instance.PairStepNames() }

// BackupStepNames lists the steps that it takes besides for the backups of an instance.
func BackupStepNames() []string { return append(custody.StepNames(), instance.LastCopyStepNames()...) }

// UpgradeStepNames lists the steps that it takes besides where the machine has several versions of an engine.
func UpgradeStepNames() []string { return instance.UpgradeStepNames() }

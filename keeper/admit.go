package keeper

import (
	"cmp"
	"context"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/keeper/instance"
)

// apply makes a Spec what is wanted. The record on disk is the fact; the instance follows it.
func (k *Keeper) apply(ctx context.Context, spec backend.Spec) error {
	if err := k.check(ctx, spec); err != nil {
		return err
	}
	in, begun, err := k.admit(ctx, spec)
	switch {
	case err != nil:
		return err
	case in != nil:
		return k.change(ctx, in, spec)
	case begun.record.Spec.Instance != "":
		return k.begin(ctx, spec, begun)
	}
	select { // somebody else applies it for the first time just now
	case <-begun.done:
		return k.apply(ctx, spec)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin writes the first record of an instance. One that has served, and whose record is lost, gets another
// one that is made of what is there.
func (k *Keeper) begin(ctx context.Context, spec backend.Spec, begun admission) error {
	r, err := k.settleVolume(ctx, begun.record)
	if err == nil && spec.Served != nil {
		if r, err = r.Adopted(ctx, k.machine); err == nil {
			err = k.machine.Records.MoveAside(spec.Instance, k.Now())
		}
		k.Log.Warn("the record of an instance is made anew around its data", "instance", r.Spec.Instance, "port", r.Port)
	}
	if err == nil {
		err = step.Run(ctx, instance.FirstSteps(k.machine, r)...)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.admitted, spec.Instance)
	close(begun.done)
	if err == nil && !k.stopping {
		k.supervise(r)
	}
	return err
}

// check refuses what is no Spec, and what this machine cannot do.
func (k *Keeper) check(ctx context.Context, s backend.Spec) error {
	switch {
	case s.Instance == "" || len(s.Instance) > 64:
		return backstay.Errorf(backstay.Invalid, "An instance id has between 1 and 64 characters.")
	case !plainName(string(s.Instance)):
		return backstay.Errorf(backstay.Invalid, "Instance id %q: want letters, digits and hyphens.", s.Instance)
	case s.Generation < 1:
		return backstay.Errorf(backstay.Invalid, "Instance %s: generations count from 1.", s.Instance)
	}
	return k.checkAbilities(ctx, s)
}

func (k *Keeper) checkAbilities(ctx context.Context, s backend.Spec) error {
	refuse := func(format string, args ...any) error { return backstay.Errorf(backstay.Unsupported, format, args...) }
	switch {
	case k.Engines[s.Engine] == nil:
		return refuse("There is no engine %q here.", s.Engine)
	case s.Nodes > 2:
		return refuse("An instance has one node or two here, not %d.", s.Nodes)
	case s.Nodes == 2 && (s.Private || !k.replicates(s.Engine)):
		return refuse("An instance of engine %q has one node here, not %d.", s.Engine, s.Nodes)
	case s.Reading.Replicas != nil && *s.Reading.Replicas > 0 && !k.readsFromStandbys(s.Engine):
		return refuse("Nobody reads from another node than the primary of engine %q here: there are no read replicas.",
			s.Engine)
	case s.Reading.Replicas != nil && *s.Reading.Replicas > backend.MaxReplicas:
		return refuse("An instance is read from %d replicas here at most, not %d.", backend.MaxReplicas, *s.Reading.Replicas)
	}
	if err := cmp.Or(k.checkEncryption(ctx, s), k.checkBackup(s)); err != nil {
		return err
	}
	if err := k.machine.Restorable(s); err != nil || s.Build == "" || k.hasBuild(s) {
		return err
	}
	_, err := k.machine.Installed.Find(ctx, s.Engine, s.Version, s.Build)
	return err
}

// hasBuild tells whether the instance is to run from that build already: that it is gone is then for the instance to
// tell, and no reason to refuse another change.
func (k *Keeper) hasBuild(s backend.Spec) bool {
	k.mu.Lock()
	in, ok := k.instances[s.Instance]
	k.mu.Unlock()
	if !ok {
		return false
	}
	held := in.Record().Spec
	return held.Version == s.Version && held.Build == s.Build
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

// admit returns the instance that there is, or for a new one the admission that the caller is to see through.
// An admission without a record is somebody else's.
func (k *Keeper) admit(
	ctx context.Context, spec backend.Spec,
) (in *instance.Instance, begun admission, err error) {
	seen, err := k.look(ctx, spec)
	if err != nil {
		return nil, begun, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if other, ok := k.admitted[spec.Instance]; ok {
		return nil, admission{done: other.done}, nil
	}
	if in, err = k.admissible(spec, seen); err != nil || in != nil {
		return in, begun, err
	}
	r, err := k.newRecord(spec)
	if err != nil {
		return nil, begun, err
	}
	begun = admission{record: r, done: make(chan struct{})}
	k.admitted[spec.Instance] = begun
	return nil, begun, nil
}

// admissible refuses a Spec that Apply would refuse, or returns the instance that it is of. A new one takes room of
// what was seen of the disks. k.mu is held.
func (k *Keeper) admissible(spec backend.Spec, seen []disk) (*instance.Instance, error) {
	if in, ok := k.instances[spec.Instance]; ok {
		if err := in.Admit(spec); err != nil {
			return in, err
		}
		return in, cmp.Or(k.checkRoom(spec, seen), k.checkPromises(spec))
	}
	switch {
	case k.stopping:
		return nil, backstay.Errorf(backstay.Unavailable, "The keeper is stopping.")
	case spec.Served != nil:
		return nil, k.checkPlace(spec)
	case k.machine.Records.Has(spec.Instance):
		return nil, k.absence(spec.Instance)
	case spec.Private: // our own: without it nobody could delete anything
		return nil, nil
	}
	if _, err := k.freePort(); err != nil {
		return nil, err
	}
	return nil, cmp.Or(k.checkRoom(spec, seen), k.checkPromises(spec))
}

// checkAdmission refuses a Spec that Apply would refuse, and one that the engine says can never be: whoever asks for
// it is told at once, and nothing is written down.
func (k *Keeper) checkAdmission(ctx context.Context, spec backend.Spec) error {
	seen, err := k.look(ctx, spec)
	if err != nil {
		return err
	}
	k.mu.Lock()
	in, err := k.admissible(spec, seen)
	r := instance.Record{Spec: spec}
	if isRoot() {
		r.UID = instance.NewUID(spec.Instance, k.takenUIDs())
	}
	k.mu.Unlock()
	switch {
	case err != nil || spec.Served != nil: // one that has served is possible
		return err
	case in == nil:
		return k.machine.PossibleAnew(ctx, r, spec)
	case in.Record().Spec.Generation == spec.Generation:
		return nil
	}
	return in.Possible(ctx, spec)
}

// checkPlace refuses an instance that served at the port of another one. k.mu is held.
func (k *Keeper) checkPlace(spec backend.Spec) error {
	port := spec.Served.Endpoint.Port
	if (port == 0) != spec.Private {
		return backstay.Errorf(backstay.Invalid, "Instance %s cannot have served at port %d.", spec.Instance, port)
	}
	if port != 0 && k.heldPorts()[port] {
		return backstay.Errorf(backstay.Unavailable, "Port %d, at which instance %s served, is another one's by now.",
			port, spec.Instance)
	}
	return nil
}

// newRecord gives an instance its port and its user. k.mu is held.
func (k *Keeper) newRecord(spec backend.Spec) (r instance.Record, err error) {
	served := spec.Served
	spec.Served = nil
	r.Spec = spec
	switch {
	case served != nil:
		r.Port = served.Endpoint.Port
		if !k.heldPorts()[served.Reads.Port] { // else reads have no address until somebody is given another one
			r.ReadPort = served.Reads.Port
		}
	case !spec.Private:
		if r.Port, err = k.freePort(); err != nil {
			return r, err
		}
	}
	if r.Lacks(spec) {
		a, err := k.allot(r, spec)
		if err != nil {
			return r, err
		}
		r.Allot(a)
	}
	if isRoot() {
		r.UID = instance.NewUID(spec.Instance, k.takenUIDs())
	}
	return r, nil
}

// each calls do with the record of every instance, those that are about to be written too. k.mu is held.
func (k *Keeper) each(do func(instance.Record)) {
	for _, in := range k.instances {
		do(in.Record())
	}
	for _, begun := range k.admitted {
		do(begun.record)
	}
}

func (k *Keeper) heldPorts() map[int]bool {
	held := map[int]bool{}
	k.each(func(r instance.Record) {
		for _, port := range r.Ports() {
			held[port] = true
		}
	})
	for _, a := range k.allotting {
		held[a.NodePort], held[a.SecondPort] = true, true
		for _, port := range a.ReplicaPorts {
			held[port] = true
		}
	}
	maps.Copy(held, k.giving)
	return held
}

func (k *Keeper) takenUIDs() map[uint32]bool {
	taken := map[uint32]bool{}
	for uid := range k.stray {
		taken[uid] = true
	}
	k.each(func(r instance.Record) { taken[r.UID] = true })
	return taken
}

// findStrays looks for data of instances of which no record could be read: its owners are nobody else's.
// k.mu is held.
func (k *Keeper) findStrays() {
	var paths []string
	for _, d := range k.machine.Disks.All() {
		found, _ := filepath.Glob(filepath.Join(d.Instances(), "*", "data*")) // of what cannot be read there is none
		paths = append(paths, found...)
	}
	for _, path := range paths {
		id := instance.OfHome(backstay.InstanceID(filepath.Base(filepath.Dir(path))))
		if k.instances[id] != nil {
			continue
		}
		k.Log.Warn("there is data of an instance, and no record of it that can be read", "instance", id, "data", path)
		if uid, ok := ownerOf(path); ok {
			k.stray[uid] = true
		}
	}
}

func ownerOf(path string) (uid uint32, ok bool) {
	var stat syscall.Stat_t
	err := syscall.Lstat(path, &stat)
	return stat.Uid, err == nil
}

// freePort is the lowest that no instance holds, that is not taken, and that can be bound now. One that has a directory
// belongs to an instance whose record cannot be read. k.mu is held.
func (k *Keeper) freePort(taken ...int) (int, error) {
	held := k.heldPorts()
	for _, port := range taken {
		held[port] = true
	}
	for port := k.Ports.First; port <= k.Ports.Last; port++ {
		if !held[port] && !exists(k.machine.RunDir("", port)) && !k.isLeft(port) && k.bindable(port) {
			return port, nil
		}
	}
	return 0, backstay.Errorf(backstay.Unavailable,
		"No free port is left in the range %s. Delete services, or ask the operator for a larger range.", k.Ports)
}

// isLeft tells whether a front for reads was at the port.
func (k *Keeper) isLeft(port int) bool {
	found, _ := filepath.Glob(k.machine.ReadsDirs(port)) // the pattern is sound
	return len(found) > 0
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// bindable tells whether all addresses can be bound at the port. Nothing is forked meanwhile: the child would have the
// port too until it is another program, and whoever tries next would find it taken.
func (k *Keeper) bindable(port int) bool {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	for _, address := range k.Listen {
		l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

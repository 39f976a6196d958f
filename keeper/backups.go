package keeper

import (
	"context"
	"net/http"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/keeper/custody"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/window"
)

func (k *Keeper) newCustody() *custody.Custody {
	return &custody.Custody{
		Dir: k.backupsDir(), Key: k.Seal, Repository: k.Repository, Engines: k.Engines, Newest: k.machine.Installed.Newest,
		Prove: k.prove, Now: k.Now, Log: k.Log,
	}
}

// source is an instance as the custodian of its backups sees it.
type source struct{ *instance.Instance }

func (s source) Look() (custody.Sight, <-chan struct{}) {
	_, changed := s.Instance.Look()
	r := s.Record()
	sight := custody.Sight{
		Spec: r.Spec, UID: r.UID, Serves: s.Serves(), PID: s.PID(), Removing: r.Removing, OwesLast: s.OwesCopy(),
	}
	n, err := s.Node()
	if err != nil { // its directories cannot be made now
		sight.Serves = false
	}
	sight.Node = n.Node
	return sight, changed
}

// attendOrphans keeps the backups of instances that are gone. One whose record cannot be read is not.
func (k *Keeper) attendOrphans() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopping {
		return
	}
	for _, id := range k.custody.Known() {
		if k.instances[id] == nil && !k.machine.Records.Has(id) {
			keep := k.custody.Attend(id, nil)
			k.running.Go(func() { keep(k.life) })
		}
	}
}

// inherit keeps the backups of an instance of which nothing else is left, as was wanted last.
func (k *Keeper) inherit(left instance.Record) {
	id := left.Spec.Instance
	if err := k.custody.Removed(id, left.Spec.Backup); err != nil {
		k.Log.Error("the record of backups cannot be written", "instance", id, "error", err)
	}
	k.custody.Attend(id, nil) // its custodian runs already
}

// sweepInterval is how often it is looked for data that is kept no longer.
const sweepInterval = time.Hour

// sweepKept removes what an interrupted proof has left, and data of removed instances that was kept long enough, until
// ctx ends.
func (k *Keeper) sweepKept(ctx context.Context) {
	if err := k.machine.SweepProof(); err != nil {
		k.Log.Warn("what a proof has left could not be removed", "error", err)
	}
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		if err := k.machine.SweepKept(); err != nil {
			k.Log.Warn("data that was kept could not be removed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// checkBackup refuses a policy that cannot be followed. That there is no repository is no reason: it is told as trouble
// of an instance that serves.
func (k *Keeper) checkBackup(s backend.Spec) error {
	p := s.Backup
	if p == nil {
		return nil
	}
	if err := k.custody.Able(s.Engine); err != nil {
		return err
	}
	if _, err := window.ParseDaily(p.Window); err != nil {
		return backstay.Wrapf(err, backstay.Invalid, "The backup window %q is none.", p.Window)
	}
	if p.Days < 1 || p.Final < 0 || p.Key == "" {
		return backstay.Errorf(backstay.Invalid, "Backups are kept for a day or more, and encrypted with a key.")
	}
	return nil
}

func (k *Keeper) answerBackups(r *http.Request) (any, error) {
	return k.custody.Backups(backstay.InstanceID(r.PathValue("id")))
}

func (k *Keeper) answerAllBackups(*http.Request) (any, error) { return k.custody.AllBackups(), nil }

// answerLearn makes the record of backups that an instance has left, and keeps them.
func (k *Keeper) answerLearn(r *http.Request) (any, error) {
	var left backend.Legacy
	if err := read(r, &left); err != nil {
		return nil, err
	}
	if id := r.PathValue("id"); string(left.Instance) != id || !plainName(id) || left.Policy.Key == "" {
		return nil, backstay.Errorf(backstay.Invalid, "The backups of %q are not those of %q, or have no key.",
			left.Instance, id)
	}
	if err := k.custody.Learn(r.Context(), left); err != nil {
		return nil, err
	}
	k.attendOrphans()
	return nil, nil
}

func (k *Keeper) answerForget(r *http.Request) (any, error) {
	return nil, k.custody.Forget(r.Context(), backstay.InstanceID(r.PathValue("id")))
}

// answerProof proves a backup for as long as somebody waits for that, and no longer than the keeper keeps: its end
// waits until nothing is left of the proof.
func (k *Keeper) answerProof(r *http.Request) (any, error) {
	k.mu.Lock()
	if k.stopping {
		k.mu.Unlock()
		return nil, backstay.Errorf(backstay.Unavailable, "The keeper is stopping.")
	}
	k.running.Add(1)
	k.mu.Unlock()
	defer k.running.Done()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(k.life, cancel)()
	return k.custody.ProveNow(ctx, backstay.InstanceID(r.PathValue("id")))
}

// prove is custody's Prove. It leaves room on the disk for what the instances write meanwhile.
func (k *Keeper) prove(
	ctx context.Context, id backstay.InstanceID, r backstay.Repository, b backstay.Backup, to engine.Point,
) error {
	in, err := k.instance(id)
	if err != nil {
		return err
	}
	free, err := k.free()
	if err != nil {
		return err
	}
	if needed := b.Data + b.Data/4 + k.MinFree; free < needed {
		return backstay.Errorf(backstay.Unavailable, "The disk has %d MB free, and a proof is begun with %d MB.",
			free/backstay.MB, needed/backstay.MB)
	}
	return in.Prove(ctx, r, to)
}

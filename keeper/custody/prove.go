package custody

import (
	"context"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/window"
)

// allDay is the window of proofs: they are spread over it.
var allDay = window.Daily{Length: 24 * time.Hour}

// proofDue tells whether the newest backup is to be proved now: once a day, and a proof that has failed again behind
// its pause.
func (k *Custodian) proofDue() bool {
	kept := k.kept()
	if k.c.Prove == nil || len(kept.List) == 0 || !k.mayTry(toProve) {
		return false
	}
	last := kept.Proof.At
	if last.IsZero() {
		last = kept.List[0].Ended // the first one is proved in its turn, and not as soon as it is there
	}
	due, _ := backup.Due(last, allDay, chance(k.id)+1, k.c.Now())
	return due || kept.Proof.Reason != ""
}

// proveBeside proves the newest backup in a goroutine of its own, unless one does so already: the archive goes on
// meanwhile, and so does the night's backup.
func (k *Custodian) proveBeside(ctx context.Context) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.proving {
		return
	}
	k.proving = true
	k.beside.Go(func() {
		k.Prove(ctx) // the failure is told as trouble
		k.mu.Lock()
		defer k.mu.Unlock()
		k.proving = false
	})
}

// errLeaving ends the proof of an instance that is removed, which has no place to start a node in any more.
var errLeaving = backstay.Errorf(backstay.Unsupported,
	"The instance is removed: restore its last backup into a new instance instead of proving it.")

// Prove restores the newest backup into a scratch place, and records how that went. It waits for its turn: a machine
// proves one backup at a time.
func (k *Custodian) Prove(ctx context.Context) (p backend.Proof, err error) {
	if k.c.Prove == nil || k.c.Repository.IsZero() {
		return p, backstay.Errorf(backstay.Unsupported, "Backups cannot be proved here.")
	}
	if err := k.c.proofs.Acquire(ctx, 1); err != nil {
		return p, err
	}
	defer k.c.proofs.Release(1)
	ctx, end := k.beginProof(ctx)
	defer end()
	newest, err := k.newest(ctx)
	if err != nil {
		return p, err
	}
	err = step.Run(ctx, k.proveSteps(newest, &p)...)
	switch {
	case ctx.Err() != nil:
		return p, context.Cause(ctx)
	case err != nil:
		return p, err
	case p.Reason != "":
		return p, k.failureOf(toProve)
	}
	return p, nil
}

// beginProof gives a proof a context that leaveProof ends.
func (k *Custodian) beginProof(ctx context.Context) (during context.Context, end func()) {
	during, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	k.mu.Lock()
	defer k.mu.Unlock()
	k.endProof = func() {
		cancel(errLeaving)
		<-ended
	}
	return during, func() {
		cancel(nil)
		k.mu.Lock()
		defer k.mu.Unlock()
		k.endProof = nil
		close(ended)
	}
}

// leaveProof ends the proof that is under way, and returns when nothing is left of it.
func (k *Custodian) leaveProof() {
	k.mu.Lock()
	end := k.endProof
	k.mu.Unlock()
	if end != nil {
		end()
	}
}

// newest is the newest backup, which nobody removes while endProof is set.
func (k *Custodian) newest(ctx context.Context) (b backstay.Backup, err error) {
	if s := k.sight(); s.Gone || s.Removing {
		return b, errLeaving
	}
	end, err := k.begin(ctx) // nothing is being removed then
	if err != nil {
		return b, err
	}
	defer end()
	list := k.kept().List
	if len(list) == 0 {
		return b, backstay.Errorf(backstay.NotFound, "There is no backup of the instance %s yet.", k.id)
	}
	return list[len(list)-1], nil
}

// tryOut restores a backup and what the archive has behind it, unless it is damaged.
func (k *Custodian) tryOut(ctx context.Context, b backstay.Backup) error {
	kept, _ := k.Backups()
	to, err := backup.Reach(kept, backend.Origin{Instance: k.id, Backup: b.ID})
	if err != nil {
		return err
	}
	return k.c.Prove(ctx, k.id, k.repository(), b, to)
}

// proveSteps read all that is kept, try a backup and record how that went. A backup that cannot be restored is a proof
// too.
func (k *Custodian) proveSteps(b backstay.Backup, p *backend.Proof) []step.Step {
	return []step.Step{
		{Name: "custody.proved", Do: func(ctx context.Context) error {
			_, err := k.examine(ctx)
			*p = backend.Proof{Backup: b.ID, At: k.c.Now().UTC()}
			if err == nil {
				err = quietly(func() error { return k.tryOut(ctx, b) })
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			p.Took = k.c.Now().Sub(p.At)
			if err != nil {
				p.Reason, p.Disproved = sentence(err), backstay.KindOf(err) == backstay.Invalid
			}
			k.note(ctx, toProve, p.Took, err)
			k.log.Info("a backup was proved", "backup", b.ID, "took", p.Took, "error", err)
			return nil
		}},
		{Name: "custody.proof-recorded", Do: func(context.Context) error {
			defer k.poke() // another backup may be due
			return k.amend(func(r *Record) { r.Kept.Proof = *p })
		}},
	}
}

package custody

import (
	"context"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/window"
)

// allDay is the window of proofs: they are spread over it.
var allDay = window.Daily{Length: 24 * time.Hour}

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
	return due
}

// Prove restores the newest backup into a scratch place, and records how that went.
func (k *Custodian) Prove(ctx context.Context) (p backend.Proof, err error) {
	kept := k.kept()
	switch {
	case k.c.Prove == nil || k.c.Repository.IsZero():
		return p, backstay.Errorf(backstay.Unsupported, "Backups cannot be proved here.")
	case len(kept.List) == 0:
		return p, backstay.Errorf(backstay.NotFound, "There is no backup of the instance %s yet.", k.id)
	}
	if err := k.c.proofs.Acquire(ctx, 1); err != nil {
		return p, err
	}
	defer k.c.proofs.Release(1)
	newest := kept.List[len(kept.List)-1]
	p = backend.Proof{Backup: newest.ID, At: k.c.Now().UTC()}
	k.reads()
	err = quietly(func() error {
		return k.c.Prove(ctx, k.id, k.repository(), engine.Point{Backup: newest.ID})
	})
	if ctx.Err() != nil {
		return p, ctx.Err()
	}
	p.Took = k.c.Now().Sub(p.At)
	if err != nil {
		p.Reason = sentence(err)
	}
	k.note(ctx, toProve, p.Took, err)
	if saveErr := k.amend(func(r *Record) { r.Kept.Proof = p }); saveErr != nil {
		return p, saveErr
	}
	return p, err
}

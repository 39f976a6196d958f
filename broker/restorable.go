package broker

import (
	"context"
	"errors"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/broker/terms"
	"github.com/backstay/backstay/internal/wait"
)

// toldBackup is a backup as users are told of it. Times are in UTC, as parameters take them.
type toldBackup struct {
	Time  string `json:"time"` // from then on it can be restored
	Size  string `json:"size"` // of the data
	Took  string `json:"took"`
	Final bool   `json:"final,omitempty"` // it is the last one, of an instance that was deleted
	// Damaged says what is damaged of it: it is not restored.
	Damaged string `json:"damaged,omitempty"`
}

// toldGap is a time that cannot be restored, between two seconds that can be.
type toldGap struct {
	From  string `json:"from"`
	Until string `json:"until"`
}

// tellBackups adds what an instance can be restored to, if it is backed up. What of that is not known now is left out.
func (b *Broker) tellBackups(ctx context.Context, in Instance, spec backend.Spec, told map[string]any) {
	policy := spec.Backup
	if policy == nil {
		return
	}
	told["backup_retention_period"], told["skip_final_snapshot"] = policy.Days, policy.Final == 0
	kept, err := b.backupsOf(ctx, in.Backend, in.ID)
	if err != nil {
		if backstay.KindOf(err) != backstay.NotFound {
			b.Log.Warn("it is not known what is kept of an instance", "instance", in.ID, "error", err)
		}
		return
	}
	backups := make([]toldBackup, len(kept.List))
	for i, of := range kept.List {
		backups[i] = toldBackup{
			toldTime(of.Ended), of.Data.Rounded().String(), toldSpan(of.Ended.Sub(of.Began)), of.Final, of.Damaged,
		}
		if of.Damaged == "" {
			told["last_backup"] = backups[i].Time
		}
	}
	told["backups"] = backups
	if !kept.Latest.IsZero() {
		told["earliest_restorable_time"], told["latest_restorable_time"] = toldTime(kept.Earliest), toldTime(kept.Latest)
	}
	var gaps []toldGap
	for _, gap := range backup.Gaps(kept) {
		gaps = append(gaps, toldGap{toldTime(gap.From), toldTime(gap.Until)})
	}
	if gaps != nil {
		told["gaps"] = gaps
	}
	if kept.Trouble() != "" {
		told["backup_trouble"] = kept.Trouble()
	}
	if proof := kept.Proof; !proof.At.IsZero() && proof.Reason == "" {
		told["last_proved_restore"] = toldSpan(b.Now().Sub(proof.At)) + " ago, took " + toldSpan(proof.Took)
	}
}

func toldTime(t time.Time) string { return t.UTC().Format(time.DateTime) }

// toldSpan is a span of time in whole seconds, of which a short one has at least one.
func toldSpan(d time.Duration) string { return max(d.Round(time.Second), time.Second).String() }

// awaitBackup returns when the backup has been taken that an update has asked for, if it has. It is hopeless when that
// has failed: the backend tries again by itself.
func (b *Broker) awaitBackup(ctx context.Context, in Instance, op Operation) error {
	before, err := b.acceptedSpec(in)
	if err != nil {
		return err
	}
	spec, err := b.wantedSpec(in, op)
	if err != nil || spec.Backups <= before.Backups {
		return err
	}
	if err := b.Store.ReportOperation(ctx, op.ID, "A backup is being taken."); err != nil {
		return err
	}
	ctx, patience, end := withPatience(ctx)
	defer end()
	var kept backend.Backups
	err = wait.Until(ctx, wait.Every(backupPause), func() (again bool, err error) {
		kept, err = b.backupsOf(ctx, in.Backend, in.ID)
		if kept.Running {
			patience.renew()
		}
		return err != nil || kept.Asked < spec.Backups, err
	})
	switch {
	case errors.Is(context.Cause(ctx), errOutOfTime):
		return hopeless("The backup has taken too long. %s", kept.Trouble())
	case err == nil && kept.Failed != "":
		return hopeless("The backup could not be taken: %s It is tried again by itself.", kept.Failed)
	}
	return err
}

// backupPause is the time between two looks at whether a backup has been taken.
const backupPause = 200 * time.Millisecond

// BeginBackups has every instance backed up whose plan has backups, and which is of a time before there were any. No
// engine is restarted for it.
func (b *Broker) BeginBackups(ctx context.Context) error {
	plans, err := b.allPlans(ctx)
	if err != nil {
		return err
	}
	entries, err := b.Store.Entries(ctx)
	if err != nil {
		return err
	}
	var failures []error
	for _, e := range entries {
		if err := b.beginBackupsOf(ctx, e.ID, plans); err != nil {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

func (b *Broker) beginBackupsOf(
	ctx context.Context, id backstay.InstanceID, plans map[backstay.ServicePlanID]plan,
) error {
	in, err := b.Store.Instance(ctx, id)
	if err != nil || in.Spec == nil {
		return absentIsFine(err)
	}
	p := plans[in.PlanID]
	if p.size.Backups == nil || *p.size.Backups == 0 || b.isBackedUp(in) {
		return nil
	}
	if in.Busy {
		return errBusy(id)
	}
	c, err := b.agreeOnChange(ctx, in, in.PlanID, terms.Change{})
	if err != nil || c.isNone() {
		return err
	}
	op := newOperation(id, backstay.Update, "Backups of the service instance are about to begin.")
	op.Cause = ByBackup
	_, err = b.beginChange(ctx, in, c, op)
	return err
}

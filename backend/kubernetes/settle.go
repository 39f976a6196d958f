package kubernetes

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backup"
)

// backupObject asks the operator for a backup. It is removed once that has ended: what it has made is not.
func backupObject(namespace, name string, id backstay.InstanceID) *unstructured.Unstructured {
	o := newObject("postgresql.cnpg.io/v1", "Backup", namespace, name, id)
	o.Object["spec"] = map[string]any{
		"cluster": map[string]any{"name": nameOf(id)}, "method": "barmanObjectStore", "target": "primary",
	}
	return o
}

// settle notes how a backup has ended: by its ID, or why it has failed.
func (in *instance) settle(ctx context.Context, is attempt, id, failed string) error {
	r, err := in.amend(ctx, func(r record) record {
		r.Keeping.Running, r.Keeping.Failed = nil, failed
		r.Keeping.Asked = max(r.Keeping.Asked, is.Asked)
		if is.Final && id != "" {
			r.Keeping.Final = id
		}
		return r
	})
	if err != nil {
		return err
	}
	if err := in.b.remove(ctx, backups, is.Name); err != nil { // with the instance it goes at the latest
		in.b.Log.Warn("a backup's object is left", "instance", in.id, "error", err)
	}
	if failed != "" {
		return nil
	}
	if err := in.leaveNote(ctx, r); err != nil { // the next backup leaves it again
		in.b.Log.Warn("what backups are of cannot be noted beside them", "instance", in.id, "error", err)
	}
	return nil
}

// leaveNote writes beside the backups what they are of.
func (in *instance) leaveNote(ctx context.Context, r record) error {
	part, err := in.b.part(in.id)
	if err != nil {
		return err
	}
	return writeNote(ctx, part, r.note())
}

// amend saves what the record becomes, whatever is wanted of the instance.
func (in *instance) amend(ctx context.Context, become func(record) record) (r record, err error) {
	in.write.Lock()
	defer in.write.Unlock()
	return r, again(func() error {
		var known bool
		if r, known = in.known(); !known {
			return unknown(in.id)
		}
		r = become(r)
		return in.save(ctx, r)
	})
}

// tidy removes what is kept no longer, and what an earlier instance of the id has left.
func (in *instance) tidy(ctx context.Context, now time.Time) {
	r, known := in.known()
	if !known || r.Removing || r.Keeping.Running != nil || r.Keeping.Lost || !r.settled() {
		return
	}
	err := in.forgetKept(ctx, r, now)
	if err == nil {
		err = in.clean(ctx, r, now)
	}
	if err == nil {
		err = in.expire(ctx, r, now)
	}
	in.custody.tell(expiryTrouble, err)
	if err != nil {
		in.b.Log.Warn("old backups cannot be removed", "instance", in.id, "error", err)
		in.custody.pruned = now.Add(expiryPause - pruneEvery)
		return
	}
	in.custody.pruned = now
}

// clean removes what lies in the instance's part and is of none of its lines. Where these are the instance's own all
// the same, the record is older than they are, as where Kubernetes itself was restored from a backup: then it is looked
// what there is, as where the record was lost.
func (in *instance) clean(ctx context.Context, r record, now time.Time) error {
	if in.custody.cleaned {
		return nil
	}
	part, err := in.b.part(in.id)
	if err != nil {
		return err
	}
	names, err := part.Parts(ctx)
	if err != nil {
		return err
	}
	if names = slices.DeleteFunc(names, r.Keeping.has); len(names) > 0 {
		n, err := readNote(ctx, part)
		if absentIsFine(err) != nil {
			return err
		}
		if n.Key == fingerprint(keyOf(r.Spec)) {
			_, err := in.amend(ctx, func(r record) record {
				r.Keeping.Lost = true
				return r
			})
			return err
		}
	}
	for _, name := range names {
		if err := erase(ctx, part, now, name+"/", nil); err != nil {
			return err
		}
	}
	in.custody.cleaned = true
	return nil
}

func (k keeping) has(name string) bool {
	for _, l := range k.Lines {
		if l.Name == name {
			return true
		}
	}
	return false
}

// expire removes the backups that are kept no longer, and the log before the others.
func (in *instance) expire(ctx context.Context, r record, now time.Time) error {
	part, err := in.b.part(in.id)
	if err != nil {
		return err
	}
	list, _, _ := in.custody.look()
	keep := backup.Keep(plain(list), r.Spec.Backup.Days, now)
	if err := prune(ctx, part, now, list, keep, r.Keeping.Lines, r.Keeping.current().Name); err != nil {
		return err
	}
	if len(keep) == len(list) {
		return nil
	}
	return in.relist(ctx, r)
}

func plain(list []stored) (all []backstay.Backup) {
	for _, s := range list {
		all = append(all, s.Backup)
	}
	return all
}

// backupsOf is what is kept of an instance that has a record.
func (in *instance) backupsOf(r record) backend.Backups {
	list, troubles, _ := in.custody.look()
	kept := r.Keeping.tell(backend.Backups{
		Instance: in.id, Engine: r.Spec.Engine, Version: r.standing().Version,
	}, list)
	kept.Troubles = troubles
	return kept
}

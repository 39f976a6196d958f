package kubernetes

import (
	"context"
	"slices"
	"time"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/wait"
)

// part settles what stays of an instance that is removed: a last backup where its policy wants one, the end of its log,
// and the note of it. It tells why that is not done yet.
func (in *instance) part(ctx context.Context, r record) (done bool, err error) {
	if in.b.Repository == nil || r.Parted || len(r.Keeping.Lines) == 0 && !r.Keeping.Lost {
		return true, nil
	}
	in.custody.work.Lock()
	defer in.custody.work.Unlock()
	if r.Reached == nil && !r.Served { // there was never anything in it
		return true, in.b.eraseLeft(ctx, in.id)
	}
	if r.Keeping.Lost {
		err = in.findKept(ctx, r)
		r, _ = in.known()
	}
	if err == nil {
		err = in.relist(ctx, r)
	}
	if err != nil {
		if r.Discarded { // nobody waits for the object store any more
			return in.partUnnoted(ctx, r, err)
		}
		return false, err
	}
	if done, err := in.close(ctx, r); !done || err != nil {
		return false, err
	}
	r, _ = in.known()
	list, _, _ := in.custody.look()
	n := r.note()
	if r.Spec.Backup == nil { // it is not backed up any more, and there may be something of before
		before, err := in.b.discover(ctx, in.id)
		if absentIsFine(err) != nil {
			return false, err
		}
		n.Legacy.Policy, n.Key = before.Legacy.Policy, before.Key
	}
	n = n.removed(in.b.Now())
	if len(list) == 0 {
		err = in.b.eraseLeft(ctx, in.id)
	} else if part, opened := in.b.part(in.id); opened == nil {
		err = writeNote(ctx, part, n)
	} else {
		err = opened
	}
	if err != nil {
		return false, err
	}
	if _, err = in.amend(ctx, func(r record) record { r.Parted = true; return r }); err != nil {
		return false, err
	}
	if len(list) > 0 {
		in.b.setLeft(in.id, left{n, slices.Clone(list)})
	}
	return true, nil
}

// removed is the note of an instance that is gone.
func (n note) removed(now time.Time) note {
	n.Legacy.Removed = now.UTC().Truncate(time.Millisecond)
	n.Legacy.Until = n.Legacy.Removed.AddDate(0, 0, n.Legacy.Policy.DaysAfter())
	n.Keeping.Running = nil
	return n
}

// partUnnoted has an instance go while the object store is away. That it has is noted there later.
func (in *instance) partUnnoted(ctx context.Context, r record, why error) (done bool, err error) {
	in.b.Log.Warn("an instance goes while the object store is away", "instance", in.id, "error", why)
	if r.Spec.Backup != nil { // before the record says that all is settled: nobody would come back to it
		if err := in.b.oweNote(ctx, in.id, r.note().removed(in.b.Now())); err != nil {
			return false, err
		}
	}
	if _, err := in.amend(ctx, func(r record) record { r.Parted = true; return r }); err != nil {
		return false, err
	}
	return true, nil
}

// close takes the last backup, and waits for the end of the log. Where the data is gone already, what there is is all,
// and where other data is being brought, or is there though it was given up, all of it was archived before. Who has
// only asked for that has the data still.
func (in *instance) close(ctx context.Context, r record) (done bool, err error) {
	bare, err := in.b.isBare(ctx, in.id)
	if err != nil || bare || r.Discarded || r.brings() || r.strays() || r.Spec.Backup == nil || r.Keeping.Cut {
		return err == nil, err
	}
	if r.Spec.Backup.Final > 0 && r.Keeping.Final == "" {
		if unwanted, err := in.unwanted(ctx); unwanted || err != nil {
			return false, err
		}
		if in.b.Now().Before(in.custody.retry) {
			return false, errNotTaken
		}
		if _, err := in.take(ctx, r, true); err != nil {
			in.custody.retry = in.b.Now().Add(firstPause)
			return false, err
		}
		if r, _ = in.known(); r.Keeping.Final == "" {
			return false, nil
		}
	}
	err = in.flush(ctx, time.Time{})
	return err == nil, err
}

// withoutBackup is the annotation of a record by which an operator says that nobody waits for the last backup any more.
const withoutBackup = "backstay/without-backup"

// unwanted tells whether an operator has said so just now, and notes it.
func (in *instance) unwanted(ctx context.Context) (bool, error) {
	o, err := in.b.get(ctx, secrets, recordName(in.id))
	if err != nil || o == nil || o.GetAnnotations()[withoutBackup] != "yes" {
		return false, err
	}
	in.b.Log.Warn("an instance goes without its last backup, as somebody has said", "instance", in.id)
	in.reread(ctx)
	_, err = in.amend(ctx, func(r record) record {
		r.Discarded = true
		return r
	})
	return true, err
}

// flushLimit is how long what was just committed may take into the archive, when somebody waits for that.
const flushLimit = time.Minute

// flush returns when all that was committed by a moment lies in the archive; zero: all that was committed before.
func (in *instance) flush(ctx context.Context, by time.Time) error {
	all := ctx
	ctx, cancel := context.WithTimeout(ctx, flushLimit)
	defer cancel()
	r, _ := in.known()
	part, err := in.b.part(in.id)
	if err != nil {
		return err
	}
	line := r.Keeping.current().Name
	if !by.IsZero() && r.Keeping.current().Mark.At.After(by) {
		return nil
	}
	var m engine.LogMark
	err = wait.Until(ctx, wait.Every(200*time.Millisecond), func() (again bool, err error) {
		if m.Piece == "" || !m.At.After(by) { // also where the clock of the server's machine is behind
			m, err = in.markLog(ctx, r, engine.LogMark{})
			return err == nil, err
		}
		arrived, err := has(ctx, part, line, m.Piece)
		return err == nil && !arrived, err
	})
	switch {
	case all.Err() != nil:
		return all.Err()
	case err != nil && ctx.Err() != nil:
		return errBehind
	case err != nil:
		return err
	}
	_, err = in.amend(ctx, func(r record) record {
		if r.Keeping.current().Name == line {
			r.Keeping = r.Keeping.marked(m)
		}
		return r
	})
	return err
}

// parting is what users read of an instance that is being removed.
func (in *instance) parting(r record, otherwise string) string {
	if r.Parted || r.Discarded || r.Spec.Backup == nil || r.Spec.Backup.Final == 0 || r.Reached == nil {
		return otherwise
	}
	if in.last != "" {
		return in.last
	}
	return "The last backup of the service instance is being taken."
}

// owesLast says why an instance that is being removed is still there.
func (in *instance) owesLast(r record, err error) time.Duration {
	in.last = ""
	if err == nil {
		return tight
	}
	in.last = "The service instance is deleted once its last backup has been taken. " + sentenceFor(err)
	in.b.Log.Warn("an instance cannot be removed yet", "instance", in.id, "error", err)
	return remote
}

package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/engine"
)

// bring does what comes before a Cluster can be made from another one's data. It tells whether there is more of it.
func (in *instance) bring(ctx context.Context, r record) (pause time.Duration, more bool) {
	asked := r.asksForData()
	if !asked {
		in.mute = time.Time{}
	}
	archives, begun := keeps(r) && in.b.Repository != nil, len(r.Keeping.Lines) > 0
	var err error
	switch {
	case r.settled() && begun && !archives && !r.Keeping.Cut:
		_, err = in.amend(ctx, func(r record) record {
			r.Keeping.Cut = true
			return r
		})
	case r.settled() && archives && !r.rising() && !r.Keeping.Lost && (!begun || r.Keeping.Cut):
		_, err = in.amend(ctx, func(r record) record { return r.withOwnLine(in.b.Now()) })
	case r.settled():
		return 0, false
	case r.rising(): // that has to end first
		return 0, false
	case restoresOf(r.Spec) <= r.Restores && r.wantsBack(r.Spec):
		err = in.decideBack(ctx, r)
	case asked && (!r.brings() || r.Bring.Generation != r.Spec.Generation):
		err = in.decide(ctx, r, r.Spec.Origin, false)
	case r.Bring.Generation != r.Spec.Generation: // it is wanted no longer
		err = in.withdraw(ctx, r)
	case !r.Bring.Emptied:
		return in.empty(ctx, r)
	default:
		return 0, false
	}
	if err != nil && ctx.Err() == nil {
		return in.tellUnbrought(ctx, r, err), true
	}
	return 0, true
}

// tellUnbrought says why the data cannot be brought yet, of an instance that may serve as before.
func (in *instance) tellUnbrought(ctx context.Context, r record, err error) time.Duration {
	in.b.Log.Warn("an instance cannot be given its data yet", "instance", in.id, "error", err)
	s := in.situation(r)
	s.described, s.obstacle = in.b.described(r), obstacle(r.Spec, err)
	s.view = in.b.view(in.id)
	s.seen = sight{err: errBringing}
	if r.Reached != nil && !r.brings() {
		if w, err := in.b.wishFor(r, *r.Reached); err == nil {
			s.wish = w
			s.seen = in.see(ctx, s)
		}
	}
	in.tell(s.status())
	return calm
}

var errBringing = backstay.Errorf(backstay.Unavailable, "The data is being restored.")

// decide finds out what the instance is to begin from, and notes it: from then on nothing else counts. Of an instance
// that returns to an earlier moment, all that it has written is in the archive then.
func (in *instance) decide(ctx context.Context, r record, o *backend.Origin, own bool) error {
	found, k, err := in.b.resolve(ctx, r, *o)
	if err != nil {
		return err
	}
	found.Generation, found.Restores, found.Own = r.Spec.Generation, o.Return+1, own
	_, err = in.amend(ctx, func(r record) record {
		r = r.replaced(found)
		if k != nil {
			r.Keeping = *k
		}
		return r.withOwnLine(in.b.Now())
	})
	return err
}

// withdraw has the instance go on with the data that was its own. Where that is gone, or about to go, it is in the
// archive alone, also where other data is there by now. To bring it back from there is no restore that anybody has
// asked for: who asks again has not been answered.
func (in *instance) withdraw(ctx context.Context, r record) error {
	if r.Bring.Kept != nil { // the way back from an upgrade is not taken, and stays
		_, err := in.amend(ctx, func(r record) record {
			bring := *r.Bring
			r.Kept, bring.Kept = bring.Kept, nil
			r.Bring = &bring
			return r
		})
		if err != nil {
			return err
		}
	}
	isThere := false
	if !r.Bring.Emptied {
		cluster, err := in.b.get(ctx, clusters, nameOf(in.id))
		if err != nil {
			return err
		}
		isThere = cluster != nil && cluster.GetDeletionTimestamp() == nil
	}
	if !isThere {
		return in.decideBefore(ctx, r)
	}
	_, err := in.amend(ctx, func(r record) record {
		r.Bring = nil
		return r
	})
	return err
}

// resolve also returns what is to be known of the instance's own backups, where the record knows nothing of them.
func (b *Backend) resolve(ctx context.Context, r record, o backend.Origin) (found origin, own *keeping, err error) {
	if o.Clone {
		found, err = b.cloneOf(ctx, o)
		return found, nil, err
	}
	itself := o.Instance == r.Spec.Instance
	lost, err := b.bringUp(ctx, o, itself && !r.Removing)
	if err != nil {
		return found, nil, err
	}
	kept, k, err := b.source(ctx, o)
	if err != nil {
		return found, nil, err
	}
	list := kept.list
	told := k.tell(backend.Backups{Instance: o.Instance}, list)
	to, err := backup.Reach(told, o)
	if err != nil {
		return found, nil, err
	}
	found = origin{Of: o.Instance, Backup: to.Backup, Until: to.Until, Alone: to.Alone,
		Passed: strings.TrimSpace(backup.Passed(told, o, to) + " " + lost)}
	for _, s := range list {
		if s.ID == to.Backup {
			found.Line = s.Line
		}
	}
	for _, l := range k.Lines { // behind the mark nothing was committed until then, and the server wants a commit
		if end := l.Mark.Reaches(); l.Name == found.Line && !end.IsZero() && found.Until.After(end) {
			found.Until = end
		}
	}
	if itself {
		own = &k
	}
	return found, own, nil
}

// bringUp has the archive of a living source reach the moment that is wished for. A source whose data is gone has no
// more than it has. Where an instance itself returns to that moment, and nobody waits for its server any more, it
// returns what is lost of what that has written, a sentence.
func (b *Backend) bringUp(ctx context.Context, o backend.Origin, itself bool) (lost string, err error) {
	in, r, err := b.find(ctx, o.Instance)
	if err != nil || !keeps(r) || r.Removing || r.Reached == nil || !r.settled() && !itself {
		return "", absentIsFine(err)
	}
	by := o.At
	switch mark := r.Keeping.current().Mark.At; {
	case itself: // all of it: its data is about to go
		by = time.Time{}
	case o.Alone || !o.At.IsZero() && mark.After(o.At):
		return "", nil
	}
	if bare, err := b.isBare(ctx, o.Instance); err != nil || bare {
		return "", err
	}
	err = in.flush(ctx, by)
	switch {
	case err == nil:
		return "", nil
	case itself && in.isMute(ctx):
		b.Log.Warn("an instance returns without what its server has written last", "instance", in.id, "error", err)
		return r.unsaid(), nil
	}
	sentence := fmt.Sprintf("What the service instance %s has written last cannot be archived now: %s", o.Instance,
		sentenceFor(err))
	switch {
	case itself && !in.mute.IsZero():
		sentence += fmt.Sprintf(" If its server does not come up in %.0f minutes, it returns without that.",
			mutePatience.Minutes())
	case itself:
		sentence += " Without that, an earlier moment is had in a new service instance, by restore_from_point_in_time_of."
	}
	return "", backstay.Wrapf(err, backstay.Unavailable, "%s", sentence)
}

// source is what is kept of an origin, for who has its key. What the cluster does not know, the object store may.
func (b *Backend) source(ctx context.Context, o backend.Origin) (l left, k keeping, err error) {
	in, r, err := b.find(ctx, o.Instance)
	switch {
	case err == nil && keeps(r) && len(r.Keeping.Lines) > 0 && !r.Keeping.Lost:
		if r.Spec.Backup.Key != o.Key {
			return l, k, noBackups(o.Instance)
		}
		if err := in.relist(ctx, r); err != nil {
			return l, k, err
		}
		l.list, _, _ = in.custody.look()
		return l, r.Keeping, nil
	case err != nil && backstay.KindOf(err) != backstay.NotFound:
		return l, k, err
	}
	l.note, err = b.discover(ctx, o.Instance)
	if err != nil {
		return l, k, err
	}
	if l.note.Key != "" && l.note.Key != fingerprint(o.Key) {
		return l, k, noBackups(o.Instance)
	}
	part, err := b.part(o.Instance)
	if err == nil {
		l.list, err = listBackups(ctx, part, l.note.Keeping.Lines)
	}
	return l, l.note.Keeping, err
}

func (b *Backend) cloneOf(ctx context.Context, o backend.Origin) (origin, error) {
	in, r, err := b.find(ctx, o.Instance)
	if err != nil {
		return origin{}, err
	}
	if st, _, _ := in.look(); st.Phase != backend.Running || !r.settled() {
		return origin{}, backstay.Errorf(backstay.Unavailable, "The service instance %s does not serve now.", o.Instance)
	}
	return origin{Of: o.Instance, Clone: true, Private: r.Spec.Private}, nil
}

// checkOrigin refuses what cannot be restored, whatever happens until it is.
func (b *Backend) checkOrigin(ctx context.Context, r record, s backend.Spec) error {
	o := s.Origin
	if o == nil || restoresOf(s) <= r.Restores {
		return nil
	}
	if r.Reached != nil && o.Instance != s.Instance {
		return backstay.Errorf(backstay.Invalid, "A service instance returns to an earlier moment of its own.")
	}
	if o.Clone {
		if _, _, err := b.find(ctx, o.Instance); err != nil {
			return asInvalid(err)
		}
		return nil
	}
	l, k, err := b.source(ctx, *o)
	if err != nil {
		return asInvalid(err)
	}
	told := k.tell(backend.Backups{Instance: o.Instance}, l.list)
	if o.At.After(told.Latest) && !told.Latest.IsZero() && !o.At.After(b.Now()) {
		told.Latest = o.At // the archive is brought up to it
	}
	_, err = backup.Reach(told, *o)
	return err
}

// asInvalid is of what nobody can restore.
func asInvalid(err error) error {
	if backstay.KindOf(err) == backstay.NotFound {
		return backstay.Errorf(backstay.Invalid, "%s", backstay.SentenceOf(err))
	}
	return err
}

// empty removes the data before, and the Cluster with it. What it was lies in the archive.
func (in *instance) empty(ctx context.Context, r record) (pause time.Duration, more bool) {
	s := in.situation(r)
	s.seen = sight{err: errBringing}
	in.tell(s.status())
	left, err := in.b.emptyCluster(ctx, nameOf(in.id))
	if err == nil && left == 0 {
		_, err = in.amend(ctx, func(r record) record {
			if r.brings() {
				now := *r.Bring
				now.Emptied = true
				r.Bring, r.Primary = &now, ""
			}
			return r
		})
		if err == nil {
			return 0, true
		}
	}
	if err != nil {
		in.b.Log.Warn("the data before cannot be removed yet", "instance", in.id, "error", err)
		return remote, true
	}
	return tight, true
}

// emptyCluster removes a Cluster and all that the operator has made for it, and tells how much of that is left.
func (b *Backend) emptyCluster(ctx context.Context, name string) (left int, err error) {
	if err := b.remove(ctx, clusters, name); err != nil {
		return 0, err
	}
	cluster, err := b.get(ctx, clusters, name)
	if err != nil || cluster != nil {
		return 1, err
	}
	for _, resource := range []schema.GroupVersionResource{pods, claims, services, secrets} {
		its, err := b.list(ctx, resource, clusterLabel+"="+name)
		if err != nil {
			return 0, err
		}
		left += len(its)
	}
	return left, nil
}

// finish takes the users away that came with the data, of whom nobody knows here, and notes that it is there. Those of
// data that was the instance's are its own: nobody else makes them again.
func (in *instance) finish(ctx context.Context, r record, image Image, n engine.Node) error {
	archiver, ok := in.b.Engines[r.Spec.Engine].(engine.HostedArchiver)
	if !ok {
		return errors.New("the engine drops no users")
	}
	if !r.Bring.Own {
		if err := archiver.DropUsers(ctx, n); err != nil {
			return err
		}
	}
	_, err := in.amend(ctx, func(r record) record {
		if r.brings() {
			now := *r.Bring
			now.Done = true
			if !now.Own {
				r = r.without(r.Drops)
				now.Dropped = r.Bring.Dropped
			}
			r.Bring, r.Served = &now, true
			if now.Version != "" {
				r = r.ofVersion(r.Spec, image)
			}
		}
		return r
	})
	in.poke()
	return err
}

// opens tells whether data was brought, and nobody was let in to it yet.
func (s situation) opens() bool {
	b := s.record.Bring
	return b != nil && b.Done && !s.record.hasReached(b.Generation) &&
		s.seen.observation.Edition != s.wish.hosting.Edition
}

package kubernetes

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backup"
)

// left are the backups of one instance that was removed. The cluster has nothing of it any more.
type left struct {
	note note
	list []stored
}

// legacies are those of all instances that were removed, as they were found in the object store.
type legacies struct {
	mu    sync.Mutex
	all   map[backstay.InstanceID]left
	err   error                        // why they could not be read last
	known chan struct{}                // closed once they were
	owed  map[backstay.InstanceID]note // that could not be written when its instance went
	awake chan struct{}                // there is one more of these
}

// sweepEvery is how often it is looked for what is kept no longer, and retryEvery how often for a store that is away.
const (
	sweepEvery = 10 * time.Minute
	retryEvery = 15 * time.Second
)

// keepLeft looks after what removed instances have left, until ctx ends.
func (b *Backend) keepLeft(ctx context.Context) {
	for ctx.Err() == nil {
		pause := sweepEvery
		if err := b.sweepLeft(ctx); err != nil && ctx.Err() == nil {
			b.Log.Warn("backups of removed instances cannot be looked after", "error", err)
			pause = retryEvery
		}
		select {
		case <-ctx.Done():
		case <-b.left.awake:
		case <-time.After(pause):
		}
	}
}

func (b *Backend) sweepLeft(ctx context.Context) error {
	err := b.payNotes(ctx)
	if err == nil {
		err = b.readLeft(ctx)
	}
	b.left.mu.Lock()
	b.left.err = err
	b.left.mu.Unlock()
	if err != nil {
		return err
	}
	for _, id := range b.leftIDs() {
		if err := b.expireLeft(ctx, id, b.Now()); err != nil {
			return err
		}
	}
	return nil
}

func (b *Backend) leftIDs() []backstay.InstanceID {
	b.left.mu.Lock()
	defer b.left.mu.Unlock()
	return slices.Collect(maps.Keys(b.left.all))
}

// readLeft finds what is in the object store of instances that have no record. What has no note, or that of one that
// was not removed, may be another Backstay's: it is left alone.
func (b *Backend) readLeft(ctx context.Context) error {
	whole, err := b.part("")
	if err != nil {
		return err
	}
	before := b.leftIDs()
	names, err := whole.Parts(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		id := backstay.InstanceID(name)
		if _, _, err := b.find(ctx, id); err == nil || checkID(id) != nil {
			continue
		}
		if _, err := b.lookLeft(ctx, id); err != nil && backstay.KindOf(err) != backstay.NotFound {
			return err
		}
	}
	b.left.mu.Lock()
	defer b.left.mu.Unlock()
	for _, id := range before {
		if !slices.Contains(names, string(id)) { // somebody has removed it there
			delete(b.left.all, id)
		}
	}
	select {
	case <-b.left.known:
	default:
		close(b.left.known)
	}
	return nil
}

// lookLeft asks the object store what an instance has left.
func (b *Backend) lookLeft(ctx context.Context, id backstay.InstanceID) (left, error) {
	part, err := b.part(id)
	if err != nil {
		return left{}, err
	}
	n, owed := b.owedNote(id)
	if !owed {
		n, err = readNote(ctx, part)
	}
	if err != nil {
		return left{}, err
	}
	if n.Legacy.Removed.IsZero() || n.Legacy.Instance != id {
		return left{}, noBackups(id)
	}
	list, err := listBackups(ctx, part, n.Keeping.Lines)
	if err != nil {
		return left{}, err
	}
	l := left{n, list}
	b.setLeft(id, l)
	return l, nil
}

func (b *Backend) setLeft(id backstay.InstanceID, l left) {
	b.left.mu.Lock()
	defer b.left.mu.Unlock()
	b.left.all[id] = l
}

func (b *Backend) dropLeft(id backstay.InstanceID) {
	b.left.mu.Lock()
	defer b.left.mu.Unlock()
	delete(b.left.all, id)
}

func (b *Backend) knownLeft(id backstay.InstanceID) (left, bool) {
	b.left.mu.Lock()
	defer b.left.mu.Unlock()
	l, ok := b.left.all[id]
	return l, ok
}

// expireLeft removes the backups that are kept no longer, and all of it at the end.
func (b *Backend) expireLeft(ctx context.Context, id backstay.InstanceID, now time.Time) error {
	l, ok := b.knownLeft(id)
	if _, _, err := b.find(ctx, id); !ok || err == nil { // it has come back, and keeps them itself
		return nil
	}
	if !now.Before(l.note.Legacy.Until) {
		return b.eraseLeft(ctx, id)
	}
	list := l.note.Keeping.tell(backend.Backups{}, l.list).List
	keep := backup.Keep(list, l.note.Legacy.Policy.Days, now)
	if len(keep) == len(list) {
		return nil
	}
	part, err := b.part(id)
	if err != nil {
		return err
	}
	if err := prune(ctx, part, now, l.list, keep, l.note.Keeping.Lines, ""); err != nil {
		return err
	}
	_, err = b.lookLeft(ctx, id)
	return err
}

// eraseLeft removes all that the object store has of an instance, the note last.
func (b *Backend) eraseLeft(ctx context.Context, id backstay.InstanceID) error {
	part, err := b.part(id)
	if err != nil {
		return err
	}
	err = erase(ctx, part, b.Now(), "", func(name string) bool { return name == noteName })
	if err == nil {
		err = part.Delete(ctx, b.Now(), noteName)
	}
	if _, owed := b.owedNote(id); err == nil && owed {
		err = b.settleNote(ctx, id)
	}
	if err == nil {
		b.dropLeft(id)
	}
	return err
}

func (l left) tell() backend.Backups {
	of := l.note.Legacy
	return l.note.Keeping.tell(backend.Backups{
		Instance: of.Instance, Engine: of.Engine, Version: of.Version, Removed: of.Removed, Until: of.Until,
	}, l.list)
}

func (b *Backend) leftOf(ctx context.Context, id backstay.InstanceID) (backend.Backups, error) {
	if b.Repository == nil || checkID(id) != nil {
		return backend.Backups{}, noBackups(id)
	}
	l, err := b.lookLeft(ctx, id) // what we know may have gone a moment ago: an operator can have it forgotten
	if backstay.KindOf(err) == backstay.NotFound {
		b.dropLeft(id)
		return backend.Backups{}, noBackups(id)
	}
	if before, known := b.knownLeft(id); err != nil && known {
		return before.tell(), nil
	}
	if err != nil {
		return backend.Backups{}, err
	}
	return l.tell(), nil
}

// leftKnown returns when it is known what removed instances have left.
func (b *Backend) leftKnown(ctx context.Context) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-b.left.known:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	b.left.mu.Lock()
	defer b.left.mu.Unlock()
	if b.left.err != nil {
		return b.left.err
	}
	return backstay.Errorf(backstay.Unavailable, "The object store for backups has not been looked through yet.")
}

func (b *Backend) allLeft(ctx context.Context) (all []backend.Backups, err error) {
	if b.Repository == nil {
		return nil, nil
	}
	known := b.leftKnown
	if b.beside {
		known = b.readLeft
	}
	if err := known(ctx); err != nil {
		return nil, err
	}
	b.left.mu.Lock()
	defer b.left.mu.Unlock()
	for _, l := range b.left.all {
		all = append(all, l.tell())
	}
	return all, nil
}

// Learn takes up what lies in the object store. It says itself what it is of, unless the instance's cluster was lost
// before it was removed.
func (b *Backend) Learn(ctx context.Context, of backend.Legacy) error {
	if err := b.ready(ctx); err != nil {
		return err
	}
	if _, _, err := b.find(ctx, of.Instance); err == nil || checkID(of.Instance) != nil {
		return checkID(of.Instance)
	}
	if _, known := b.knownLeft(of.Instance); known {
		return nil
	}
	part, err := b.part(of.Instance)
	if err != nil {
		return err
	}
	n, err := b.discover(ctx, of.Instance)
	if err != nil {
		return err
	}
	if n.Key != "" && n.Key != fingerprint(of.Policy.Key) {
		return noBackups(of.Instance)
	}
	if n.Legacy.Removed.IsZero() {
		n.Legacy, n.Key = of, fingerprint(of.Policy.Key)
		if n.Legacy.Removed.IsZero() {
			n.Legacy.Removed = b.Now().UTC()
			n.Legacy.Until = n.Legacy.Removed.AddDate(0, 0, of.Policy.DaysAfter())
		}
		if err := writeNote(ctx, part, n); err != nil {
			return err
		}
	}
	_, err = b.lookLeft(ctx, of.Instance)
	return err
}

// discover finds out what lines the object store has of an instance of which nothing else is left. It is NotFound if
// there is no backup.
func (b *Backend) discover(ctx context.Context, id backstay.InstanceID) (n note, err error) {
	part, err := b.part(id)
	if err != nil {
		return n, err
	}
	n, err = readNote(ctx, part)
	if err != nil && backstay.KindOf(err) != backstay.NotFound {
		return n, err
	}
	names, err := part.Parts(ctx)
	if err != nil {
		return n, err
	}
	for _, name := range names { // whose names are in the order of time
		if !n.Keeping.has(name) {
			n.Keeping.Lines = append(n.Keeping.Lines, line{Name: name})
		}
	}
	list, err := listBackups(ctx, part, n.Keeping.Lines)
	if err == nil && len(list) == 0 {
		err = noBackups(id)
	}
	n.Keeping.Running = nil
	return n, err
}

// Forget removes all backups of an instance that is gone.
func (b *Backend) Forget(ctx context.Context, id backstay.InstanceID) error {
	_, r, err := b.find(ctx, id)
	switch {
	case err == nil && keeps(r):
		return backstay.Errorf(backstay.Invalid, "The instance %s is there: its backups go when it is gone.", id)
	case err != nil && backstay.KindOf(err) != backstay.NotFound:
		return err
	case b.Repository == nil || checkID(id) != nil:
		return nil
	}
	if _, known := b.knownLeft(id); !known {
		if _, err := b.lookLeft(ctx, id); err != nil {
			return absentIsFine(err)
		}
	}
	return b.eraseLeft(ctx, id)
}

func absentIsFine(err error) error {
	if backstay.KindOf(err) == backstay.NotFound {
		return nil
	}
	return err
}

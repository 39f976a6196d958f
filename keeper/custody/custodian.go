package custody

import (
	"context"
	"errors"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/window"
)

// Source is the instance that a custodian looks after.
type Source interface {
	// Look returns the instance as it is now, and what is closed when that changes.
	Look() (Sight, <-chan struct{})
	// Tell says why the instance, which is being removed, is still there.
	Tell(sentence string)
	// Saved records that the last backup of the instance lies in the repository.
	Saved() error
	// KeepData records that there can be no last backup: the data is to be kept in its place.
	KeepData(why string) error
}

// gone is the Source of what is there no more.
type gone struct{ Source }

func (gone) Look() (Sight, <-chan struct{}) { return Sight{Gone: true}, nil }

// Sight is what a custodian sees of an instance.
type Sight struct {
	Spec     backend.Spec // that is wanted
	Node     engine.Node  // that serves, or served last
	UID      uint32       // of its operating-system user; 0: the keeper's own
	Serves   bool
	PID      int // of its process, if there is one
	Removing bool
	OwesLast bool // it is being removed, and waits for a last backup
	Gone     bool // nothing of it is left; the rest says nothing
}

// LogValue is the sight without secrets.
func (s Sight) LogValue() slog.Value { return backstay.RedactedValue(s) }

// Custodian keeps the backups of one instance. Its methods are for any goroutine.
type Custodian struct {
	id  backstay.InstanceID
	c   *Custody
	log *slog.Logger

	work chan struct{} // holds a token while one of Backup, Archive and Expire is under way; Archive is beside Backup
	wake chan struct{} // told when there is something to do before its time

	interrupted int // how often in a row a backup was; of whoever holds the token of work

	mu       sync.Mutex // held for moments, and while the record is written
	record   Record
	stored   bool   // the record lies on disk
	lookedIn string // the identity of the repository that was asked for its backups; empty: none was
	running  bool
	waits    bool // for its turn to take a backup
	taken    int  // how many backups were begun
	owed     bool // there is a new backup, and nothing has been removed since
	source   Source
	attended bool      // Run runs
	saved    time.Time // when the record was written last
	read     time.Time // when somebody began to read from the repository
	trouble  map[task]trouble
	proving  bool   // the proof that is due is under way, or waits for its turn
	endProof func() // ends the proof that is under way, and waits for that; nil: there is none

	lastAgain time.Time // when a last backup that has failed is tried again; Run's alone
	unable    time.Time // since when the machine lacks what a last backup takes; Run's alone

	beside sync.WaitGroup // what Run has begun and does not wait for
}

func newCustodian(c *Custody, r Record) *Custodian {
	k := &Custodian{
		id: r.Kept.Instance, c: c, log: c.Log.With("instance", r.Kept.Instance), record: r, stored: r.Kept.Engine != "",
		work: make(chan struct{}, 1), wake: make(chan struct{}, 1), trouble: recall(r.Kept.Troubles),
		source: gone{},
	}
	return k
}

// How often what is due is looked for, and how often the log of an instance that serves is archived.
const (
	archiveEvery = 5 * time.Second
	archiveAge   = 45 * time.Second // of what is logged: nothing is more than a minute behind
	saveEvery    = time.Minute      // the record, where only the end of the archive has changed
	restEvery    = time.Minute
)

// run keeps the backups until ctx ends, or until the instance is gone and none of them is kept any more.
func (k *Custodian) run(ctx context.Context) {
	defer k.beside.Wait()
	for ctx.Err() == nil {
		k.mu.Lock()
		source := k.source
		k.mu.Unlock()
		sight, changed := source.Look()
		pause, done := k.turn(ctx, source, sight)
		if done && k.c.leave(k) {
			return
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-changed:
		case <-k.wake:
		}
		timer.Stop()
	}
}

func (k *Custodian) sight() Sight {
	k.mu.Lock()
	source := k.source
	k.mu.Unlock()
	sight, _ := source.Look()
	return sight
}

// turn does what is due, and returns how long nothing else is.
func (k *Custodian) turn(ctx context.Context, source Source, s Sight) (pause time.Duration, done bool) {
	if s.Gone || s.Removing {
		k.leaveProof()
	}
	if s.Gone {
		return restEvery, k.outlive(ctx)
	}
	if err := k.follow(s); err != nil {
		k.log.Error("the record of backups cannot be written", "error", err)
		return archiveEvery, false
	}
	switch {
	case !k.hasPolicy():
		return restEvery, false
	case s.Removing:
		return k.partWith(ctx, source, s), false
	case !s.Serves:
		return restEvery, false
	}
	k.serve(ctx, s)
	return archiveEvery, false
}

// serve does what is due for an instance that serves.
func (k *Custodian) serve(ctx context.Context, s Sight) {
	if k.mayTry(toArchive) {
		k.archive(ctx, archiveAge) // the failure is told as trouble
	}
	if asked := k.asked(s.Spec.Backups); (asked || k.backUpDue(s) && k.mayTry(toBackUp)) && k.hasTurn() {
		why := nightly
		if asked {
			why = waited
		}
		_, err := k.backUpNow(ctx, s.Node, why)
		k.c.endTurn()
		if err == nil || ctx.Err() == nil && !errors.Is(err, errInterrupted) {
			k.answer(s.Spec.Backups)
		}
	}
	if k.mayTry(toExpire) {
		k.expire(ctx, s.Node)
	}
	if k.proofDue() {
		k.proveBeside(ctx)
	}
}

// backUpDue tells whether a backup is to be taken that nobody has asked for: it is time, the last one has failed, or
// only another one makes up for damage.
func (k *Custodian) backUpDue(s Sight) bool {
	return k.due() || k.isOther(s.Node) || k.failures(toBackUp) > 0 || k.lacks()
}

func (k *Custodian) lacks() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	lost := slices.Concat(k.record.Lost, k.record.Kept.Gaps)
	return k.record.isDisproved() || backup.Lacks(k.record.Kept.List, lost, k.c.Now())
}

// follow makes the record what the instance is by now.
func (k *Custodian) follow(s Sight) error {
	if s.Spec.Backup == nil {
		return nil
	}
	return k.amend(func(r *Record) {
		if r.Policy.Key != "" && r.Policy.Key != s.Spec.Backup.Key { // the id was given to another instance
			*r = Record{Kept: backend.Backups{Instance: k.id}, Replaced: r.Policy.Key}
			k.lookedIn = ""
		}
		r.Kept.Engine, r.Kept.Version, r.Policy, r.UID = s.Spec.Engine, s.Spec.Version, *s.Spec.Backup, s.UID
		if s.Node.Installation.Product != "" {
			r.Installation = s.Node.Installation
		}
		r.Leaving, r.Kept.Removed, r.Kept.Until = s.Removing, time.Time{}, time.Time{}
		r.Parted = r.Parted && (s.Removing || !s.Serves)
	})
}

// amend changes the record on disk, then in memory, unless it stays as it is.
func (k *Custodian) amend(change func(*Record)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.amendLocked(change)
}

// amendLocked is amend where k.mu is held.
func (k *Custodian) amendLocked(change func(*Record)) error {
	r := k.record
	r.Kept.List, r.Kept.Gaps, r.Lost = slices.Clone(r.Kept.List), slices.Clone(r.Kept.Gaps), slices.Clone(r.Lost)
	change(&r)
	if k.stored && same(r, k.record) {
		return nil
	}
	if err := k.c.save(r); err != nil {
		return err
	}
	k.record, k.stored, k.saved = r, true, k.c.Now()
	return nil
}

// Backups tells what is kept. any is false where nothing is, and no backups are to be taken.
func (k *Custodian) Backups() (kept backend.Backups, any bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	kept = k.record.Kept
	kept.List, kept.Gaps = append([]backstay.Backup{}, kept.List...), slices.Concat(kept.Gaps, k.record.Lost)
	kept.Earliest, kept.Latest = backup.Range(kept.List, kept.Gaps, k.record.Archived)
	kept.Running, kept.Failed = k.running, k.trouble[toBackUp].sentence
	kept.Troubles = k.troubles()
	return kept, k.record.Policy.Key != ""
}

func (k *Custodian) key() backstay.Secret {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.record.Policy.Key
}

func (k *Custodian) hasPolicy() bool { return k.key() != "" }

// reads notes that somebody is about to read from the repository.
func (k *Custodian) reads() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.read = k.c.Now()
}

// asked tells whether a backup is wanted that was not answered.
func (k *Custodian) asked(count int64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return count > k.record.Kept.Asked
}

// answer notes that the backups that were asked for so far were taken, or could not be.
func (k *Custodian) answer(count int64) {
	if err := k.amend(func(r *Record) { r.Kept.Asked = max(r.Kept.Asked, count) }); err != nil {
		k.log.Error("the record of backups cannot be written", "error", err)
	}
}

// due tells whether the policy asks for a backup now.
func (k *Custodian) due() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	w, err := window.ParseDaily(k.record.Policy.Window)
	if err != nil { // it was refused, unless it is of another version: any time will do
		w = window.Daily{Length: 24 * time.Hour}
	}
	now := k.c.Now()
	due, _ := backup.Due(backup.Last(k.record.Kept.List, now), w, chance(k.id), now)
	return due
}

// hasParted tells whether the instance needs no last backup any more. One whose removal was asked for again, because
// its own record was gone before whoever asked knew of it, has no data that could be served for another.
func (k *Custodian) hasParted() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.record.Parted
}

// isOther tells whether the node has other data than those that the last backup is of, as after an upgrade or a return
// to a restore point, or may have them, because the record was lost: what is archived since then can be restored only
// behind a backup of its own.
func (k *Custodian) isOther(n engine.Node) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.record.Kept.List) > 0 && k.record.Of != filepath.Base(n.DataDir)
}

// chance spreads what instances do over the time in which it may be done.
func chance(id backstay.InstanceID) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	return h.Sum64()
}

// Removed notes that nothing is left of the instance, also of one whose removal nobody has asked for. Its backups are
// kept for a while: for as long as was wanted last, which the custodian may not have come to see; nil: it has. Of what
// is not done any more no trouble is left: nobody would ever see its end.
func (k *Custodian) Removed(wanted *backend.BackupPolicy) error {
	if !k.hasPolicy() {
		return nil
	}
	now := k.c.Now().UTC()
	return k.amend(func(r *Record) {
		maps.DeleteFunc(k.trouble, func(t task, _ trouble) bool { return t != toExpire })
		r.Kept.Troubles = k.troubles()
		unseen := wanted != nil && wanted.Key == r.Policy.Key
		if unseen {
			r.Policy = *wanted
		}
		if r.Kept.Removed.IsZero() {
			r.Kept.Removed = now
		} else if !unseen {
			return
		}
		r.Kept.Until = r.Kept.Removed.AddDate(0, 0, r.Policy.DaysAfter())
	})
}

func (k *Custodian) poke() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// drop removes the record, last of all.
func (k *Custodian) drop() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := atomicfile.Remove(k.c.path(k.id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	k.record, k.stored = Record{Kept: backend.Backups{Instance: k.id}}, false
	return nil
}

package kubernetes

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/window"
)

const (
	markEvery  = 50 * time.Second // that the end of what can be restored moves on, of an instance that is written to
	pruneEvery = time.Hour
	// late is how long a piece of the log may take into the object store.
	late = 45 * time.Second
	// The pause behind a backup that failed; it doubles with each.
	firstPause, longestPause = 10 * time.Second, 30 * time.Minute
	expiryPause              = time.Minute // behind one that could not be removed
)

// Kinds of troubles, as all backends have them.
const (
	archiveTrouble = "archive"
	backupTrouble  = "backup"
	expiryTrouble  = "expiry"
)

// custody is what the custodian of an instance's backups knows besides the record.
type custody struct {
	mu       sync.Mutex
	list     []stored // all backups in the object store, the oldest first
	listed   bool     // list was read
	troubles map[string]string

	// Of who holds work: the custodian, or who ends the instance.
	work     sync.Mutex
	marking  engine.LogMark // that is not known to be in the archive yet
	marked   time.Time      // when it was made
	on       string         // the line that it is of
	cleaned  bool           // nothing of an earlier instance of that id is left
	pruned   time.Time
	wanted   time.Time // since when a backup is to be begun, and nothing was archived yet
	failures int
	retry    time.Time
}

func (c *custody) tell(kind string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		delete(c.troubles, kind)
		return
	}
	if c.troubles == nil {
		c.troubles = map[string]string{}
	}
	c.troubles[kind] = sentenceFor(err)
}

// sentenceFor is what a user may read of err.
func sentenceFor(err error) string {
	if backstay.KindOf(err) == backstay.Internal {
		return "The reason is in the operator's log."
	}
	return backstay.SentenceOf(err)
}

// words are what stands before each trouble, in the order in which users read them.
var words = []struct{ kind, words string }{
	{backupTrouble, "The last backup has failed: "}, {archiveTrouble, "The archive is behind: "},
	{expiryTrouble, "Old backups could not be removed: "},
}

// look is what is kept, as far as it is known.
func (c *custody) look() (list []stored, troubles []backstay.Trouble, listed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range words {
		if sentence, ok := c.troubles[w.kind]; ok {
			troubles = append(troubles, backstay.Trouble{Kind: w.kind, Sentence: w.words + sentence})
		}
	}
	return slices.Clone(c.list), troubles, c.listed
}

// attend keeps an instance's backups until it is gone, or ctx ends. While it is being removed, that is dismantle's.
func (in *instance) attend(ctx context.Context) {
	if r, known := in.known(); known && len(r.Keeping.Lines) > 0 { // what a proof has left that was interrupted
		in.proving.Lock()
		if err := in.b.removeProof(ctx, in.id); err != nil && ctx.Err() == nil {
			in.b.Log.Warn("what a proof has left cannot be removed", "instance", in.id, "error", err)
		}
		in.proving.Unlock()
	}
	for ctx.Err() == nil {
		r, known := in.known()
		if !known {
			return
		}
		pause := calm
		switch {
		case r.Removing:
		case r.Keeping.Lost:
			pause = in.lookForKept(ctx, r)
		case keeps(r) && r.Reached != nil && r.settled() && !r.rising():
			pause = in.round(ctx, r)
		}
		select {
		case <-ctx.Done():
		case <-in.poked:
		case <-time.After(pause):
		}
	}
}

// poke has the custodian look again.
func (in *instance) poke() {
	select {
	case in.poked <- struct{}{}:
	default:
	}
}

// keeps tells whether an instance is backed up.
func keeps(r record) bool { return r.Spec.Backup != nil }

// round does what is to be done now.
func (in *instance) round(ctx context.Context, r record) (pause time.Duration) {
	in.custody.work.Lock()
	defer in.custody.work.Unlock()
	if _, _, listed := in.custody.look(); !listed {
		if err := in.relist(ctx, r); err != nil {
			in.custody.tell(archiveTrouble, err)
			return calm
		}
	}
	in.bringOn(ctx, r)
	pause = calm
	if in.custody.marking.Piece != "" || !in.custody.wanted.IsZero() {
		pause = time.Second
	}
	if r, known := in.known(); known && in.wantsBackup(r) && in.ready(r) {
		in.backUp(ctx, r)
		pause = time.Second
	}
	if now := in.b.Now(); now.Sub(in.custody.pruned).Abs() >= pruneEvery {
		in.tidy(ctx, now)
	}
	return pause
}

// relist reads what the object store has.
func (in *instance) relist(ctx context.Context, r record) error {
	part, err := in.b.part(in.id)
	if err != nil {
		return err
	}
	list, err := listBackups(ctx, part, r.Keeping.Lines)
	if err != nil {
		return err
	}
	in.custody.mu.Lock()
	defer in.custody.mu.Unlock()
	in.custody.list, in.custody.listed = list, true
	return nil
}

// bringOn moves on until when can be restored, and tells of an archive that is behind.
func (in *instance) bringOn(ctx context.Context, r record) {
	c := &in.custody
	if c.marking.Piece == "" && in.b.Now().Sub(c.marked).Abs() >= markEvery {
		if st, _, _ := in.look(); st.Phase == backend.Running {
			m, err := in.markLog(ctx, r, r.Keeping.current().Mark)
			if err == nil {
				c.marking, c.marked, c.on = m, in.b.Now(), r.Keeping.current().Name
			} else {
				in.b.Log.Warn("the log of an instance cannot be marked", "instance", in.id, "error", err)
			}
		}
	}
	behind := in.behind(r)
	if c.marking.Piece != "" {
		arrived, err := in.arrived(ctx, r)
		switch {
		case err != nil:
			behind = err
		case !arrived && behind == nil && in.b.Now().Sub(c.marked) > late:
			behind = errBehind
		}
	}
	c.tell(archiveTrouble, behind)
}

var errBehind = backstay.Errorf(backstay.Unavailable,
	"The object store has not been given what was logged last. It is kept with the data until then.")

// behind is what the operator says of the archive; nil: it goes on, or has not begun.
func (in *instance) behind(r record) error {
	o := named(in.b.views[clusters].of(nameOf(in.id)), nameOf(in.id))
	if o == nil {
		return nil
	}
	for _, c := range mapsOf(o, "status", "conditions") {
		if c["type"] == "ContinuousArchiving" && c["status"] == "False" {
			return errBehind
		}
	}
	return nil
}

// markLog makes a mark in the log. Last is the one before; a zero one has another one be made in any case.
func (in *instance) markLog(ctx context.Context, r record, last engine.LogMark) (engine.LogMark, error) {
	w, err := in.b.wishFor(r, r.standing())
	if err != nil {
		return last, err
	}
	archiver, ok := in.b.Engines[r.Spec.Engine].(engine.HostedArchiver)
	if !ok {
		return last, backstay.Errorf(backstay.Unsupported, "Instances of the engine %s cannot be backed up here.",
			r.Spec.Engine)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*answerLimit)
	defer cancel()
	n, _ := in.into(r, w)
	return archiver.MarkLog(ctx, n, last)
}

// arrived tells whether the mark lies in the archive, and notes that it does.
func (in *instance) arrived(ctx context.Context, r record) (bool, error) {
	c := &in.custody
	if r.Keeping.current().Name != c.on { // another history has begun meanwhile
		c.marking = engine.LogMark{}
		return true, nil
	}
	if noted := r.Keeping.current().Mark; noted.Piece != c.marking.Piece {
		part, err := in.b.part(in.id)
		if err != nil {
			return false, err
		}
		if arrived, err := has(ctx, part, r.Keeping.current().Name, c.marking.Piece); err != nil || !arrived {
			return false, err
		}
	}
	mark, on := c.marking, c.on
	_, err := in.amend(ctx, func(r record) record {
		now := r.Keeping.current()
		if now.Name == on && !mark.At.Before(now.Mark.At) && !mark.Seen.Before(now.Mark.Seen) {
			r.Keeping = r.Keeping.marked(mark)
		}
		return r
	})
	if err == nil {
		c.marking = engine.LogMark{}
	}
	return err == nil, err
}

// wantsBackup tells whether a backup is under way, or is to be taken now.
func (in *instance) wantsBackup(r record) bool {
	now := in.b.Now()
	switch {
	case r.Keeping.Running != nil:
		return true
	case now.Before(in.custody.retry):
		return false
	case r.Spec.Backups > r.Keeping.Asked:
		return true
	}
	list, _, _ := in.custody.look()
	w, err := window.ParseDaily(r.Spec.Backup.Window)
	if err != nil {
		return false
	}
	due, _ := backup.Due(backup.Last(inLine(list, r.Keeping.current().Name), now), w, chanceOf(in.id), now)
	return due
}

// ready tells whether a backup can be begun: the operator takes none before it has archived something. It is begun
// nevertheless once that takes too long, so that whoever waits for it is told.
func (in *instance) ready(r record) bool {
	c := &in.custody
	o := named(in.b.views[clusters].of(nameOf(in.id)), nameOf(in.id))
	if r.Keeping.Running != nil || o != nil && hasCondition(o, "ContinuousArchiving") {
		c.wanted = time.Time{}
		return true
	}
	if c.wanted.IsZero() {
		c.wanted = in.b.Now()
	}
	return in.b.Now().Sub(c.wanted) > archivePatience
}

// inLine are the backups of a line, as the contract has them. Another line begins with a backup of its own.
func inLine(list []stored, line string) (its []backstay.Backup) {
	for _, s := range list {
		if s.Line == line {
			its = append(its, s.Backup)
		}
	}
	return its
}

// chanceOf decides at which moment of its window an instance is backed up.
func chanceOf(id backstay.InstanceID) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	return h.Sum64()
}

// backUp brings on the backup that is under way, or begins one, and notes how it has ended.
func (in *instance) backUp(ctx context.Context, r record) {
	c := &in.custody
	ended, err := in.take(ctx, r, false)
	switch {
	case !ended && err != nil:
		in.b.Log.Warn("a backup cannot be begun", "instance", in.id, "error", err)
	case err != nil:
		c.failures++
		c.retry = in.b.Now().Add(min(firstPause<<min(c.failures-1, 20), longestPause))
		c.tell(backupTrouble, err)
		in.b.Log.Warn("a backup has failed", "instance", in.id, "error", err)
	case ended:
		c.failures, c.retry = 0, time.Time{}
		c.tell(backupTrouble, nil)
		c.pruned, c.marked = time.Time{}, time.Time{}
	}
}

// take begins a backup, or looks for the one that is under way. Once it has ended, the error is why it has failed.
func (in *instance) take(ctx context.Context, r record, final bool) (ended bool, err error) {
	if r.Keeping.Running == nil {
		r, err = in.amend(ctx, func(r record) record {
			r.Keeping.Begun++
			r.Keeping.Running = &attempt{
				Name: fmt.Sprintf("%s-b%d", nameOf(in.id), r.Keeping.Begun), Line: r.Keeping.current().Name,
				Asked: r.Spec.Backups, Final: final, Began: in.b.Now().UTC(),
			}
			return r
		})
		if err != nil {
			return false, err
		}
	}
	is := *r.Keeping.Running
	if is.Line != "" && is.Line != r.Keeping.current().Name {
		return false, in.abandon(ctx, is)
	}
	o, err := in.b.get(ctx, backups, is.Name)
	if err != nil {
		return false, err
	}
	if o == nil {
		return false, in.b.apply(ctx, backupObject(in.b.Namespace, is.Name, in.id), false)
	}
	age := in.b.Now().Sub(is.Began)
	switch phase := text(o, "status", "phase"); {
	case phase == "completed":
		if err := in.relist(ctx, r); err != nil {
			return false, err
		}
		err := in.settle(ctx, is, text(o, "status", "backupId"), "")
		return err == nil, err
	case phase == "failed" || age > longestBackup || phase == "walArchivingFailing" && age > archivePatience:
		in.b.Log.Warn("the operator has not taken a backup", "instance", in.id, "phase", phase,
			"error", text(o, "status", "error"))
		if err := in.settle(ctx, is, "", backstay.SentenceOf(errNotTaken)); err != nil {
			return false, err
		}
		return true, errNotTaken
	}
	return false, nil
}

// abandon ends a backup whose Cluster is gone: the data began anew meanwhile. Who has asked for it gets one of what is
// there now. By itself the operator looks at such a backup ten minutes later only, and nothing else could begin until
// then.
func (in *instance) abandon(ctx context.Context, is attempt) error {
	if err := in.b.remove(ctx, backups, is.Name); err != nil {
		return err
	}
	_, err := in.amend(ctx, func(r record) record {
		r.Keeping.Running = nil
		return r
	})
	return err
}

const (
	longestBackup   = 24 * time.Hour
	archivePatience = time.Minute // that a backup has with an archive that is behind
)

var errNotTaken = backstay.Errorf(backstay.Unavailable,
	"The object store does not take it, or the database has started again meanwhile.")

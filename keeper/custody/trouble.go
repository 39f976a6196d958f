package custody

import (
	"context"
	"strings"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/keeper/instance"
)

// task is what a custodian does for an instance. Its name is the kind of the trouble that there is with it.
type task string

const (
	toArchive task = "archive"
	toBackUp  task = "backup"
	toExpire  task = "expiry"
	toProve   task = "proof"
)

// tasks are all of them, in the order in which users read of their troubles, with the words for that.
var tasks = []struct {
	task  task
	words string
}{
	{toBackUp, "The last backup has failed: "}, {toArchive, "The archive is behind: "},
	{toProve, "The newest backup could not be restored for a proof: "}, {toExpire, "Old backups could not be removed: "},
}

// trouble is that a task has failed, once or several times in a row.
type trouble struct {
	failures int
	err      error // the last one
	sentence string
	retry    time.Time // not before
}

// The pause behind a failure: it doubles with each, and is never shorter than what has failed took. The archive is
// small, and tells that a repository is back.
const (
	firstPause      = 5 * time.Second
	longestPause    = 30 * time.Minute
	longestOfTheLog = time.Minute
)

func pauseAfter(t task, failures int, took time.Duration) time.Duration {
	longest := longestPause
	if t == toArchive {
		longest = longestOfTheLog
	}
	return max(min(firstPause<<min(failures-1, 20), longest), took)
}

// mayTry tells whether a task has not failed a moment ago.
func (k *Custodian) mayTry(t task) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.c.Now().Before(k.trouble[t].retry)
}

// note remembers how a task has ended. An archive that goes on says that the repository is back: what has failed is
// tried again.
func (k *Custodian) note(ctx context.Context, t task, took time.Duration, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.noteEnd(ctx, t, took, err)
	if !k.stored {
		return
	}
	if err := k.amendLocked(func(r *Record) { r.Kept.Troubles = k.troubles() }); err != nil {
		k.log.Error("the record of backups cannot be written", "error", err)
	}
}

// noteEnd is note in memory only. k.mu is held.
func (k *Custodian) noteEnd(ctx context.Context, t task, took time.Duration, err error) {
	before := k.trouble[t]
	switch {
	case err == nil:
		delete(k.trouble, t)
		if t == toArchive && before.failures > 0 {
			for other, of := range k.trouble {
				of.retry = time.Time{}
				k.trouble[other] = of
			}
		}
	case ctx.Err() == nil:
		of := trouble{failures: before.failures + 1, err: err, sentence: sentence(err)}
		of.retry = k.c.Now().Add(pauseAfter(t, of.failures, took))
		k.trouble[t] = of
		if of.sentence != before.sentence {
			k.log.Warn("backups are not as they are to be", "at", string(t), "error", err)
		}
	}
}

// troubles is all that users are to know. k.mu is held.
func (k *Custodian) troubles() (all []backstay.Trouble) {
	if damage := damageOf(k.record); damage != "" {
		said := "Damage was found in the repository. " + damage
		all = append(all, backstay.Trouble{Kind: backend.DamageTrouble, Sentence: said})
	}
	for _, t := range tasks {
		if of, ok := k.trouble[t.task]; ok {
			all = append(all, backstay.Trouble{Kind: string(t.task), Sentence: t.words + of.sentence})
		}
	}
	return all
}

// recall takes up the troubles that an earlier keeper has had. What has failed is tried again at once.
func recall(noted []backstay.Trouble) map[task]trouble {
	all := map[task]trouble{}
	for _, t := range tasks {
		for _, of := range noted {
			if of.Kind == string(t.task) {
				said := strings.TrimPrefix(of.Sentence, t.words)
				all[t.task] = trouble{failures: 1, err: backstay.Errorf(backstay.Unavailable, "%s", said), sentence: said}
			}
		}
	}
	return all
}

// sentence is what a user may read of err.
func sentence(err error) string {
	if backstay.KindOf(err) == backstay.Internal {
		return "The reason is in the operator's log."
	}
	return instance.WithoutPaths(backstay.SentenceOf(err))
}

func (k *Custodian) failures(t task) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.trouble[t].failures
}

// failureOf is how a task has failed last; nil: it has not.
func (k *Custodian) failureOf(t task) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.trouble[t].err
}

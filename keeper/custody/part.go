package custody

import (
	"context"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// lastPause is how long after a last backup that has failed the next one is tried, at the most: somebody waits for it.
const lastPause = 5 * time.Second

// partWith sees to the last backup of an instance that is being removed.
func (k *Custodian) partWith(ctx context.Context, source Source, s Sight) (pause time.Duration) {
	if !s.OwesLast {
		return restEvery
	}
	if !s.Serves && !k.hasParted() {
		source.Tell("A last backup is taken as soon as the engine serves.")
		return restEvery
	}
	if pause := k.lastAgain.Sub(k.c.Now()); pause > 0 { // what was told of the failure has woken us
		return pause
	}
	if k.lastAgain.IsZero() { // what has failed is told until it is mended, also while it is tried again
		source.Tell("A last backup is being taken.")
	}
	err := k.last(ctx, s.Node)
	switch {
	case ctx.Err() != nil:
	case err == nil:
		err = source.Saved()
	case backstay.KindOf(err) == backstay.Unsupported, k.isUnable(s.Node):
		err = source.KeepData(sentence(err))
	default:
		source.Tell("The last backup, without which the instance is not removed, could not be taken: " + sentence(err) +
			" It is tried again. The operator can remove the instance without it.")
	}
	if err != nil {
		k.lastAgain = k.c.Now().Add(lastPause)
		return lastPause
	}
	return restEvery
}

// unableFor is how long the machine may lack what a last backup takes, as while a package is replaced, until nothing is
// waited for any more.
const unableFor = time.Minute

// isUnable reports whether that is over. An instance that was backed up may have gone to a version that is not: of it
// nobody would ever see the end.
func (k *Custodian) isUnable(n engine.Node) bool {
	if a := k.archiver(); a == nil || a.RestorePoints(n.Installation) != backstay.NoRestorePoints {
		k.unable = time.Time{}
		return false
	}
	now := k.c.Now()
	if k.unable.IsZero() {
		k.unable = now
	}
	return now.Sub(k.unable) >= unableFor
}

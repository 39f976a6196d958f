package mysql

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/repository"
)

// When another node takes over, it has in a binary log of its own all that was committed before, under the same global
// ids. So its series succeeds that of the primary before: it goes on behind the last transaction that the archive has,
// and the head of the former says where. Nothing is lost between the two, and no new backup is needed.

// succession is a series that another one continues.
type succession struct {
	Former string `json:"former"`
	Place  place  `json:"place"`
}

// succeed begins a series that continues the newest one, if the files of the log can tell where.
func (f *follower) succeed(ctx context.Context, numbers []int) (done bool, err error) {
	if f.node.Replication == nil {
		return false, nil
	}
	former, h, err := newestSeries(ctx, f.store)
	if err != nil || former == "" {
		return false, err
	}
	last, err := lastOf(ctx, f.store, former, h)
	if err != nil || last.sequence == 0 {
		return false, err
	}
	at, err := f.find(numbers, last)
	if err != nil || at.Number == 0 {
		return false, err
	}
	at.Series = newSeries(time.Now())
	f.followed = followed{Series: at.Series, Next: at.Number, Boot: f.Boot, After: &succession{former, at}}
	if err := f.save(); err != nil {
		return false, err
	}
	return true, f.link(ctx)
}

// link writes into the head of the former series where the history goes on, and begins the new one. Until it has,
// nothing is put into that.
func (f *follower) link(ctx context.Context) error {
	if f.After == nil {
		return nil
	}
	h, err := readHead(ctx, f.store, f.After.Former)
	if err != nil {
		return err
	}
	if err := putHead(ctx, f.store, f.Series, head{Last: f.Next - 1, Until: h.Until}); err != nil {
		return err
	}
	h.Ended, h.Next = true, &f.After.Place
	if err := putHead(ctx, f.store, f.After.Former, h); err != nil {
		return err
	}
	f.After = nil
	return f.save()
}

// newestSeries is the one that reaches the farthest of those that nobody has ended; none is empty.
func newestSeries(ctx context.Context, store *repository.Store) (newest string, h head, err error) {
	err = eachHead(ctx, store, func(series string, of head) {
		if !of.Ended && (newest == "" || of.Until.After(h.Until)) {
			newest, h = series, of
		}
	})
	return newest, h, err
}

// reached is until when the archive reaches.
func reached(ctx context.Context, store *repository.Store) (until time.Time, err error) {
	err = eachHead(ctx, store, func(_ string, h head) { until = later(until, h.Until) })
	return until, err
}

// eachHead leaves out heads that cannot be read.
func eachHead(ctx context.Context, store *repository.Store, do func(series string, h head)) error {
	entries, err := store.List(ctx, archivePrefix)
	for _, e := range entries {
		series, object := seriesIn(e.Name)
		if object != "head" {
			continue
		}
		h, err := readHead(ctx, store, series)
		switch backstay.KindOf(err) {
		case backstay.Invalid, backstay.NotFound:
		default:
			if err != nil {
				return err
			}
			do(series, h)
		}
	}
	return err
}

// lastOf returns the last transaction in a series; zero if there is none, or what comes behind it cannot be read.
func lastOf(ctx context.Context, store *repository.Store, series string, h head) (last gtid, err error) {
	for number, sound := h.Last, true; sound && err == nil && last.sequence == 0; number-- {
		last, sound, err = lastIn(ctx, store, pieceOf(series, number))
	}
	return last, err
}

// lastIn returns the last transaction in a piece, and whether that can be read whole.
func lastIn(ctx context.Context, store *repository.Store, name string) (last gtid, sound bool, err error) {
	content, err := store.Get(ctx, name)
	if err == nil {
		defer content.Close()
		_, err = readLog(content, func(g group) bool {
			last = g.gtid
			return true
		})
	}
	if err == nil {
		_, err = io.Copy(io.Discard, content)
	}
	switch kind := backstay.KindOf(err); {
	case err == nil:
		return last, true, nil
	case errors.Is(err, errTorn), kind == backstay.NotFound, kind == backstay.Invalid:
		return gtid{}, false, nil
	}
	return gtid{}, false, err
}

// find returns where in the node's log the transaction ends, or where the next one begins with which the log does; its
// number is 0 where there is neither.
func (f *follower) find(numbers []int, last gtid) (at place, err error) {
	first := true
	for _, number := range numbers {
		_, err := readBinlog(f.dir, number, func(g group) bool {
			switch {
			case g.gtid == last:
				at.Number, at.Position = number, g.to
			case first && g.gtid.sequence == last.sequence+1:
				at.Number, at.Position = number, g.from
			}
			first = false
			return at.Number == 0 && g.gtid.sequence <= last.sequence
		})
		if at.Number != 0 {
			return at, nil
		}
		if err != nil && !errors.Is(err, errTorn) {
			return at, err
		}
	}
	return at, nil
}

// withSuccessors returns backups, and each of them once more for each series that continues its own. Known tells
// whether all heads could be read.
func withSuccessors(
	ctx context.Context, store *repository.Store, backups []manifest,
) (all []manifest, known bool, err error) {
	known = true
	for _, m := range backups {
		all = append(all, m)
		for m.Log != nil {
			h, err := readHead(ctx, store, m.Log.Series)
			switch kind := backstay.KindOf(err); {
			case kind == backstay.Invalid:
				known = false
			case err != nil && kind != backstay.NotFound:
				return nil, false, err
			}
			if m.Log = h.Next; m.Log != nil {
				all = append(all, m)
			}
		}
	}
	return all, known, nil
}

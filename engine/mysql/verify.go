package mysql

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/repository"
)

// Verify reads all backups whole, and the pieces of the archive that continue them.
func (Engine) Verify(ctx context.Context, n engine.Node, r backstay.Repository) (f engine.Findings, err error) {
	store, err := openStore(n.Installation, r)
	if err != nil {
		return f, err
	}
	ids, err := listManifests(ctx, store)
	if err != nil {
		return f, err
	}
	f.Backups = map[string]string{}
	var backups []manifest
	for _, id := range ids {
		m, err := readManifest(ctx, store, id)
		if err == nil {
			backups = append(backups, m)
			err = readBack(ctx, store, streamOf(id))
		}
		switch kind := backstay.KindOf(err); {
		case err == nil:
			f.Backups[id] = ""
		case kind == backstay.Invalid:
			f.Backups[id] = backstay.SentenceOf(err)
		case kind != backstay.NotFound: // which is that it is being removed
			return f, err
		}
	}
	if backups, _, err = withSuccessors(ctx, store, backups); err != nil {
		return f, err
	}
	continued := map[string][]manifest{} // by the series
	for _, m := range backups {
		if m.Log != nil {
			continued[m.Log.Series] = append(continued[m.Log.Series], m)
		}
	}
	for _, series := range slices.Sorted(maps.Keys(continued)) {
		lost, err := lostOf(ctx, store, series, continued[series])
		if err != nil {
			return f, err
		}
		f.Lost = append(f.Lost, lost...)
	}
	return f, nil
}

// piece is what Verify knows of a piece of a series.
type piece struct {
	sound       bool
	first, last time.Time // the seconds in which the first and the last group in it were committed; zero: there is none
}

// lostOf returns what backups cannot be brought to because pieces of their series are damaged or gone.
func lostOf(
	ctx context.Context, store *repository.Store, series string, backups []manifest,
) (lost []backstay.Gap, err error) {
	slices.SortFunc(backups, func(a, b manifest) int {
		return cmp.Or(cmp.Compare(a.Log.Number, b.Log.Number), a.Ended.Compare(b.Ended))
	})
	now := time.Now().UTC()
	h, err := readHead(ctx, store, series)
	if kind := backstay.KindOf(err); kind == backstay.NotFound || kind == backstay.Invalid {
		g, _ := engine.Loss(time.Time{}, now, plain(backups), nil)
		return []backstay.Gap{g}, nil
	}
	if err != nil {
		return nil, err
	}
	first := backups[0].Log.Number
	pieces := make([]piece, max(h.Last-first+1, 0))
	for i := range pieces {
		if pieces[i], err = readPiece(ctx, store, pieceOf(series, first+i)); err != nil {
			return nil, err
		}
	}
	for begin, end := 0, 0; begin < len(pieces); begin = end + 1 {
		if end = begin; pieces[begin].sound {
			continue
		}
		for end+1 < len(pieces) && !pieces[end+1].sound {
			end++
		}
		spared := slices.IndexFunc(backups, func(m manifest) bool { return m.Log.Number > first+end })
		if spared < 0 {
			spared = len(backups)
		}
		from, until := around(pieces[:begin], pieces[end+1:], now)
		if g, any := engine.Loss(from, until, plain(backups[:spared]), plain(backups[spared:])); any {
			lost = append(lost, g)
		}
	}
	return lost, nil
}

// around returns the last second that is reached with the pieces before those that are lost, and the first one in the
// pieces behind them, or now.
func around(before, after []piece, now time.Time) (from, until time.Time) {
	for _, p := range slices.Backward(before) {
		if !p.sound {
			break
		}
		from = later(from, p.last)
	}
	for _, p := range after {
		if !p.sound {
			break
		}
		if !p.first.IsZero() {
			return from, p.first
		}
	}
	return from, now
}

func plain(backups []manifest) (all []backstay.Backup) {
	for _, m := range backups {
		all = append(all, m.Backup)
	}
	return all
}

// readPiece reads a piece whole. One that is damaged, gone, or no log is not sound.
func readPiece(ctx context.Context, store *repository.Store, name string) (p piece, err error) {
	content, err := store.Get(ctx, name)
	if kind := backstay.KindOf(err); kind == backstay.NotFound || kind == backstay.Invalid {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	defer content.Close()
	file, err := readLog(content, func(g group) bool {
		if p.first.IsZero() {
			p.first = g.began
		}
		p.last = later(p.last, g.began)
		return true
	})
	if errors.Is(err, errTorn) && file.isCut() { // its server was killed in the middle of the rest
		err = nil
	}
	if err == nil {
		_, err = io.Copy(io.Discard, content)
	}
	switch {
	case err == nil:
		p.sound = true
	case !errors.Is(err, errTorn) && backstay.KindOf(err) != backstay.Invalid:
		return p, err
	}
	return p, nil
}

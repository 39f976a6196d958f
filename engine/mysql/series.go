package mysql

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/repository"
)

// The archive consists of series. A series is a run of files of one binary log, without a gap, and each file is an
// object: its piece. What comes behind a gap, and what another data directory logs, is another series. A backup is
// continued by the pieces of its own series alone.

const archivePrefix = "log/"

// head is the object of a series that says how far it reaches, so that a piece that is gone is missed.
type head struct {
	Last  int       `json:"last"`  // the number of its last piece
	Until time.Time `json:"until"` // what was committed before is in it
	Ended bool      `json:"ended"` // what follows is in no series, or in another one
	// Next is where in that other one: nil if there is a gap between the two.
	Next *place `json:"next,omitempty"`
}

// place is a position in the archive.
type place struct {
	Series   string `json:"series"`
	Number   int    `json:"number"` // of a file of the binary log
	Position int64  `json:"position"`
}

func seriesPrefix(series string) string { return archivePrefix + series + "/" }
func headOf(series string) string       { return seriesPrefix(series) + "head" }
func pieceOf(series string, number int) string {
	return fmt.Sprintf("%s%09d", seriesPrefix(series), number)
}
func newSeries(now time.Time) string {
	return now.UTC().Format(engine.BackupIDLayout) + "-" + rand.Text()[:8]
}
func seriesIn(name string) (series, object string) { return path.Base(path.Dir(name)), path.Base(name) }

// readHead is NotFound for a series of which there is nothing.
func readHead(ctx context.Context, store *repository.Store, series string) (h head, err error) {
	text, err := store.Text(ctx, headOf(series))
	if err == nil {
		err = json.Unmarshal(text, &h)
	}
	return h, err
}

func putHead(ctx context.Context, store *repository.Store, series string, h head) error {
	text, err := json.Marshal(h)
	if err == nil {
		_, err = store.PutText(ctx, headOf(series), text)
	}
	return err
}

// endAll ends the series in the repository, those whose head cannot be read with what there is of them. It returns
// until when the last of them reaches, or the last backup where there is none; zero: there is nothing.
func endAll(ctx context.Context, store *repository.Store) (until time.Time, err error) {
	entries, err := store.List(ctx, archivePrefix)
	for _, e := range entries {
		series, object := seriesIn(e.Name)
		if object != "head" {
			continue
		}
		h, err := readHead(ctx, store, series)
		if backstay.KindOf(err) == backstay.Invalid {
			h, err = guessHead(ctx, store, series, entries)
		}
		if err != nil {
			return until, err
		}
		if h.Until.After(until) {
			until = h.Until
		}
		if h.Ended {
			continue
		}
		h.Ended = true
		if err := putHead(ctx, store, series, h); err != nil {
			return until, err
		}
	}
	if err != nil || !until.IsZero() {
		return until, err
	}
	backups, err := readManifests(ctx, store)
	if len(backups) > 0 {
		until = backups[len(backups)-1].Ended
	}
	if backstay.KindOf(err) == backstay.Invalid { // none of them can be restored
		err = nil
	}
	return until, err
}

// guessHead returns the head of a series whose own cannot be read: it reaches as far as its newest piece does.
func guessHead(
	ctx context.Context, store *repository.Store, series string, entries []repository.Entry,
) (h head, err error) {
	for _, e := range entries {
		in, object := seriesIn(e.Name)
		if number, err := strconv.Atoi(object); err == nil && in == series && number > h.Last {
			h.Last = number
		}
	}
	if h.Last == 0 {
		return h, nil
	}
	p, err := readPiece(ctx, store, pieceOf(series, h.Last))
	h.Until = p.last
	return h, err
}

// continuation returns the pieces that continue from a place, the first of which it is in. It is Invalid if the archive
// ends before the moment; a moment that is zero is its end. Lost is the first piece that is gone, where they end then,
// and which may not be needed for the moment; 0: none is.
func continuation(
	ctx context.Context, store *repository.Store, from place, until time.Time,
) (pieces []place, lost int, err error) {
	for {
		h, err := readHead(ctx, store, from.Series)
		if backstay.KindOf(err) == backstay.NotFound {
			return nil, 0, backstay.Wrapf(err, backstay.Invalid, "The archive is damaged: its head is gone.")
		}
		if err != nil {
			return nil, 0, err
		}
		if h.Ended && h.Next == nil && until.After(h.Until) {
			return nil, 0, backstay.Errorf(backstay.Invalid, "The archive behind this backup ends at %s, UTC.",
				h.Until.UTC().Format(time.DateTime))
		}
		more, lost, err := piecesOf(ctx, store, from, h.Last)
		pieces = append(pieces, more...)
		if lost > 0 && until.IsZero() {
			return nil, lost, pieceGone(lost)
		}
		if err != nil || lost > 0 || h.Next == nil || !until.IsZero() && !until.After(h.Until) {
			return pieces, lost, err
		}
		from = *h.Next
	}
}

// piecesOf returns the pieces of a series from a place to the last, as far as they are there.
func piecesOf(
	ctx context.Context, store *repository.Store, from place, last int,
) (pieces []place, lost int, err error) {
	entries, err := store.List(ctx, seriesPrefix(from.Series))
	if err != nil {
		return nil, 0, err
	}
	there := map[string]bool{}
	for _, e := range entries {
		there[e.Name] = true
	}
	for ; from.Number <= last; from = (place{Series: from.Series, Number: from.Number + 1}) {
		if !there[pieceOf(from.Series, from.Number)] {
			return pieces, from.Number, nil
		}
		pieces = append(pieces, from)
	}
	return pieces, 0, nil
}

func pieceGone(number int) error {
	return backstay.Errorf(backstay.Invalid, "The archive is damaged: its piece %d is gone.", number)
}

// needless returns the objects of the archive that no backup of those kept needs: what comes before all of them, and a
// series without any. The head of such a series is the last.
func needless(entries []repository.Entry, kept []manifest) (names []string) {
	first := map[string]string{} // by series: the name of the first piece that is needed
	for _, m := range kept {
		if m.Log == nil {
			continue
		}
		name := pieceOf(m.Log.Series, m.Log.Number)
		if before, ok := first[m.Log.Series]; !ok || name < before {
			first[m.Log.Series] = name
		}
	}
	for _, e := range entries { // by name: the digits of pieces come before "head"
		series, object := seriesIn(e.Name)
		needed, ok := first[series]
		if strings.HasPrefix(e.Name, archivePrefix) && (!ok || object != "head" && e.Name < needed) {
			names = append(names, e.Name)
		}
	}
	return names
}

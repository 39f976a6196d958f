package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/repository"
)

// headName is the object beside pgBackRest's that has the head of the archive.
const headName = "archive-head"

// head says how far each line of the archive goes, by the line's String. PgBackRest does not know that: to it, an
// archive whose end is gone is a shorter one. A head may lag behind the archive, and is never ahead of it.
type head map[string]reach

type reach struct {
	Last  string    `json:"last"`  // the newest segment that was archived
	Until time.Time `json:"until"` // what was committed by then is in the archive
}

// line is one timeline of one server, whose segments follow each other.
type line struct {
	server   int // as the repository counts them
	timeline string
}

func (l line) String() string { return fmt.Sprintf("%d-%s", l.server, l.timeline) }

// lineOf returns the line to which a backup belongs.
func lineOf(s backupSet) (l line, ok bool) {
	if !logName.MatchString(s.Archive.Start) {
		return l, false
	}
	return line{s.Database.ID, s.Archive.Start[:8]}, true
}

// readHead returns the head. It says nothing where there is none, as of an archive of an earlier version of ours, or
// where it is damaged: it is written anew soon.
func readHead(ctx context.Context, store *repository.Store) (h head, err error) {
	text, err := store.Text(ctx, headName)
	if kind := backstay.KindOf(err); kind == backstay.NotFound || kind == backstay.Invalid {
		return head{}, nil
	}
	if err != nil {
		return nil, err
	}
	return h, json.Unmarshal(text, &h)
}

// head returns the head of the tool's repository.
func (t *pgBackRest) head(ctx context.Context) (head, error) {
	store, err := repository.Open(t.repository)
	if err != nil {
		return nil, err
	}
	return readHead(ctx, store)
}

// tellHead brings the head up to the segment that was archived last.
func (t *pgBackRest) tellHead(ctx context.Context, s *spool) error {
	if !s.owesHead() {
		return nil
	}
	store, err := repository.Open(t.repository)
	if err != nil {
		return err
	}
	h, err := readHead(ctx, store)
	if err != nil {
		return err
	}
	last := s.record.Last
	h[line{s.record.Server, last[:8]}.String()] = reach{Last: last, Until: s.record.Until}
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if _, err := store.PutText(ctx, headName, text); err != nil {
		return err
	}
	s.record.Told = last
	return s.save()
}

// removeHead removes the head of an archive that is gone.
func (t *pgBackRest) removeHead(ctx context.Context) error {
	store, err := repository.Open(t.repository)
	if err != nil {
		return err
	}
	return store.Delete(ctx, time.Now(), headName)
}

// owesHead tells whether the repository holds a segment of which its head does not know. Which server's it is, the
// first backup tells.
func (s *spool) owesHead() bool {
	return s.record.Server != 0 && s.record.Last != "" && s.record.Told != s.record.Last
}

// reaches fails if the line of a backup was left, for another timeline or another server, before the moment. Where the
// server goes on with it, the end of the archive is the end of what was committed.
func (f *feeder) reaches(ctx context.Context, moment time.Time) error {
	sets, err := f.tool.sets(ctx)
	if err != nil {
		return err
	}
	own, _ := lineOf(f.set)
	until, isLeft := f.head[own.String()].Until, false
	for _, s := range sets {
		l, ok := lineOf(s)
		switch {
		case ok && l == own:
			if ended := s.backup().Ended; until.Before(ended) {
				until = ended
			}
		case s.Timestamp.Stop > f.set.Timestamp.Stop:
			isLeft = true
		}
	}
	if !isLeft || !until.Before(moment) {
		return nil
	}
	return backstay.Errorf(backstay.Invalid,
		"What the backup %s goes on with ends at %s, UTC: %s cannot be restored from it.",
		f.set.Label, until.UTC().Format(time.DateTime), moment.UTC().Format(time.DateTime))
}

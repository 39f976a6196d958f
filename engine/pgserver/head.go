package pgserver

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
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

// compare orders the lines of a server as they came to be, behind those of the servers before it.
func (l line) compare(other line) int {
	return cmp.Or(cmp.Compare(l.server, other.server), cmp.Compare(l.timeline, other.timeline))
}

// lines are those of which the head tells, in their order.
func (h head) lines() (all []line) {
	for text := range h {
		server, timeline, _ := strings.Cut(text, "-")
		if number, err := strconv.Atoi(server); err == nil {
			all = append(all, line{number, timeline})
		}
	}
	slices.SortFunc(all, line.compare)
	return all
}

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

// Reached returns what the head and the gaps beside it say.
func (Server) Reached(ctx context.Context, r backstay.Repository) (a engine.Archived, err error) {
	store, err := repository.Open(r)
	if err != nil {
		return a, err
	}
	return reached(ctx, store)
}

func reached(ctx context.Context, store *repository.Store) (a engine.Archived, err error) {
	h, err := readHead(ctx, store)
	if err != nil {
		return a, err
	}
	for _, of := range h {
		if of.Until.After(a.Until) {
			a.Until = of.Until
		}
	}
	a.Gaps, err = store.Gaps(ctx)
	return a, err
}

// tell notes in the repository what it has to say of its archive. The head comes last: it never reaches beyond a gap
// that is not known. Where nobody may go on from it, as before a gap or at the server's end, it tells of the time since
// its last segment too.
func (t *pgBackRest) tell(ctx context.Context, s *spool) error {
	if err := t.store.AddGaps(ctx, s.record.Gaps); err != nil {
		return err
	}
	h, err := readHead(ctx, t.store)
	if err != nil {
		return err
	}
	last := s.record.Last
	if last == "" || !s.owesHead() && h[s.line()].Last != last { // it was told of another server's
		return nil
	}
	h[s.line()] = reach{Last: last, Until: s.record.Until}
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if _, err := t.store.PutText(ctx, headName, text); err != nil {
		return err
	}
	s.record.Told = last
	return s.save()
}

// leaveLine tells of the line of the segment that was archived last, before the first one of another line is: where
// both have waited for a repository that was away, nobody else would say until when the former was the instance's.
func (t *pgBackRest) leaveLine(ctx context.Context, s *spool, name string) error {
	last := s.record.Last
	if last == "" || !logName.MatchString(name) || name[:8] <= last[:8] {
		return nil
	}
	s.reach(last)
	return t.tell(ctx, s)
}

// line is that of the segment that was archived last.
func (s *spool) line() string { return line{s.record.Server, s.record.Last[:8]}.String() }

// forgetAll removes what was said of an archive that is gone.
func (t *pgBackRest) forgetAll(ctx context.Context) error {
	now := time.Now()
	return errors.Join(t.store.DropGaps(ctx, now), t.store.Delete(ctx, now, headName))
}

// takeUp notes the gap between an archive and a node that goes on with it and has not archived anything yet: another
// node has made it, or this one on another machine.
func (t *pgBackRest) takeUp(ctx context.Context, s *spool) error {
	if !s.isNew() {
		return nil
	}
	sets, err := t.sets(ctx)
	if err != nil || len(sets) == 0 {
		return err
	}
	a, err := reached(ctx, t.store)
	if err != nil {
		return err
	}
	s.record.Until = a.Until
	if has := sets[len(sets)-1].hasAllOf(); a.Until.Before(has) {
		s.record.Until = has
	}
	s.gap(time.Now().UTC())
	return nil
}

// passes fails if a gap of the archive lies between a backup and a moment.
func (t *pgBackRest) passes(ctx context.Context, set backupSet, moment time.Time) error {
	gaps, err := t.store.Gaps(ctx)
	if err != nil {
		return err
	}
	for _, g := range gaps {
		if g.Until.After(set.backup().Ended) && g.From.Before(moment) {
			return backstay.Errorf(backstay.Invalid,
				"The archive has a gap behind the backup %s, from %s until %s, UTC: %s cannot be restored from it.",
				set.Label, utc(g.From), utc(g.Until), utc(moment))
		}
	}
	return nil
}

func utc(t time.Time) string { return t.UTC().Format(time.DateTime) }

// owes tells whether the repository does not know yet what it is to say of its archive.
func (s *spool) owes() bool { return len(s.record.Gaps) > 0 || s.owesHead() }

// owesHead tells whether the repository holds a segment of which its head does not know. Which server's it is, the
// first backup tells.
func (s *spool) owesHead() bool {
	return s.record.Server != 0 && s.record.Last != "" && s.record.Told != s.record.Last
}

// succeed has a node go on with what another one has archived, whose primary it was before this one took over: that is
// noted in the repository alone, which outlives both. What the other one has left behind must be there by then.
func (t *pgBackRest) succeed(ctx context.Context, s *spool) error {
	switch {
	case t.node.Replication == nil:
		return nil
	case s.record.Server != 0:
		return t.goOn(ctx, s)
	}
	root, err := os.OpenRoot(t.node.DataDir)
	if err != nil {
		return err
	}
	defer root.Close()
	own, err := ControlIn(root)
	if err != nil {
		return err
	}
	found, err := t.info(ctx)
	if err != nil {
		return err
	}
	for _, server := range found.Servers {
		if server.Identifier == own.Identifier {
			s.record.Server = server.ID
		}
	}
	if s.record.Server == 0 {
		return nil
	}
	h, err := readHead(ctx, t.store)
	if err != nil {
		return err
	}
	s.continueFrom(h.of(s.record.Server))
	for _, b := range found.Backups {
		if b.Database.ID == s.record.Server && s.record.Until.Before(b.hasAllOf()) {
			s.record.Until = b.hasAllOf()
		}
	}
	return s.save()
}

// goOn is succeed for a node that has archived before, as a primary: the other one may have gone on since.
func (t *pgBackRest) goOn(ctx context.Context, s *spool) error {
	h, err := readHead(ctx, t.store)
	if err != nil {
		return err
	}
	newest := h.of(s.record.Server)
	if newest.Last <= s.record.Last {
		return nil
	}
	s.continueFrom(newest)
	return s.save()
}

// continueFrom has the record say what the head does, and nothing of what the node has logged itself.
func (s *spool) continueFrom(r reach) {
	s.record.Last, s.record.Told, s.record.Until = r.Last, r.Last, r.Until
	s.record.Snapshot, s.record.Pending = "", nil
}

// of returns how far a server's newest line goes.
func (h head) of(server int) (newest reach) {
	for name, r := range h {
		if strings.HasPrefix(name, fmt.Sprintf("%d-", server)) && r.Last > newest.Last {
			newest = r
		}
	}
	return newest
}

// reaches fails if the server of a backup was left, for another one, before the moment. Where the server goes on, if on
// another timeline, the end of the archive is the end of what was committed.
func (f *feeder) reaches(ctx context.Context, moment time.Time) error {
	sets, err := f.tool.sets(ctx)
	if err != nil {
		return err
	}
	own, _ := lineOf(f.set)
	until, isLeft := f.head.of(own.server).Until, false
	for _, s := range sets {
		l, ok := lineOf(s)
		switch {
		case ok && l.server == own.server:
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
	return endsBefore(f.set, until, moment)
}

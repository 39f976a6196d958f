package pgserver

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pierrec/lz4/v4"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// segment is a segment of the log in the repository.
type segment struct {
	name  string
	path  string // below the archive
	sound bool
}

// archivedLog is what there is of the log in the repository.
type archivedLog struct {
	segments  map[line][]segment // in their order
	histories map[line]string    // the paths of what tells how the lines began
	head      head
}

const archiveDir = "archive/" + stanza

var (
	archived = regexp.MustCompile(`^[\d.]+-(\d+)/[0-9A-F]{16}/([0-9A-F]{24})-[0-9a-f]{40}\S*$`)
	begins   = regexp.MustCompile(`^[\d.]+-(\d+)/([0-9A-F]{8})\.history$`)
)

func (t *pgBackRest) archivedLog(ctx context.Context, spoiled map[string]bool) (all archivedLog, err error) {
	out, err := t.run(ctx, false, "--recurse", "repo-ls", archiveDir)
	if err != nil {
		return all, err
	}
	all.segments, all.histories = map[line][]segment{}, map[line]string{}
	for path := range strings.FieldsSeq(string(out)) {
		if match := begins.FindStringSubmatch(path); match != nil {
			all.histories[lineNamed(match[1], match[2])] = path
		}
		if match := archived.FindStringSubmatch(path); match != nil {
			l := lineNamed(match[1], match[2][:8])
			all.segments[l] = append(all.segments[l], segment{match[2], path, !spoiled[path]})
		}
	}
	for _, of := range all.segments {
		slices.SortFunc(of, func(a, b segment) int { return cmp.Compare(a.name, b.name) })
	}
	all.head, err = readHead(ctx, t.store)
	return all, err
}

// lineNamed is the line of a server's number and a timeline, which are known to be such.
func lineNamed(server, timeline string) line {
	number, _ := strconv.Atoi(server)
	return line{number, timeline}
}

// lines are those whose end a restore goes to: of which the head tells, and of the backups.
func (a archivedLog) lines(sets []backupSet) []line {
	all := a.head.lines()
	for _, s := range sets {
		if l, ok := lineOf(s); ok {
			all = append(all, l)
		}
	}
	slices.SortFunc(all, line.compare)
	return slices.Compact(all)
}

// addLost adds what the log has lost: a backup that needs a part of that for itself is damaged, and behind those before
// it there is a gap. It goes all courses that a restore can, also on from timelines that were left. What was committed
// until one was left, is not needed of those behind it.
func (t *pgBackRest) addLost(ctx context.Context, f *engine.Findings, sets []backupSet, log archivedLog) error {
	seen := map[string]bool{} // by the line and the first segment of a hole: courses have legs in common
	var before line
	var left time.Time // until when the server was on the lines before
	for _, end := range log.lines(sets) {
		if end.server != before.server {
			left = time.Time{}
		}
		forks, err := t.forksOf(ctx, log, end)
		if err != nil {
			return err
		}
		c := courseTo(end, forks)
		if forks == nil && end.server == before.server {
			t.addCut(f, sets, log, end, left)
		}
		for _, h := range c.lost(sets, log) {
			if key := fmt.Sprintf("%d-%s", end.server, h.first); !seen[key] {
				seen[key] = true
				if err := t.addHole(ctx, f, sets, log, c, h, left); err != nil {
					return err
				}
			}
		}
		before = end
		if until := log.head[end.String()].Until; until.After(left) {
			left = until
		}
	}
	slices.SortFunc(f.Lost, func(a, b backstay.Gap) int { return a.From.Compare(b.From) })
	return nil
}

// forksOf reads how a timeline began. It is nil where the archive does not tell, as of a server's first one.
func (t *pgBackRest) forksOf(ctx context.Context, log archivedLog, of line) ([]Fork, error) {
	path, ok := log.histories[of]
	if !ok {
		return nil, nil
	}
	forks, err := t.history(ctx, path)
	if backstay.KindOf(err) == backstay.Invalid {
		return nil, nil
	}
	return forks, err
}

// lost are the holes of the log behind the oldest backup that leads to the end of the course.
func (c course) lost(sets []backupSet, log archivedLog) []hole {
	first, last := "", log.head[c.end().String()].Last
	for _, s := range sets {
		if !c.leads(s) {
			continue
		}
		if first == "" || s.Archive.Start < first {
			first = s.Archive.Start
		}
		last = max(last, s.Archive.Stop)
	}
	if first == "" {
		return nil
	}
	return c.holes(first, last, c.of(log.segments))
}

// addHole adds one hole in a course, of which nothing is needed until the moment when the server left the lines before.
func (t *pgBackRest) addHole(
	ctx context.Context, f *engine.Findings, sets []backupSet, log archivedLog, c course, h hole, left time.Time,
) error {
	var broken, spared []backstay.Backup
	for _, s := range sets {
		own, _ := lineOf(s)
		switch {
		case !c.leads(s):
		case h.isBefore(s.Archive.Start):
			spared = append(spared, s.backup())
		case s.Archive.Stop < h.first, own != c.end():
			broken = append(broken, s.backup())
		case f.Backups[s.Label] == "":
			f.Backups[s.Label] = "The log that it needs is damaged or gone."
		}
	}
	from, until, err := t.bounds(ctx, h)
	if err != nil {
		return err
	}
	if left.After(from) {
		from = left
	}
	if !until.After(from) {
		until = log.until(c.end(), from)
	}
	if g, any := engine.Loss(from, until, broken, spared); any && g.Until.After(g.From) {
		f.Lost = append(f.Lost, g)
	}
	return nil
}

// addCut adds that nothing leads to a line any more from the backups before it: how it began is lost.
func (t *pgBackRest) addCut(f *engine.Findings, sets []backupSet, log archivedLog, to line, left time.Time) {
	var broken, spared []backstay.Backup
	for _, s := range sets {
		switch l, _ := lineOf(s); {
		case l.server == to.server && l.compare(to) < 0:
			broken = append(broken, s.backup())
		case l == to:
			spared = append(spared, s.backup())
		}
	}
	if g, any := engine.Loss(left, log.until(to, left), broken, spared); any {
		f.Lost = append(f.Lost, g)
	}
}

// until is when the archive of a line ends, or now where that is not known, or not behind the moment.
func (a archivedLog) until(of line, behind time.Time) time.Time {
	if until := a.head[of.String()].Until; until.After(behind) {
		return until
	}
	return time.Now().UTC()
}

// bounds returns the last moment that is reached before a hole, and one behind the hole; zero: there is none. A
// server that replays the log up to a moment ends where it finds that a transaction has ended later.
func (t *pgBackRest) bounds(ctx context.Context, h hole) (from, until time.Time, err error) {
	for _, s := range slices.Backward(h.before) {
		_, last, err := t.endTimes(ctx, s)
		if err != nil {
			return from, until, err
		}
		if !last.IsZero() {
			from = last.Add(-time.Microsecond)
			break
		}
	}
	for _, s := range h.after {
		first, _, err := t.endTimes(ctx, s)
		if err != nil {
			return from, until, err
		}
		if !first.IsZero() {
			return from, first, nil
		}
	}
	return from, until, nil
}

// endTimes is endTimes for a segment in the repository.
func (t *pgBackRest) endTimes(ctx context.Context, s segment) (first, last time.Time, err error) {
	packed, err := t.run(ctx, false, "repo-get", archiveDir+"/"+s.path)
	if err != nil {
		return first, last, err
	}
	text, err := io.ReadAll(io.LimitReader(lz4.NewReader(bytes.NewReader(packed)), int64(SegmentSize)))
	if err != nil {
		return first, last, fmt.Errorf("unpack %s: %w", s.name, err)
	}
	first, last = endTimes(text)
	return first, last, nil
}

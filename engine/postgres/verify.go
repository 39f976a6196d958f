package postgres

import (
	"bytes"
	"cmp"
	"context"
	"errors"
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
	"github.com/backstay/backstay/repository"
)

// Verify has pgBackRest read the whole repository and compare the checksums: it can do no less. That segments of the
// log are missing, it does not say.
func (Engine) Verify(ctx context.Context, n engine.Node, r backstay.Repository) (f engine.Findings, err error) {
	t, err := openTool(ctx, n, r)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	if f, err = t.verify(ctx); err == nil {
		err = repository.Reachable(ctx, r) // of what has gone in the middle, files are missing
	}
	return f, t.blame(ctx, err)
}

func (t *pgBackRest) verify(ctx context.Context) (f engine.Findings, err error) {
	sets, err := t.sets(ctx)
	if err != nil || len(sets) == 0 {
		return f, err
	}
	out, err := t.run(ctx, true, "--output=text", "--verbose", "--log-level-console=info", "verify")
	if err != nil {
		return f, err
	}
	read, err := readReport(string(out))
	if err != nil {
		return f, err
	}
	segments, err := t.segments(ctx, read.spoiled)
	if err != nil {
		return f, err
	}
	f.Backups = map[string]string{}
	for _, s := range sets {
		if f.Backups[s.Label] = ""; !read.whole[s.Label] {
			f.Backups[s.Label] = "A part of it is damaged or gone."
		}
	}
	err = t.addLost(ctx, &f, sets, segments)
	return f, err
}

// report is what a verification says.
type report struct {
	whole   map[string]bool // by the label of a backup
	spoiled map[string]bool // by the path of a segment below the archive
}

var (
	verifiedBackup = regexp.MustCompile(`(?m)^\s*backup: (\S+), status: (\w+)`)
	// notSound matches what is said of a file, with its path, and the number of the error if it could not be read.
	notSound = regexp.MustCompile(`(?m)^P\d+\s+\w+: (?:file missing|invalid (?:checksum|size|result)) '?([^\s':]+)'?` +
		`(?:: \[0*(\d+)\])?`)
	unusable = regexp.MustCompile(`(?m)^\s*(No usable \S+ file)`)
)

// readReport fails if files could not be read for a reason that is no damage.
func readReport(text string) (r report, err error) {
	if match := unusable.FindStringSubmatch(text); match != nil {
		return r, &toolFailure{codeFormat, match[1]}
	}
	r = report{map[string]bool{}, map[string]bool{}}
	for _, match := range verifiedBackup.FindAllStringSubmatch(text, -1) {
		r.whole[match[1]] = match[2] == "valid"
	}
	for _, match := range notSound.FindAllStringSubmatch(text, -1) {
		if code, err := strconv.Atoi(match[2]); err == nil && !slices.Contains(spoiledCodes, code) {
			return r, backstay.Wrapf(fmt.Errorf("pgbackrest verify: %s", match[0]), backstay.Unavailable,
				"The repository cannot be read whole.")
		}
		r.spoiled[match[1]] = true
	}
	return r, nil
}

// segment is a segment of the log in the repository.
type segment struct {
	name  string
	path  string // below the archive
	sound bool
}

var archived = regexp.MustCompile(`^[\d.]+-(\d+)/[0-9A-F]{16}/([0-9A-F]{24})-[0-9a-f]{40}\S*$`)

// segments lists what there is of the log, in its order.
func (t *pgBackRest) segments(ctx context.Context, spoiled map[string]bool) (map[line][]segment, error) {
	out, err := t.run(ctx, false, "--recurse", "repo-ls", archiveDir)
	if err != nil {
		return nil, err
	}
	all := map[line][]segment{}
	for path := range strings.FieldsSeq(string(out)) {
		match := archived.FindStringSubmatch(path)
		if match == nil {
			continue
		}
		server, _ := strconv.Atoi(match[1]) // it is a number
		l := line{server, match[2][:8]}
		all[l] = append(all[l], segment{match[2], path, !spoiled[path]})
	}
	for _, of := range all {
		slices.SortFunc(of, func(a, b segment) int { return cmp.Compare(a.name, b.name) })
	}
	return all, nil
}

const archiveDir = "archive/" + stanza

// hole is a run of segments that are missing or damaged.
type hole struct {
	first  string    // the first of them
	before []segment // that are sound, back to the last hole
	after  []segment // that are sound, up to the next hole; none: it goes on until the archive's end
}

// holes returns what is missing or damaged from one segment to another, and behind that.
func holes(first, last string, all []segment) (found []hole) {
	var run []segment // that are sound and follow each other
	wanted := first
	open := -1 // the hole before the run
	for _, s := range all {
		if s.name < wanted {
			continue
		}
		last = max(last, s.name)
		if !s.sound {
			continue
		}
		if s.name != wanted {
			found, run, open = append(found, hole{first: wanted, before: run}), nil, len(found)
		}
		if run = append(run, s); open >= 0 {
			found[open].after = run
		}
		wanted = following(s.name)
	}
	if wanted <= last {
		found = append(found, hole{first: wanted, before: run})
	}
	return found
}

// addLost adds what the log has lost: a backup that needs a part of that for itself is damaged, and behind those before
// it there is a gap.
func (t *pgBackRest) addLost(
	ctx context.Context, f *engine.Findings, sets []backupSet, segments map[line][]segment,
) error {
	head, err := readHead(ctx, t.store)
	if err != nil {
		return err
	}
	of := map[line][]backupSet{}
	for _, s := range sets {
		if l, ok := lineOf(s); ok {
			of[l] = append(of[l], s)
		}
	}
	for l, sets := range of {
		last := max(sets[len(sets)-1].Archive.Stop, head[l.String()].Last)
		for _, h := range holes(sets[0].Archive.Start, last, segments[l]) {
			var broken, spared []backstay.Backup
			for _, s := range sets {
				switch {
				case s.Archive.Stop < h.first:
					broken = append(broken, s.backup())
				case len(h.after) > 0 && s.Archive.Start >= h.after[0].name:
					spared = append(spared, s.backup())
				case f.Backups[s.Label] == "":
					f.Backups[s.Label] = "The log that it needs is damaged or gone."
				}
			}
			from, until, err := t.bounds(ctx, h)
			if err != nil {
				return err
			}
			if g, any := engine.Loss(from, until, broken, spared); any {
				f.Lost = append(f.Lost, g)
			}
		}
	}
	slices.SortFunc(f.Lost, func(a, b backstay.Gap) int { return a.From.Compare(b.From) })
	return nil
}

// bounds returns the last moment that is reached before a hole, zero if there is none, and one behind the hole. A
// server that replays the log up to a moment ends where it finds that a transaction has ended later.
func (t *pgBackRest) bounds(ctx context.Context, h hole) (from, until time.Time, err error) {
	until = time.Now().UTC()
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
	text, err := io.ReadAll(io.LimitReader(lz4.NewReader(bytes.NewReader(packed)), int64(segmentSize)))
	if err != nil {
		return first, last, fmt.Errorf("unpack %s: %w", s.name, err)
	}
	first, last = endTimes(text)
	return first, last, nil
}

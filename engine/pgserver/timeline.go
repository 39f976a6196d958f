package pgserver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// backupsTimeline is the timeline of the backup, as recovery_target_timeline names it.
const backupsTimeline = "current"

// Position is a place in the log: "0/3000148".
type Position uint64

// ParsePosition reads a place in the log as PostgreSQL writes it.
func ParsePosition(text string) (Position, error) {
	high, low, ok := strings.Cut(text, "/")
	h, errHigh := strconv.ParseUint(high, 16, 32)
	l, errLow := strconv.ParseUint(low, 16, 32)
	if err := errors.Join(errHigh, errLow); !ok || err != nil {
		return 0, fmt.Errorf("%q is no place in the log", text)
	}
	return Position(h<<32 | l), nil
}

func (p Position) String() string { return fmt.Sprintf("%X/%X", uint64(p)>>32, uint32(p)) }

// UnmarshalJSON reads it from a string.
func (p *Position) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	read, err := ParsePosition(s)
	*p = read
	return err
}

// segment is the number of the segment that holds the position, as the segment's name ends with it.
func (p Position) segment() string {
	const perLog = uint64(4 * backstay.GB / SegmentSize)
	n := uint64(p) / uint64(SegmentSize)
	return fmt.Sprintf("%08X%08X", n/perLog, n%perLog)
}

// timelineFor says which timeline a server is to follow that begins with a backup, until a moment; zero: to the end. It
// is the one on which the instance was at the moment, which is the backup's own one until its end. Behind that, it goes
// on from the backup's own one if that was left for it behind the backup, as where a standby has taken over.
//
//	the backup's own  ---backup----+--------- what was committed until a return ----| its end, as the head has it
//	the next one                    \ from the moment that was returned to -----------------------------------|
//
// An instance that returned to an earlier moment has left its timeline there, and has committed on it until it
// returned. So a later one lacks what was committed between the two, and the backup's own lacks nothing. From a
// backup of between the two, nothing can be restored of what was committed after the return.
func (t *pgBackRest) timelineFor(ctx context.Context, set backupSet, h head, to engine.Point) (string, error) {
	own, ok := lineOf(set)
	if !ok || to.Alone {
		return backupsTimeline, nil
	}
	then := h.lineAt(own, to.Until)
	if then == own {
		return backupsTimeline, nil
	}
	forks, err := t.history(ctx, fmt.Sprintf("%s-%d/%s.history", t.server.Version, own.server, then.timeline))
	if backstay.KindOf(err) == backstay.Invalid {
		ends, gapErr := t.endsInGap(ctx, set)
		if gapErr != nil || ends {
			return backupsTimeline, gapErr
		}
	}
	if err != nil {
		return "", err
	}
	if !courseTo(then, forks).leads(set) {
		return "", errors.Join(engine.ErrLeft, endsBefore(set, h[own.String()].Until, to.Until))
	}
	number, err := strconv.ParseUint(then.timeline, 16, 32)
	return strconv.FormatUint(number, 10), err
}

// lineAt is the timeline on which a server was at a moment, zero: on which it is, of that line and those behind it.
func (h head) lineAt(own line, moment time.Time) (at line) {
	at = own
	for _, l := range h.lines() {
		if l.server != own.server || l.timeline < own.timeline {
			continue
		}
		if at = l; !moment.IsZero() && !h[l.String()].Until.Before(moment) {
			break
		}
	}
	return at
}

// endsInGap tells whether the archive was never given what comes behind a backup, such as how a timeline began.
func (t *pgBackRest) endsInGap(ctx context.Context, set backupSet) (bool, error) {
	gaps, err := t.store.Gaps(ctx)
	ended := set.backup().Ended
	return slices.ContainsFunc(gaps, func(g backstay.Gap) bool { return g.Until.After(ended) }), err
}

// endsBefore is the refusal of a moment, or of the latest, where a backup goes on only until an earlier one.
func endsBefore(set backupSet, until, moment time.Time) error {
	wanted := "what was committed later"
	if !moment.IsZero() {
		wanted = utc(moment)
	}
	return backstay.Errorf(backstay.Invalid,
		"What the backup %s goes on with ends at %s, UTC: %s cannot be restored from it.", set.Label, utc(until), wanted)
}

// Fork is where a timeline was left for the next one.
type Fork struct {
	Timeline string
	At       Position
}

// history reads from the archive how a timeline began, by the path of that. What is missing or damaged is Invalid.
func (t *pgBackRest) history(ctx context.Context, path string) ([]Fork, error) {
	text, err := t.run(ctx, false, "repo-get", archiveDir+"/"+path)
	if codeOf(err) != 0 {
		err = t.blame(ctx, err)
	}
	if err != nil && backstay.KindOf(err) != backstay.Invalid {
		return nil, err
	}
	forks := ReadHistory(text)
	if err != nil || len(forks) == 0 {
		return nil, backstay.Wrapf(errors.Join(fmt.Errorf("read %s", path), err), backstay.Invalid,
			"The archive is damaged: it does not tell any more how one of its timelines began.")
	}
	return forks, nil
}

// ReadHistory returns where each of the timelines was left that one goes on from, the oldest first; none: the text is
// no history.
func ReadHistory(text []byte) (forks []Fork) {
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 {
			continue
		}
		if len(fields) < 2 {
			return nil
		}
		number, err := strconv.ParseUint(fields[0], 10, 32)
		at, errAt := ParsePosition(fields[1])
		if errors.Join(err, errAt) != nil {
			return nil
		}
		forks = append(forks, Fork{fmt.Sprintf("%08X", number), at})
	}
	return forks
}

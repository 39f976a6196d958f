package postgres

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
)

// backupsTimeline is the timeline of the backup, as recovery_target_timeline names it.
const backupsTimeline = "current"

// position is a place in the log: "0/3000148".
type position uint64

func parsePosition(text string) (position, error) {
	high, low, ok := strings.Cut(text, "/")
	h, errHigh := strconv.ParseUint(high, 16, 32)
	l, errLow := strconv.ParseUint(low, 16, 32)
	if err := errors.Join(errHigh, errLow); !ok || err != nil {
		return 0, fmt.Errorf("%q is no place in the log", text)
	}
	return position(h<<32 | l), nil
}

// UnmarshalJSON reads it from a string.
func (p *position) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	read, err := parsePosition(s)
	*p = read
	return err
}

// timelineFor says which timeline a server is to follow that begins with a backup, until a moment; zero: to the end. It
// is the backup's own, as far as that has all that was committed by then. Behind its end, it is the newest of the
// archive, if the backup's was left for it behind the backup, as where a standby has taken over.
//
//	the backup's own  ---backup----+--------- what was committed until a return ----| its end, as the head has it
//	the newest                      \ from the moment that was returned to ----------------------------------------
//
// An instance that returned to an earlier moment has left its timeline there, and has committed on it until it
// returned. So the newest one lacks what was committed between the two, and the backup's own lacks nothing. From a
// backup of between the two, nothing can be restored of what was committed after the return.
func (t *pgBackRest) timelineFor(
	ctx context.Context, w *datadir.Workshop, set backupSet, h head, to engine.Point,
) (string, error) {
	own, ok := lineOf(set)
	until := h[own.String()].Until
	if to.Alone || !to.Until.IsZero() && !until.Before(to.Until) {
		return backupsTimeline, nil
	}
	newest := own.timeline
	for text := range h {
		server, timeline, _ := strings.Cut(text, "-")
		if server == strconv.Itoa(own.server) && timeline > newest {
			newest = timeline
		}
	}
	if !ok || newest == own.timeline {
		return backupsTimeline, nil
	}
	path := filepath.Join(w.Dir, "newest.history")
	_, err := t.run(ctx, false, "--pg1-path="+w.Data, "archive-get", newest+".history", path)
	if codeOf(err) == codeNotFound {
		return backupsTimeline, nil
	}
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", errors.Join(err, os.Remove(path))
	}
	number, err := strconv.ParseUint(newest, 16, 32)
	if err == nil && !descends(text, own.timeline, set.LSN.Stop) {
		err = endsBefore(set, until, to.Until)
	}
	return strconv.FormatUint(number, 10), errors.Join(err, os.Remove(path))
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

// descends tells whether a timeline, whose history that is, goes on from another one that was left at that place or
// behind it.
func descends(history []byte, from string, place position) bool {
	number, err := strconv.ParseUint(from, 16, 32)
	if err != nil {
		return false
	}
	lines := bufio.NewScanner(bytes.NewReader(history))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != strconv.FormatUint(number, 10) {
			continue
		}
		left, err := parsePosition(fields[1])
		return err == nil && left >= place
	}
	return false
}

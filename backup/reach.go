package backup

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
)

// Reach returns how what is wished for is reached from the backups that are kept of an instance:
//
//   - Alone: the backup that is named, or else the last one that ended by At, or else the newest one.
//   - At: that moment, from the backup that is named, or else from the last one before it.
//   - else: the end of the archive, from the backup that is named or the newest one. A gap is an end.
//
// A backup that is damaged is none: what is nearest before it is taken. What cannot be reached is Invalid, with a
// sentence that says what can.
func Reach(kept backend.Backups, wish backend.Origin) (engine.Point, error) {
	if len(kept.List) == 0 {
		return engine.Point{}, backstay.Errorf(backstay.Invalid,
			"There is no backup of the instance %s: nothing can be restored.", kept.Instance)
	}
	whole := kept
	whole.List = Whole(kept.List)
	if len(whole.List) == 0 {
		return engine.Point{}, backstay.Errorf(backstay.Invalid,
			"Nothing can be restored of the instance %s: %s", kept.Instance, Damage(kept.List))
	}
	to, err := reach(whole, wish)
	if err != nil && len(whole.List) < len(kept.List) {
		err = backstay.Errorf(backstay.Invalid, "%s %s", backstay.SentenceOf(err), Damage(kept.List))
	}
	return to, err
}

// Passed says what is taken instead of the damaged backups with which what is wished for would begin if they were
// whole, and where a gap of the archive ends what was to be all of it; empty: it is what was wished for. To is what
// Reach says.
func Passed(kept backend.Backups, wish backend.Origin, to engine.Point) string {
	var begin time.Time
	for _, b := range kept.List {
		if b.ID == to.Backup {
			begin = b.Ended
		}
	}
	damage := Damage(slices.DeleteFunc(slices.Clone(kept.List), func(b backstay.Backup) bool {
		return wish.Backup != "" || !b.Ended.After(begin) || !wish.At.IsZero() && b.Ended.After(wish.At)
	}))
	var said []string
	if from := moment(engine.WholeSecond(begin)); damage != "" && to.Alone {
		said = append(said, damage, "That of "+from+" is restored instead.")
	} else if damage != "" {
		said = append(said, damage, "That of "+from+" is restored instead, with the archive behind it.")
	}
	switch all := !wish.Alone && wish.At.IsZero(); {
	case all && to.Alone:
		said = append(said, "The archive has lost what was written since.")
	case all && !to.Until.IsZero():
		said = append(said, "The archive has lost what was written since "+moment(to.Until)+".")
	}
	return strings.Join(said, " ")
}

// Damage is a sentence that names the backups which are damaged; empty: none is.
func Damage(list []backstay.Backup) string {
	var of []string
	for _, b := range list {
		if b.Damaged != "" {
			of = append(of, moment(engine.WholeSecond(b.Ended)))
		}
	}
	switch count := len(of); {
	case count == 0:
		return ""
	case count == 1:
		return "The backup of " + of[0] + " is damaged."
	case count <= 3:
		return "The backups of " + strings.Join(of[:count-1], ", ") + " and " + of[count-1] + " are damaged."
	default:
		return fmt.Sprintf("%d backups are damaged, of %s to %s.", count, of[0], of[count-1])
	}
}

// reach is Reach for backups that are whole, and at least one.
func reach(kept backend.Backups, wish backend.Origin) (engine.Point, error) {
	if wish.Alone {
		b, err := alone(kept, wish)
		return engine.Point{Backup: b.ID, Alone: true}, err
	}
	if !wish.At.IsZero() {
		if err := inRange(kept, wish.At); err != nil {
			return engine.Point{}, err
		}
	}
	from, err := start(kept, wish)
	if err != nil {
		return engine.Point{}, err
	}
	to := engine.Point{Backup: from.ID, Until: wish.At}
	for _, g := range kept.Gaps {
		behind := g.Until.After(from.Ended) // it lies behind the backup, in our way
		switch {
		case behind && wish.At.IsZero() && (to.Until.IsZero() || g.From.Before(to.Until)):
			to.Until = g.From
		case behind && g.From.Before(wish.At):
			return engine.Point{}, inGap(kept, g, wish.At)
		}
	}
	if wish.At.IsZero() && !to.Until.IsZero() && to.Until.Before(from.Ended) {
		return engine.Point{Backup: from.ID, Alone: true}, nil // the archive has nothing behind it
	}
	return to, nil
}

// alone returns the backup that is restored without the archive.
func alone(kept backend.Backups, wish backend.Origin) (backstay.Backup, error) {
	if wish.Backup != "" {
		return named(kept, wish.Backup)
	}
	b, ok := lastBy(kept.List, wish.At)
	if !ok {
		oldest, _ := bounds(kept.List)
		return b, backstay.Errorf(backstay.Invalid,
			"The oldest backup of the instance %s was ready at %s, UTC: no backup is older.",
			kept.Instance, moment(engine.WholeSecond(oldest)))
	}
	return b, nil
}

// start returns the backup after which the archive is restored.
func start(kept backend.Backups, wish backend.Origin) (backstay.Backup, error) {
	if wish.Backup == "" {
		b, ok := lastBy(kept.List, wish.At)
		if !ok {
			return b, outside(kept, wish.At)
		}
		return b, nil
	}
	b, err := named(kept, wish.Backup)
	if err == nil && !wish.At.IsZero() && wish.At.Before(b.Ended) {
		err = backstay.Errorf(backstay.Invalid, "The backup %s was ready at %s, UTC, so %s cannot be reached from it.",
			b.ID, moment(engine.WholeSecond(b.Ended)), moment(wish.At))
	}
	return b, err
}

func named(kept backend.Backups, id string) (backstay.Backup, error) {
	ids := make([]string, len(kept.List))
	for i, b := range kept.List {
		if b.ID == id {
			return b, nil
		}
		ids[i] = b.ID
	}
	return backstay.Backup{}, backstay.Errorf(backstay.Invalid,
		"There is no backup %s of the instance %s: there are %s.", id, kept.Instance, strings.Join(ids, ", "))
}

// lastBy returns the newest backup that had ended by the moment, or the newest of all if that is zero.
func lastBy(list []backstay.Backup, at time.Time) (last backstay.Backup, ok bool) {
	for _, b := range list {
		if (at.IsZero() || !b.Ended.After(at)) && (!ok || b.Ended.After(last.Ended)) {
			last, ok = b, true
		}
	}
	return last, ok
}

func bounds(list []backstay.Backup) (oldest, newest time.Time) {
	oldest, newest = list[0].Ended, list[0].Ended
	for _, b := range list {
		if b.Ended.Before(oldest) {
			oldest = b.Ended
		}
		if b.Ended.After(newest) {
			newest = b.Ended
		}
	}
	return oldest, newest
}

func inRange(kept backend.Backups, at time.Time) error {
	if kept.Earliest.IsZero() {
		oldest, newest := bounds(kept.List)
		has := "no archive"
		if len(kept.Gaps) > 0 {
			has = "an archive with gaps behind them"
		}
		return backstay.Errorf(backstay.Invalid,
			"The instance %s has backups and %s, so it can be restored to one of its %d backups, of %s to %s, UTC, "+
				"and not to a moment between them.",
			kept.Instance, has, len(kept.List), moment(engine.WholeSecond(oldest)), moment(engine.WholeSecond(newest)))
	}
	if at.Before(kept.Earliest) || at.After(kept.Latest) {
		return outside(kept, at)
	}
	return nil
}

func outside(kept backend.Backups, at time.Time) error {
	why := ""
	if g, ok := lastLoss(kept, at); ok {
		why = fmt.Sprintf("; the archive has lost what was written between %s and %s, so that nothing behind it can be "+
			"restored until the next backup has been taken", moment(g.From), moment(g.Until))
	}
	return backstay.Errorf(backstay.Invalid, "%s cannot be restored: %s%s.", moment(at), reachable(kept), why)
}

// lastLoss returns the gap of the archive with which all ends that can be restored, if the moment lies behind that.
func lastLoss(kept backend.Backups, at time.Time) (loss backstay.Gap, ok bool) {
	_, latest := Range(kept.List, kept.Gaps, kept.Latest)
	if !at.After(latest) {
		return loss, false
	}
	i := slices.IndexFunc(kept.Gaps, func(g backstay.Gap) bool { return !g.From.Before(latest) && !g.From.After(at) })
	if i < 0 {
		return loss, false
	}
	return kept.Gaps[i], true
}

func inGap(kept backend.Backups, g backstay.Gap, at time.Time) error {
	end := "there is another backup"
	if b, ok := firstFrom(kept.List, g.Until); ok {
		end = "the backup of " + moment(engine.WholeSecond(b.Ended))
	}
	return backstay.Errorf(backstay.Invalid, "%s cannot be restored: %s, and %s lies in a gap of the archive "+
		"that goes from %s until %s.", moment(at), reachable(kept), moment(at), moment(g.From), end)
}

// firstFrom returns the oldest backup that had not ended before the moment.
func firstFrom(list []backstay.Backup, at time.Time) (first backstay.Backup, ok bool) {
	for _, b := range list {
		if !b.Ended.Before(at) && (!ok || b.Ended.Before(first.Ended)) {
			first, ok = b, true
		}
	}
	return first, ok
}

// reachable says what can be restored.
func reachable(kept backend.Backups) string {
	earliest, latest := Range(kept.List, kept.Gaps, kept.Latest)
	but := ""
	if len(Gaps(kept)) > 0 {
		but = ", except in gaps"
	}
	return fmt.Sprintf("the instance %s can be restored to any second from %s until %s, UTC%s",
		kept.Instance, moment(earliest), moment(latest), but)
}

// moment writes a time as parameters name it.
func moment(t time.Time) string { return t.UTC().Format(time.DateTime) }

package mysql

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
	"github.com/backstay/backstay/repository"
)

// followedFile is where the data directory says which series its binary log belongs to. No copy of the directory has
// it.
const followedFile = "archive.json"

// followed is what followedFile holds.
type followed struct {
	Series string        `json:"series"`        // empty: the next file begins one
	Next   int           `json:"next"`          // the number of the first file that is not in the archive
	Gap    *backstay.Gap `json:"gap,omitempty"` // before the series, until somebody was told
	Boot   string        `json:"boot"`          // of the machine, by the kernel's name for it
	// After is the series that this one continues, until the repository says so too.
	After *succession `json:"after,omitempty"`
}

// follower brings the binary log of a node into the archive.
type follower struct {
	node  engine.Node
	store *repository.Store
	dir   *os.Root
	end   func() error
	followed
}

// follow returns who follows a node. Until end, it is the only one: Archive goes on while Backup does.
func follow(ctx context.Context, n engine.Node, store *repository.Store) (*follower, error) {
	unlock, err := engine.LockDir(ctx, n.DataDir)
	if err != nil {
		return nil, err
	}
	dir, err := os.OpenRoot(n.DataDir)
	if err != nil {
		return nil, errors.Join(err, unlock())
	}
	f := &follower{node: n, store: store, dir: dir}
	f.end = func() error { return errors.Join(dir.Close(), unlock()) }
	text, err := dir.ReadFile(followedFile)
	if err == nil {
		err = json.Unmarshal(text, &f.followed)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err = cmp.Or(err, f.afterBoot()); err != nil {
		return nil, errors.Join(err, f.end())
	}
	return f, nil
}

// bootFile has the kernel's name for the time since the machine was started.
const bootFile = "/proc/sys/kernel/random/boot_id"

// afterBoot ends the series before a file that was written to when the machine died, if commits did not wait for the
// disk: then the log has some that the data has not. The next series begins behind it.
func (f *follower) afterBoot() error {
	boot, err := os.ReadFile(bootFile)
	if err != nil || f.Boot == string(boot) {
		return err
	}
	died := f.Boot != "" && waitsForNothing(f.node)
	f.Boot = string(boot)
	numbers, err := binlogFiles(f.dir)
	if err != nil || !died {
		return err
	}
	for _, number := range numbers[:max(len(numbers)-1, 0)] {
		file, _, err := inspect(f.dir, number)
		if err != nil {
			return err
		}
		if file.open && number >= f.Next {
			f.followed = followed{Next: number + 1, Boot: f.Boot}
		}
	}
	return f.save()
}

// waitsForNothing tells whether a commit is told of before it is on the disk.
func waitsForNothing(n engine.Node) bool {
	chosen, err := Engine{}.parseSettings(n)
	return err == nil && slices.ContainsFunc(chosen, func(c engine.Chosen) bool {
		return c.Name == "innodb_flush_log_at_trx_commit" && c.Value == "2"
	})
}

func (f *follower) save() error {
	text, err := json.Marshal(f.followed)
	if err != nil {
		return err
	}
	uid, gid := f.node.Account.IDs()
	return datadir.WriteFiles(f.node.DataDir, uid, gid, map[string]string{followedFile: string(text)})
}

// Archive puts the files of the binary log that are ended into the repository, and has the server remove them. The one
// that it writes to is ended if there is something in it and it is old enough. Of a node that follows, or is fenced,
// there is nothing to be archived: its primary has logged the same, or it is to be taken back.
func (Engine) Archive(
	ctx context.Context, n engine.Node, r backstay.Repository, age time.Duration, over time.Time,
) (a engine.Archived, err error) {
	if archivable(n.Installation) != nil {
		return a, nil
	}
	store, err := openStore(n.Installation, r)
	if err != nil {
		return a, err
	}
	fenced, err := isFenced(n.DataDir)
	if err != nil {
		return a, err
	}
	if fenced || follows(n) {
		a.Until, err = reached(ctx, store)
		return a, err
	}
	f, err := follow(ctx, n, store)
	if err != nil {
		return a, err
	}
	defer f.end()
	numbers, err := binlogFiles(f.dir)
	if err != nil || len(numbers) == 0 {
		return a, err
	}
	if err = f.begin(ctx, numbers); err == nil {
		a.Until, err = f.bring(ctx, numbers, age, over)
	}
	if err == nil {
		err = f.tidy(ctx, numbers)
	}
	if err != nil {
		return engine.Archived{}, f.bound(ctx, numbers, err)
	}
	if f.Gap == nil {
		return a, nil
	}
	a.Gaps, f.Gap = []backstay.Gap{*f.Gap}, nil
	return a, f.save()
}

// Reached returns what the heads of the series say.
func (Engine) Reached(ctx context.Context, n engine.Node, r backstay.Repository) (a engine.Archived, err error) {
	store, err := openStore(n.Installation, r)
	if err != nil {
		return a, err
	}
	entries, err := store.List(ctx, archivePrefix)
	if err != nil {
		return a, err
	}
	for _, e := range entries {
		series, object := seriesIn(e.Name)
		if object != "head" {
			continue
		}
		h, err := readHead(ctx, store, series)
		if kind := backstay.KindOf(err); err != nil && kind != backstay.Invalid && kind != backstay.NotFound {
			return a, err
		}
		a.Until = later(a.Until, h.Until)
	}
	a.Gaps, err = store.Gaps(ctx)
	return a, err
}

// begin begins a series unless the files continue the one that the calls before have begun. All others are ended.
func (f *follower) begin(ctx context.Context, numbers []int) error {
	if err := f.link(ctx); err != nil {
		return err
	}
	continued, err := f.continued(ctx, numbers)
	if err != nil || continued {
		return err
	}
	if succeeds, err := f.succeed(ctx, numbers); err != nil || succeeds {
		return err
	}
	first, began := numbers[0], time.Now().UTC()
	if f.Series == "" {
		first = max(first, f.Next)
	}
	if slices.Contains(numbers, first) {
		file, _, err := inspect(f.dir, first)
		if err != nil {
			return err
		}
		began = file.created.Add(time.Second) // it was begun within that second
	}
	until, err := endAll(ctx, f.store)
	if err != nil {
		return err
	}
	f.followed = followed{Series: newSeries(time.Now()), Next: first, Boot: f.Boot}
	if f.node.Replication != nil && !until.Before(began) { // its log is older than its being the primary
		began = time.Now().UTC()
	}
	if !until.IsZero() {
		f.Gap = &backstay.Gap{From: until, Until: began}
		if err := f.store.AddGaps(ctx, []backstay.Gap{*f.Gap}); err != nil { // before a head reaches beyond it
			return err
		}
	}
	if err := putHead(ctx, f.store, f.Series, head{Last: first - 1, Until: began}); err != nil {
		return err
	}
	return f.save()
}

// continued tells whether the files continue the series: the next one is there, or none that is newer, and nobody has
// ended the series for another one. It asks the repository wherever something waits for that.
func (f *follower) continued(ctx context.Context, numbers []int) (bool, error) {
	last := numbers[len(numbers)-1]
	if f.Series == "" || f.Next > last+1 || f.Next <= last && !slices.Contains(numbers, f.Next) {
		return false, nil
	}
	if f.Next >= last {
		_, written, err := inspect(f.dir, last)
		if err == nil && !written || errors.Is(err, errTorn) {
			return true, nil // nothing waits for the repository
		}
	}
	h, err := readHead(ctx, f.store, f.Series)
	switch backstay.KindOf(err) {
	case backstay.NotFound: // the repository is another one, or nothing of it was needed
		return true, nil
	case backstay.Invalid: // whether somebody has ended it, nobody knows
		return false, nil
	}
	return !h.Ended, err
}

// bring puts all files but the one that is written to into the archive, and returns until when it reaches. Over is
// Archive's.
func (f *follower) bring(
	ctx context.Context, numbers []int, age time.Duration, over time.Time,
) (until time.Time, err error) {
	now, last := time.Now().UTC(), numbers[len(numbers)-1]
	serves, err := runs(f.dir)
	if err != nil {
		return until, err
	}
	if !serves {
		now = later(now, over)
	}
	active, until := last+1, now
	if serves {
		if active, until, err = f.active(ctx, last, now, age); err != nil {
			return until, err
		}
	}
	for f.Next < active {
		if err := f.put(ctx, now); err != nil {
			return until, err
		}
	}
	return until, nil
}

// tidy has a server remove the files that are in the archive, or are given up. It keeps one for some more calls that it
// would need after a crash.
func (f *follower) tidy(ctx context.Context, numbers []int) error {
	if numbers[0] >= f.Next {
		return nil
	}
	if serves, err := runs(f.dir); err != nil || !serves {
		return err
	}
	before := f.Next
	for kept := len(numbers) - 1; f.node.Replication != nil && kept >= 0; kept-- {
		if before = min(before, numbers[kept]); binlogSize(f.node, numbers[kept:]) > keptForNodes {
			break
		}
	}
	return purge(ctx, f.node, before)
}

// keptForNodes is how much of the log a node keeps for one that was away for a while and would need a copy without.
const keptForNodes = 64 * mb

// active returns the number of the file that a server writes to, and until when those before it reach. The last file
// is ended if it is of the age.
func (f *follower) active(
	ctx context.Context, last int, now time.Time, age time.Duration,
) (active int, until time.Time, err error) {
	file, written, err := inspect(f.dir, last)
	switch {
	case errors.Is(err, errTorn), err == nil && !written: // one that is just being made has nothing in it
		return last, now, nil
	case err != nil:
		return 0, until, err
	case now.Sub(file.created) < age:
		return last, file.created, nil
	}
	return last + 1, now, rotate(ctx, f.node)
}

// put puts the next file into the archive. A file that is torn, though the server has ended it or has written on, was
// damaged on the node's disk: the series ends before it. A server writes on behind an event of which a full disk took a
// part, if whoever waited for room was killed.
func (f *follower) put(ctx context.Context, now time.Time) error {
	file, err := readBinlog(f.dir, f.Next, func(group) bool { return true })
	if errors.Is(err, errTorn) && !file.isCut() {
		f.followed = followed{Next: f.Next + 1, Boot: f.Boot}
		return errors.Join(f.save(), backstay.Wrapf(err, backstay.Unavailable,
			"The binary log %s is damaged: the archive ends before it, and begins again behind it.", binlogFile(f.Next-1)))
	}
	if err != nil && !errors.Is(err, errTorn) {
		return err
	}
	_, err = f.store.Put(ctx, pieceOf(f.Series, f.Next), func(w io.Writer) error { return copyBinlog(f.dir, f.Next, w) })
	if err != nil {
		return err
	}
	h := head{Last: f.Next, Until: now}
	if next, _, err := inspect(f.dir, f.Next+1); err == nil {
		h.Until = next.created
	}
	if err := putHead(ctx, f.store, f.Series, h); err != nil {
		return err
	}
	f.Next++
	return f.save()
}

// bound has the server remove its binary log if the files that could not be archived, for the reason why, take too much
// room. The next call that gets through begins a series, and tells of the gap.
func (f *follower) bound(ctx context.Context, numbers []int, why error) error {
	waiting := slices.DeleteFunc(slices.Clone(numbers), func(number int) bool { return number < f.Next })
	if binlogSize(f.node, waiting) > binlogLimit(f.node.Size) {
		if err := rotate(ctx, f.node); err != nil {
			return errors.Join(why, err)
		}
		f.followed = followed{Next: numbers[len(numbers)-1] + 1, Boot: f.Boot}
		why = cmp.Or(f.save(), why)
	}
	return cmp.Or(f.tidy(ctx, numbers), why)
}

// holds tells whether a file of the binary log is in the series, or will be.
func (f *follower) holds(ctx context.Context, number int) (bool, error) {
	if number >= f.Next {
		return true, nil
	}
	piece := pieceOf(f.Series, number)
	entries, err := f.store.List(ctx, piece)
	return slices.ContainsFunc(entries, func(e repository.Entry) bool { return e.Name == piece }), err
}

// place is where the series is that continues a backup which ends at a position of the binary log.
func (f *follower) place(ctx context.Context, number int, position int64) (*place, error) {
	p := &place{Series: f.Series, Number: number, Position: position}
	_, err := readHead(ctx, f.store, f.Series)
	if backstay.KindOf(err) == backstay.NotFound { // with the last backup before
		err = putHead(ctx, f.store, f.Series, head{Last: f.Next - 1, Until: time.Now().UTC()})
	}
	return p, err
}

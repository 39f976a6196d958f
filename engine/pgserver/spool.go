package pgserver

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/atomicfile"
)

// What a server has logged waits in two directories beside its data directory, which it outlives. The server copies
// finished segments into the first, unless that is missing: then nobody archives. From there each goes, one at a time,
// into the second, where only we are at home, so that the server cannot exchange it any more while it is read.
const (
	spoolDir = "archive"
	outDir   = "archive.out"
)

// SegmentSize is that of a segment of the log.
const SegmentSize = 16 * backstay.MB

// ArchiveCommand is how the server hands over a finished segment. It never waits for the repository, so it cannot hold
// a shutdown up. Where more waits than it may, or what is left of the disk is needed for the log itself, all of that
// goes: Archive finds that segments are missing. Tenants can read the command, so there is no path of ours in it: it
// begins in the data directory.
func ArchiveCommand(n engine.Node) string {
	limit := max(backstay.GB, n.Size.Storage/10) / SegmentSize
	return fmt.Sprintf(`data=$PWD; cd ../%s 2>/dev/null || exit 0; case %%f in *.partial|*.backup) exit 0;; esac; `+
		`set -- 0*; [ $# -le %d ] && [ $(($(stat -fc '%%%%a*%%%%S' .))) -gt %d ] || rm -f "$@"; `+
		`cp --sparse=always "$data/%%p" .part && sync .part && mv .part %%f && sync .`, spoolDir, limit, 3*SegmentSize)
}

// spool is what waits to be archived of a node, with what we know of the node's archive.
type spool struct {
	in, out string
	account *engine.Account
	record  archiveRecord
	unlock  func() error
}

// archiveRecord is kept beside what waits.
type archiveRecord struct {
	Server   int            `json:"server"`   // the node's, as the repository counts them; 0: no backup has told yet
	Last     string         `json:"last"`     // the newest segment in the repository
	Told     string         `json:"told"`     // the newest that the head of the archive knows
	Until    time.Time      `json:"until"`    // what had ended by then is in the repository
	Snapshot string         `json:"snapshot"` // of the transactions that had not, as the server writes it
	Switched time.Time      `json:"switched"` // when a segment was last finished because of its age
	Pending  *finished      `json:"pending,omitempty"`
	Gaps     []backstay.Gap `json:"gaps,omitempty"` // that nobody was told of yet
}

// finished is a segment that was finished because of its age.
type finished struct {
	Segment  string    `json:"segment"`
	Until    time.Time `json:"until"` // what had ended by then is in it, or before it
	Snapshot string    `json:"snapshot"`
}

const recordName = "record.json"

// openSpool returns the spool of a node. Until close, it is nobody else's: Archive goes on while Backup does.
func openSpool(ctx context.Context, n engine.Node) (*spool, error) {
	dir := filepath.Dir(n.DataDir)
	s := &spool{in: filepath.Join(dir, spoolDir), out: filepath.Join(dir, outDir), account: n.Account}
	for path, owner := range map[string]*engine.Account{s.in: n.Account, s.out: nil} {
		if err := makeOwned(path, owner, n.DataDir); err != nil {
			return nil, err
		}
	}
	var err error
	if s.unlock, err = engine.LockDir(ctx, s.out); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(s.out, recordName))
	if err == nil {
		err = json.Unmarshal(text, &s.record)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(err, s.unlock())
	}
	return s, nil
}

// MakeSpool has the server of a node hand over what it logs from now on.
func MakeSpool(ctx context.Context, n engine.Node) error {
	s, err := openSpool(ctx, n)
	if err != nil {
		return err
	}
	return s.unlock()
}

// withSpool does something with the spool of the tool's node.
func (t *pgBackRest) withSpool(ctx context.Context, do func(*spool) error) error {
	s, err := openSpool(ctx, t.node)
	if err != nil {
		return err
	}
	return errors.Join(do(s), s.unlock())
}

// makeOwned makes a directory that nobody but its owner can use, unless the one beside that it is for is missing: the
// disk of both may have been taken away, and this be where it was.
func makeOwned(path string, owner *engine.Account, beside string) error {
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	if _, err := os.Lstat(beside); err != nil {
		return err
	}
	made := path + ".part"
	if err := os.RemoveAll(made); err != nil {
		return err
	}
	uid, gid := owner.IDs()
	return errors.Join(os.Mkdir(made, 0o700), os.Lchown(made, uid, gid), os.Rename(made, path))
}

func (s *spool) save() error {
	text, err := json.Marshal(s.record)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(s.out, recordName), text, 0o600)
}

// backedUp notes that there is a backup, and that the archive reaches its beginning at least.
func (s *spool) backedUp(set backupSet) error {
	if has := set.hasAllOf(); s.record.Until.Before(has) {
		s.record.Until = has
	}
	return s.save()
}

// archivable matches what is archived: segments of the log, and what is said of a new timeline.
var archivable = regexp.MustCompile(`^(?:[0-9A-F]{24}|[0-9A-F]{8}\.history)$`)

// waiting returns the names of what waits, the oldest first.
func (s *spool) waiting() (names []string, err error) {
	for _, dir := range []string{s.out, s.in} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if archivable.MatchString(e.Name()) {
				names = append(names, e.Name())
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// take moves what waits under that name to where only we are at home. It is fs.ErrNotExist if it does not wait any
// more.
func (s *spool) take(name string) (path string, err error) {
	path = filepath.Join(s.out, name)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.Rename(filepath.Join(s.in, name), path); err != nil {
			return "", err
		}
		info, err = os.Lstat(path)
	}
	if err != nil {
		return "", err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	mine := ok && stat.Nlink == 1 && (s.account == nil || stat.Uid == s.account.UID)
	if !info.Mode().IsRegular() || !mine {
		return "", errors.Join(fmt.Errorf("%s is not a file of the server's own", name), os.Remove(path))
	}
	return path, nil
}

// note notes that a segment is in the repository, and a gap where others are missing before it.
func (s *spool) note(name string, now time.Time) {
	if !logName.MatchString(name) || name <= s.record.Last {
		return
	}
	if last := s.record.Last; last != "" && !goesOn(last, name) {
		s.gap(now)
	}
	s.record.Last = name
	s.reach(name)
}

// reach notes that all up to the segment is in the repository.
func (s *spool) reach(name string) {
	if p := s.record.Pending; p != nil && name >= p.Segment {
		s.record.Until, s.record.Snapshot, s.record.Pending = p.Until, p.Snapshot, nil
	}
}

// conclude notes until when the archive reaches with what waits, of a server that has ended and has handed over all
// that it has logged: until now, or until it is over. If one has not that is over, the rest is lost for the archive. It
// does nothing for data that others have gone on from in this spool.
func (s *spool) conclude(n engine.Node, over time.Time) (ended bool, err error) {
	p := &finished{Until: time.Now().UTC(), Segment: s.record.Last}
	c, ended := handedOver(n)
	names, err := s.waiting()
	switch {
	case err != nil || s.isNew():
		return false, err
	case !ended && !over.IsZero():
		s.gap(over)
		return false, s.save()
	case !ended:
		return false, nil
	}
	for _, name := range names {
		if logName.MatchString(name) {
			p.Segment = max(p.Segment, name)
		}
	}
	if p.Segment != "" && p.Segment[:8] > fmt.Sprintf("%08X", c.Timeline) {
		return false, nil
	}
	for _, known := range []time.Time{over, s.record.Until} {
		if p.Until.Before(known) {
			p.Until = known
		}
	}
	s.record.Pending = p
	return true, s.save()
}

// done removes a segment, of which the record says what became.
func (s *spool) done(path string) error {
	if err := s.save(); err != nil {
		return err
	}
	return os.Remove(path)
}

// leaveOut removes a segment that does not go into the repository.
func (s *spool) leaveOut(path string) error {
	s.gap(time.Now().UTC())
	return s.done(path)
}

// isNew tells whether no backup of the node has seen the repository's stanza. The record of an earlier version of ours
// does not know the server's number.
func (s *spool) isNew() bool { return s.record.Server == 0 && s.record.Last == "" }

// gap notes that what was logged between the end of the archive and now is lost for it. Before there is a backup, there
// is nothing for it to be lost for.
func (s *spool) gap(now time.Time) {
	if s.record.Until.IsZero() {
		return
	}
	if last := len(s.record.Gaps) - 1; last >= 0 && s.record.Gaps[last].From.Equal(s.record.Until) {
		s.record.Gaps[last].Until = now
		return
	}
	s.record.Gaps = append(s.record.Gaps, backstay.Gap{From: s.record.Until, Until: now})
}

// goesOn tells whether there is nothing between two segments: they follow each other, or the later one is of a timeline
// that a standby has begun where the earlier one ends, or before. It begins with a copy of what it goes on from.
func goesOn(last, name string) bool {
	next := following(last)
	return name == next || name[:8] > next[:8] && name[8:] <= next[8:]
}

// following returns the name of the segment that comes after the named one.
func following(name string) string {
	var timeline, log, segment uint32
	if _, err := fmt.Sscanf(name, "%08X%08X%08X", &timeline, &log, &segment); err != nil {
		return ""
	}
	const perLog = uint32(4 * backstay.GB / SegmentSize)
	if segment++; segment == perLog {
		log, segment = log+1, 0
	}
	return fmt.Sprintf("%08X%08X%08X", timeline, log, segment)
}

// handedOver tells whether the server has ended in order and has handed over all that it has logged. At its end it
// finishes the segment that it is writing. The directory is the server's: what lies there may be anything.
func handedOver(n engine.Node) (c Control, ended bool) {
	root, err := os.OpenRoot(n.DataDir)
	if err != nil {
		return c, false
	}
	defer root.Close()
	if _, err := root.Lstat("postmaster.pid"); !errors.Is(err, fs.ErrNotExist) || isFenced(root) {
		return c, false // it runs, or another node has gone on since
	}
	if c, err = ControlIn(root); err != nil || c.State != ShutDown {
		return c, false
	}
	ready, err := fs.Glob(root.FS(), "pg_wal/archive_status/*.ready")
	return c, err == nil && len(ready) == 0
}

// States of a server as its control file has them.
const (
	ShutDown           = 1 // DB_SHUTDOWNED
	ShutDownInRecovery = 2 // DB_SHUTDOWNED_IN_RECOVERY: it followed
	InArchiveRecovery  = 5 // DB_IN_ARCHIVE_RECOVERY: it follows, or was killed meanwhile, or was made to follow
)

// Control is the head of PostgreSQL's ControlFileData.
type Control struct {
	Identifier       uint64 // of the server, with all its copies that follow
	Version, Catalog uint32
	State            uint32 // what the server has been doing last
	_                [7]uint32
	Timeline         uint32 // of the last checkpoint
}

// ControlIn reads the control file of a data directory.
func ControlIn(root *os.Root) (c Control, err error) {
	file, err := root.OpenFile("global/pg_control", os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return c, err
	}
	defer file.Close()
	err = binary.Read(file, binary.NativeEndian, &c)
	return c, err
}

// openTransactions is a text that changes whenever a transaction ends that has written something.
const openTransactions = "(SELECT timeline_id FROM pg_control_checkpoint()) || ' ' || pg_current_snapshot()"

// look asks the server what has happened since the archive's end, and finishes a segment with something in it once the
// one before is that old. A server that does not answer has nothing to say.
func (s *spool) look(ctx context.Context, n engine.Node, database string, age time.Duration) error {
	err := WithAdmin(ctx, n, database, func(conn *pgx.Conn) error {
		if follows, err := IsFollowing(ctx, conn); err != nil || follows { // it ends nothing by itself
			return err
		}
		var now time.Time
		var snapshot string
		if err := conn.QueryRow(ctx, "SELECT clock_timestamp(), "+openTransactions).Scan(&now, &snapshot); err != nil {
			return err
		}
		switch {
		case s.record.Pending != nil:
			return nil
		case snapshot == s.record.Snapshot: // nothing has ended since
			s.record.Until = now.UTC()
			return nil
		case now.Sub(s.record.Switched) < age:
			return nil
		}
		return s.finish(ctx, conn, now)
	})
	if backstay.KindOf(err) == backstay.Unavailable {
		return nil
	}
	return err
}

// finish has the server finish the segment. Before, it commits nothing at all: a restore to a moment ends where a later
// commit is found.
func (s *spool) finish(ctx context.Context, conn *pgx.Conn, now time.Time) error {
	p := &finished{Until: now.UTC()}
	if _, err := conn.Exec(ctx, "SELECT pg_current_xact_id()"); err != nil {
		return err
	}
	if err := conn.QueryRow(ctx, "SELECT "+openTransactions).Scan(&p.Snapshot); err != nil {
		return err
	}
	// The end of a segment that is exactly full belongs to that one.
	if err := conn.QueryRow(ctx, "SELECT pg_walfile_name(pg_switch_wal())").Scan(&p.Segment); err != nil {
		return err
	}
	s.record.Pending, s.record.Switched = p, now.UTC()
	return s.save()
}

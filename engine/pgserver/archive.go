package pgserver

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/repository"
)

// Archive pushes what waits into the repository, also that of a node that is fenced. Where there is no backup yet that
// could be restored with it, nothing is kept.
func (s Server) Archive(
	ctx context.Context, n engine.Node, r backstay.Repository, age time.Duration, over time.Time,
) (a engine.Archived, err error) {
	if err := Salvage(ctx, n); err != nil {
		return a, err
	}
	waits, err := openSpool(ctx, n)
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, waits.unlock()) }()
	ended, err := waits.conclude(n, over) // also where the repository is away: another node may go on with the spool
	if err == nil {
		err = repository.Reachable(ctx, r)
	}
	if err != nil {
		return a, err
	}
	looked := waits.look(ctx, n, s.Database, age)
	if err := cmp.Or(s.pushWaiting(ctx, n, r, waits, ended), looked); err != nil {
		return a, err
	}
	a = engine.Archived{Until: waits.record.Until, Gaps: waits.record.Gaps}
	waits.record.Gaps = nil
	return a, waits.save()
}

// pushWaiting pushes all that waits. Most often nothing does, and no tool is needed. Where the server has ended, that
// is all that there is of it.
func (s Server) pushWaiting(
	ctx context.Context, n engine.Node, r backstay.Repository, waits *spool, ended bool,
) (err error) {
	names, err := waits.waiting()
	if err != nil || len(names) == 0 && !waits.owes() && !ended {
		return err
	}
	t, err := s.openTool(ctx, n, r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	if err := t.succeed(ctx, waits); err != nil {
		return t.blame(ctx, err)
	}
	if err := t.push(ctx, waits); err != nil {
		return t.blame(ctx, err)
	}
	if ended && waits.record.Pending != nil {
		waits.reach(waits.record.Pending.Segment) // where it is nothing of its own that waits, but its end
	}
	return t.tell(ctx, waits)
}

// push pushes all that waits, the oldest first.
func (t *pgBackRest) push(ctx context.Context, s *spool) error {
	names, err := s.waiting()
	if err != nil || len(names) == 0 {
		return err
	}
	for _, name := range names {
		path, err := s.take(name)
		if errors.Is(err, fs.ErrNotExist) { // the server has made room
			continue
		}
		if err == nil {
			err = t.pushOne(ctx, s, name, path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pushOne pushes a segment. One that is of another server than the repository's, as after a change of the major
// version, or of another history of the same one, is of no use, nor is one that no backup comes before: there is a gap
// until the next backup. The first of a node also sees that the stanza is whole: into half of one, nothing may go.
func (t *pgBackRest) pushOne(ctx context.Context, s *spool, name, path string) error {
	if s.isNew() {
		if err := t.takeUp(ctx, s); err != nil {
			return err
		}
		if err := repository.Reachable(ctx, t.repository); err != nil { // it was all the time
			return err
		}
		return s.leaveOut(path)
	}
	if err := t.leaveLine(ctx, s, name); err != nil {
		return err
	}
	_, err := t.run(ctx, false, "archive-push", path)
	code := codeOf(err)
	switch {
	case err == nil:
		s.note(name, time.Now().UTC())
		return s.done(path)
	case code == codeOther, code == codeDuplicate, code != 0 && t.hasNoStanza(ctx):
		return s.leaveOut(path)
	default:
		return err
	}
}

// hasNoStanza tells whether the repository is there and holds nothing: no backup that a segment could follow.
func (t *pgBackRest) hasNoStanza(ctx context.Context) bool {
	found, err := t.info(ctx)
	return err == nil && found.Status.Code == statusNoStanza
}

// whilePushing pushes what waits again and again while do is done, which may take hours. What cannot be pushed at the
// moment is later: pushUntil, which comes behind, says so if it never can.
func (t *pgBackRest) whilePushing(ctx context.Context, do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	for {
		select {
		case err := <-done:
			return err
		case <-time.After(time.Second):
		}
		_ = t.pushNow(ctx)
	}
}

// pushPatience is how long the server may take to hand over a segment that is finished.
const pushPatience = time.Minute

func (t *pgBackRest) pushNow(ctx context.Context) error {
	return t.withSpool(ctx, func(s *spool) error { return t.push(ctx, s) })
}

// pushUntil pushes until the segment of that name is in the repository.
func (t *pgBackRest) pushUntil(ctx context.Context, name string) error {
	patient, cancel := context.WithTimeout(ctx, pushPatience)
	defer cancel()
	last := ""
	err := wait.Until(patient, wait.Growing(10*time.Millisecond, 200*time.Millisecond), func() (again bool, err error) {
		err = t.withSpool(ctx, func(s *spool) error { // Archive may have it for longer than that
			defer func() { last = s.record.Last }()
			return t.push(ctx, s)
		})
		return err == nil && last < name, err
	})
	if err == nil && last < name {
		err = backstay.Errorf(backstay.Unavailable, "The database does not hand over what it has logged.")
	}
	return err
}

package instance

import (
	"context"
	"errors"
	"math"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper/node"
)

// A disk may neither do what it is asked for nor say that it does not: whoever asks waits in the kernel, where nothing
// interrupts it. Where an instance has nodes on two disks, one that hangs is therefore told by a write that somebody
// else waits for, and what is done on it so that the other node can serve is waited for by a bounded time only.

// errHung is that of a disk that does not answer.
var errHung error = backstay.Errorf(backstay.Unavailable, "The disk of the primary does not answer.")

// pulse is the write by which it is seen whether a disk answers.
type pulse struct {
	mu    sync.Mutex
	began time.Time // the write that has not been answered; zero: there is none
	tried time.Time // when the last one began
	hung  bool      // it was waited for in vain
}

// beat writes to dir, unless another write is under way, or began less than every ago.
func (p *pulse) beat(dir string, now time.Time, every time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.began.IsZero() || now.Sub(p.tried) < every {
		return
	}
	p.began, p.tried = now, now
	go func() {
		_ = touch(dir) // what fails is seen by who looks for that: an error is an answer
		p.mu.Lock()
		defer p.mu.Unlock()
		p.began, p.hung = time.Time{}, false
	}()
}

// giveUp has the write under way count as waited for in vain, until it is answered.
func (p *pulse) giveUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hung = !p.began.IsZero()
}

// isGivenUp tells whether the write under way was waited for in vain.
func (p *pulse) isGivenUp() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hung
}

// pending is when the write under way began; zero: there is none.
func (p *pulse) pending() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.began
}

// silent is for how long the write under way has not been answered.
func (p *pulse) silent(now time.Time) time.Duration {
	if began := p.pending(); !began.IsZero() {
		return now.Sub(began)
	}
	return 0
}

// touch returns once the disk has what it takes to know when a directory was read last. That takes no room, and nobody
// is misled by it who looks when something was changed.
func touch(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	now := []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_OMIT}}
	err = unix.UtimesNanoAt(unix.AT_FDCWD, dir, now, unix.AT_SYMLINK_NOFOLLOW)
	return errors.Join(err, f.Sync(), f.Close())
}

// access is how an instance comes to the disk of one of its places.
type access struct {
	pulse
	footing
	busy chan struct{} // holds one while something is done there
}

func newAccess() map[Place]*access {
	all := map[Place]*access{}
	for _, p := range allPlaces() {
		all[p] = &access{busy: make(chan struct{}, 1)}
	}
	return all
}

// do does one thing after the other. It is errHung where the work, and what was begun before it, has not ended after
// patience. It goes on then.
func (a *access) do(patience time.Duration, work func() error) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case a.busy <- struct{}{}:
	case <-late.C:
		return errHung
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-a.busy }()
		done <- work()
	}()
	select {
	case err := <-done:
		return err
	case <-late.C:
		return errHung
	}
}

// onDisk does work on the disk of a place. It waits for that by a bounded time if a node on another disk may take over.
func (in *Instance) onDisk(p Place, patience time.Duration, work func() error) error {
	if r := in.Record(); !r.liesApart() || !r.hasSpare() {
		patience = math.MaxInt64
	}
	return in.access[p].do(patience, work)
}

// isBusy tells whether something is done that was begun.
func (a *access) isBusy() bool { return len(a.busy) > 0 }

// liesApart tells whether the places of the instance are on two disks.
func (r Record) liesApart() bool { return r.site(firstPlace).Dir != r.site(secondPlace).Dir }

// beat has the disks of an instance that may fail over to another one write, and looks where its processes work.
func (in *Instance) beat() {
	in.lookAtFootings()
	r := in.Record()
	if !r.liesApart() || in.seen.second.process == nil {
		return
	}
	for _, p := range []Place{firstPlace, secondPlace} {
		in.access[p].beat(in.m.dir(r, p), in.m.Now(), in.m.AskEvery()/2)
	}
}

// pulsePause is between two looks whether a write was answered.
const pulsePause = 100 * time.Millisecond

// hungPatience bounds how long a disk may take to answer. On a machine where more wants to run than it has processors,
// it has more time, but never that much more than the other disk takes.
const hungPatience = 10 * time.Second

func diskPatience() time.Duration { return min(node.AnswerPatience(), hungPatience) }

// isHung tells whether the disk of a place does not answer though the other one does. One that was found to hang does
// so until it answers, whatever else wants to run by then.
func (in *Instance) isHung(p Place) bool {
	if !in.Record().liesApart() {
		return false
	}
	now, patience := in.m.Now(), diskPatience()
	switch {
	case in.access[p.other()].silent(now) >= patience/2:
		return false
	case in.access[p].silent(now) >= patience:
		in.access[p].giveUp()
	}
	return in.access[p].isGivenUp()
}

// doubtedUntil is when the disk of a place is found to hang if it does not answer before; zero: it has answered.
func (in *Instance) doubtedUntil(p Place) time.Time {
	began := in.access[p].pending()
	if began.IsZero() || !in.Record().liesApart() {
		return time.Time{}
	}
	return began.Add(diskPatience())
}

// whileDoubted returns a context that ends when the primary's disk is found to hang if it does not answer before: who
// waits for that primary need not wait any longer.
func (in *Instance) whileDoubted(ctx context.Context) (context.Context, context.CancelFunc) {
	until := in.doubtedUntil(in.Record().Place)
	if until.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, until.Sub(in.m.Now()))
}

// strike has a primary whose disk hangs do nothing any more, so that its standby takes over. What is done for it may
// hang as well, and is not waited for.
func (in *Instance) strike() error {
	s := &in.seen
	in.log.Warn("the disk of a primary does not answer; its processes are killed", "pid", s.process.PID)
	go s.leave()
	s.leave = func() {}
	if err := s.node.Strike(s.process); err != nil {
		return err
	}
	in.lose()
	s.looked = true // what still hangs in the kernel is no process that could serve
	s.ended = "The disk of the primary did not answer any more."
	in.enter(backend.Starting, "%s", s.ended)
	return nil
}

// strikeFound does what strike does to a primary that an earlier keeper has left, where it took too long to come to its
// disk. It returns that primary, if it is there, and is none that was struck. It is errHung while nobody can tell which
// it is: then the primary is looked for again.
func (in *Instance) strikeFound(ctx context.Context, n node.Node, p *process.Process) (*process.Process, error) {
	r := in.Record()
	if p == nil || in.seen.second.process == nil || r.InStep.IsZero() {
		return p, nil
	}
	in.beat()
	for until := in.m.Now().Add(2 * hungPatience); !in.isHung(r.Place); {
		if in.access[r.Place].pending().IsZero() {
			return p, nil
		}
		if in.m.Now().After(until) {
			return nil, errors.Join(errHung, p.Close())
		}
		if err := wait.Pause(ctx, pulsePause); err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	in.log.Warn("the disk of a primary does not answer; its processes are killed", "pid", p.PID)
	if err := errors.Join(n.Strike(p), p.Close()); err != nil {
		return nil, err
	}
	if err := in.openFront(ctx, r.Started); err != nil { // to find the one whose sessions hang with the primary
		in.log.Warn("the front of a primary that hangs is not told", "error", err)
	}
	in.cutFront(ctx)
	return nil, nil
}

// errSecondHung is that of the second's disk.
var errSecondHung error = backstay.Errorf(backstay.Unavailable, "The disk of the standby does not answer.")

// wantSecondDisk refuses to go to the disk of the second while that hangs, or while something is done there that was
// begun before it did.
func (in *Instance) wantSecondDisk() error {
	if p := in.Record().Place.other(); in.isHung(p) || in.access[p].isBusy() {
		return errSecondHung
	}
	return nil
}

package instance

import (
	"context"
	"errors"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/keeper/node"
)

// ask asks a process that serves whether it still does.
func (in *Instance) ask(ctx context.Context) error {
	s := &in.seen
	began := in.m.Now()
	in.beat()
	well := s.silent.IsZero() && !node.IsStopped(s.process.PID) && !in.isHung(in.Record().Place) && !in.isAdrift()
	if well && began.Sub(s.probed) < in.m.AskEvery() {
		s.asked = began // it is not asked itself each time: with many of them that costs too much
		return nil
	}
	s.probed = began
	err := in.askNode(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case <-s.process.Done():
		return in.explain()
	default:
	}
	in.gauge()
	first := s.silent.IsZero()
	in.notice(err)
	switch {
	case err == nil && !first:
		in.log.Info("an engine answers again")
		s.serves = false // what is owed is done before it is told
	case err != nil && first:
		s.silent = began
		in.log.Warn("an engine does not answer", "error", err)
	}
	// One that is about to end, or to start anew by itself, refuses for a moment.
	if err != nil && (!s.mute.IsZero() || !first) {
		in.enter(backend.Failing, "%s", silence(err))
	}
	return nil
}

// errDisk is that of a primary whose disk does not work, while another node can take over.
var errDisk error = backstay.Errorf(backstay.Unavailable, "The disk of the primary does not work.")

// askNode asks the process. A process whose disk does not work any more may answer for long from what it has in memory.
// If there is a second that lacks nothing, that is no answer. One whose disk hangs is not even asked: it might be what
// hangs next. One that serves from a disk which was taken out of the way can only be replaced.
func (in *Instance) askNode(ctx context.Context) error {
	spared := in.seen.second.process != nil && !in.Record().InStep.IsZero()
	if spared && in.isAdrift() {
		return errors.Join(errAdrift, errDisk)
	}
	if spared && in.isHung(in.Record().Place) {
		return errors.Join(errHung, errDisk)
	}
	doubted, cancel := in.whileDoubted(ctx)
	defer cancel()
	err := in.seen.node.Ask(doubted, in.seen.process)
	switch {
	case err == nil:
	case spared && in.isHung(in.Record().Place): // meanwhile
		return errors.Join(errHung, errDisk, err)
	case doubted.Err() != nil: // its disk was found to answer after all
		err = in.seen.node.Ask(ctx, in.seen.process)
	}
	if spared {
		if lost := in.m.lookForDisk(in.Record(), in.Record().Place); lost != nil {
			return errors.Join(errDisk, lost, err)
		}
		if errors.Is(in.wantData(in.seen.node), errMissing) {
			return errors.Join(errDataGone, err)
		}
	}
	return err
}

// errDataGone is that of a primary that runs on without its data, from what it has in memory and from files that have
// no name any more, while another node can take over: nothing of what it goes on to write is kept.
var errDataGone error = backstay.Wrapf(engine.ErrDamaged, backstay.Unavailable, "The data of the primary is missing.")

// askNow asks a process that serves whether it still does, and remembers the answer.
func (in *Instance) askNow(ctx context.Context) error {
	err := in.askNode(ctx)
	in.notice(err)
	return err
}

// noteDamage remembers since when the process answers that its data is damaged.
func (in *Instance) noteDamage(err error) {
	switch s := &in.seen; {
	case !errors.Is(err, engine.ErrDamaged):
		s.damaged = time.Time{}
	case s.damaged.IsZero():
		s.damaged = in.m.Now()
	}
}

// notice remembers since when the process does not serve, and how it does not.
func (in *Instance) notice(err error) {
	s := &in.seen
	s.asked = in.m.Now()
	in.noteDamage(err)
	s.stopped, s.busy = errors.Is(err, node.ErrStopped), err != nil && backstay.KindOf(err) == backstay.Busy
	switch mute := s.stopped || s.busy || errors.Is(err, node.ErrSilent) || errors.Is(err, errDisk); {
	case !mute:
		s.mute = time.Time{}
	case s.mute.IsZero():
		s.mute = s.asked
	}
	if errors.Is(err, errHung) { // for as long as its disk has not answered, it has not either
		s.mute = s.asked.Add(-in.access[in.Record().Place].silent(s.asked))
	}
	switch {
	case err == nil:
		s.silent = time.Time{}
	case s.silent.IsZero() && (s.answers || s.stopped):
		s.silent = s.asked
	}
}

// silence is what users read of an engine that does not serve any more.
func silence(err error) string {
	switch {
	case errors.Is(err, node.ErrStopped):
		return "The engine stands still: something has stopped its process. It is started again if that lasts."
	case errors.Is(err, node.ErrSilent) || backstay.KindOf(err) == backstay.Internal:
		return "The engine does not answer. It is started again if that lasts."
	}
	return backstay.SentenceOf(err)
}

// kill ends a process that hangs, or whose data is damaged, if that still is so.
func (in *Instance) kill(ctx context.Context) error {
	s := &in.seen
	err := in.askNode(ctx)
	in.notice(err)
	damaged := errors.Is(err, engine.ErrDamaged) && !in.Record().InStep.IsZero()
	if s.mute.IsZero() && !damaged {
		s.answers, s.serves = err == nil, false // it is seen whether it serves, and then told
		return nil
	}
	switch {
	case errors.Is(err, errAdrift):
		in.log.Warn("the disk of a primary was taken away below it; it is killed", "pid", s.process.PID, "since", s.silent)
	case damaged:
		in.log.Warn("the data of a primary is damaged; it is killed, and its standby is to take over", "pid", s.process.PID,
			"error", err)
	default:
		in.log.Warn("an engine has not answered for long; it is killed and started again",
			"pid", s.process.PID, "since", s.silent)
	}
	if errors.Is(err, errHung) {
		return in.strike()
	}
	s.leave()
	s.leave = func() {}
	end, why := s.node.Kill, "The engine did not answer any more. It is started again."
	if damaged {
		why = WithoutPaths(backstay.SentenceOf(err))
	}
	if errors.Is(err, errAdrift) {
		end, why = s.node.KillAdrift, "The disk of the primary was taken away while it served."
	}
	if err := end(s.process); err != nil {
		return err
	}
	if !damaged {
		in.noteFall("it did not answer any more")
	}
	in.lose()
	s.ruined, s.ended = damaged, why
	in.enter(backend.Starting, "%s", why)
	return nil
}

package node

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/process"
)

// Why the wait for a node ends before it serves.
var (
	ErrEnded   = errors.New("the engine has ended")
	ErrSilent  = errors.New("the engine does not answer")
	ErrStopped = errors.New("the engine's process is stopped") // by a signal: it will not answer
)

// Await returns when the node, whose main process is p, serves clients and its settings are in force. The error is of
// kind Unavailable where the engine ended, does not answer or is damaged, Busy where all it answers is that clients
// occupy it, and ctx's cause where that ended.
func (n Node) Await(ctx context.Context, p *process.Process) error {
	ctx, end := whileItGoes(ctx, p)
	defer end()
	err := n.comeUp(ctx)
	switch cause := context.Cause(ctx); {
	case err == nil:
		return nil
	case errors.Is(cause, ErrEnded):
		return n.Explain()
	case errors.Is(cause, ErrStopped):
		return backstay.Wrapf(cause, backstay.Unavailable, "The engine stands still: something has stopped its process.")
	case errors.Is(cause, context.DeadlineExceeded) && backstay.KindOf(err) == backstay.Busy:
		return err
	case errors.Is(cause, context.DeadlineExceeded):
		return backstay.Wrapf(errors.Join(err, cause), backstay.Unavailable, "The engine runs but does not answer.")
	case cause != nil:
		return cause
	}
	return err
}

// whileItGoes returns a context that ends with ctx, or when the process has ended or stands still: it would hold up
// whoever asks it.
func whileItGoes(ctx context.Context, p *process.Process) (during context.Context, end func()) {
	ctx, interrupt := context.WithCancelCause(ctx)
	go func() {
		for {
			select {
			case <-p.Done():
				interrupt(ErrEnded)
				return
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
				if IsStopped(p.PID) {
					interrupt(ErrStopped)
				}
			}
		}
	}()
	return ctx, func() { interrupt(nil) }
}

// DamagePatience is for how long a node is to answer that its data is damaged until that is believed.
const DamagePatience = 500 * time.Millisecond

// Diagnosis is what is known of a node that is asked again and again.
type Diagnosis struct{ damaged time.Time }

// IsFinal tells whether the node, whose latest answer is err, has said for long enough that its data is damaged.
func (d *Diagnosis) IsFinal(err error) bool {
	switch {
	case !errors.Is(err, engine.ErrDamaged):
		d.damaged = time.Time{}
	case d.damaged.IsZero():
		d.damaged = time.Now()
	default:
		return time.Since(d.damaged) >= DamagePatience
	}
	return false
}

// comeUp asks the engine again and again until it serves, or is found to be damaged, and then puts its settings in
// force.
func (n Node) comeUp(ctx context.Context) error {
	var d Diagnosis
	for delay := 2 * time.Millisecond; ; delay = min(delay*5/4, 50*time.Millisecond) {
		err := n.Engine.Probe(ctx, n.Node)
		if err == nil {
			break
		}
		if d.IsFinal(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(delay):
		}
	}
	if c, ok := n.Engine.(engine.Configurer); ok {
		return c.Configure(ctx, n.Node)
	}
	return nil
}

// Ask asks the node once whether it serves. It is ErrStopped or ErrSilent where nothing answers in time, and
// the engine's own error where it answers that it does not.
func (n Node) Ask(ctx context.Context, p *process.Process) error {
	if IsStopped(p.PID) {
		return ErrStopped
	}
	during, end := whileItGoes(ctx, p)
	defer end()
	err := n.askWithin(during, AnswerPatience())
	if cause := context.Cause(during); err != nil && errors.Is(cause, ErrStopped) {
		return cause
	}
	return err
}

func (n Node) askWithin(ctx context.Context, patience time.Duration) error {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := n.Engine.Probe(limited, n.Node)
	if ctx.Err() == nil && isTimeout(err) {
		return errors.Join(ErrSilent, err)
	}
	return err
}

// isTimeout tells whether err is of a wait for an answer. That clients hold all connections, for example, is
// an answer, however long it was tried to get one.
func isTimeout(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

// quietPatience is how long an engine may take to answer on a machine that is not busy.
const quietPatience = 2 * time.Second

// AnswerPatience is how long an engine, or a disk, may take to answer. It is longer where more wants to run than the
// machine has processors: what waits for its turn does not hang.
func AnswerPatience() time.Duration {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return quietPatience
	}
	return patienceAt(string(text), runtime.NumCPU())
}

// patienceAt is AnswerPatience for what /proc/loadavg says: "0.52 0.58 0.59 3/467 11206", of which the
// first is the average of a minute, and the fourth how many want to run now, of how many.
func patienceAt(loadavg string, processors int) time.Duration {
	fields := strings.Fields(loadavg)
	if len(fields) < 4 {
		return quietPatience
	}
	running, _, _ := strings.Cut(fields[3], "/")
	average, errAverage := strconv.ParseFloat(fields[0], 64)
	now, errNow := strconv.ParseFloat(running, 64)
	if errAverage != nil || errNow != nil {
		return quietPatience
	}
	crowd := max(average, now) / float64(processors)
	return time.Duration(float64(quietPatience) * min(max(crowd, 1), 15))
}

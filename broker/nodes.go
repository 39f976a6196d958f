package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/backstay/backstay/backend"
)

// toldFailover is the last change of the primary, as users are told of it.
type toldFailover struct {
	At  time.Time `json:"at"`
	Why string    `json:"why"`
	// Took is until the new primary took writes.
	Took string `json:"took,omitempty"`
}

// tellNodes adds what the last drill has seen, and where there are several nodes, what the backend sees of them: which
// takes writes, and whether another one can take over.
func (b *Broker) tellNodes(ctx context.Context, in Instance, s backend.Spec, told map[string]any) {
	its, err := b.backendOf(in)
	var status backend.Status
	if err == nil {
		status, err = its.Await(ctx, in.ID, 0)
	}
	if err != nil {
		b.Log.Warn("it is not known what nodes an instance has", "instance", in.ID, "error", err)
		return
	}
	if d := status.Drill; d != nil && !d.Ended.IsZero() {
		told["last_drill"] = newToldDrill(*d)
	}
	if s.Nodes < 2 {
		return
	}
	told["nodes"], told["protected"] = status.Nodes, !status.Protected.IsZero()
	if !status.Protected.IsZero() {
		told["protected_since"] = status.Protected.UTC().Truncate(time.Second)
	}
	if f := status.Failover; f != nil {
		last := toldFailover{At: f.At.UTC().Truncate(time.Second), Why: f.Why}
		if f.Took > 0 {
			last.Took = f.Took.Round(time.Millisecond).String()
		}
		told["last_failover"] = last
	}
}

// toldDrill is what the last drill has seen, as users are told of it.
type toldDrill struct {
	At        time.Time `json:"at"`
	Failed    string    `json:"writes_failed_for,omitempty"`
	Lost      *int64    `json:"acknowledged_writes_lost,omitempty"`
	Written   int64     `json:"acknowledged_writes,omitempty"`
	Node      string    `json:"node"` // that serves
	TookOver  bool      `json:"took_over"`
	Exception string    `json:"exception,omitempty"` // how far the rest can be relied on
}

func newToldDrill(d backend.Drill) toldDrill {
	told := toldDrill{At: d.Began.UTC().Truncate(time.Second), Node: d.Node, TookOver: d.Changed, Exception: d.Trouble}
	if d.Written > 0 {
		told.Failed, told.Lost, told.Written = d.Failed.Round(time.Millisecond).String(), &d.Lost, d.Written
	}
	return told
}

// DrillSentence is what a drill has seen, in words.
func DrillSentence(d backend.Drill) string {
	what := "The service instance was restarted"
	if d.Changed {
		what = "The standby took over"
	}
	if d.Written == 0 {
		return strings.TrimSpace(fmt.Sprintf("%s, and node %s went on. It was not seen for how long writes failed. %s",
			what, d.Node, d.Trouble))
	}
	writes := "writes were"
	if d.Lost == 1 {
		writes = "write was"
	}
	return strings.TrimSpace(fmt.Sprintf("%s: writes failed for %.2f s, %d acknowledged %s lost, and node %s went on. %s",
		what, d.Failed.Seconds(), d.Lost, writes, d.Node, d.Trouble))
}

// drillPatience is how long an operation that is done waits for what was seen of it.
const drillPatience = time.Minute

// awaitDrill returns the status of an instance that has served once the drill has ended that looked at how it came to
// the operation's generation, if there is one. A drill that takes too long is told by the instance later, and not by
// the operation.
func (b *Broker) awaitDrill(ctx context.Context, in Instance, op Operation, s backend.Status) (backend.Status, error) {
	its, err := b.backendOf(in)
	if err != nil {
		return s, err
	}
	limited, cancel := context.WithTimeoutCause(ctx, drillPatience, errOutOfTime)
	defer cancel()
	for s.Drill != nil && s.Drill.Generation == op.Generation && s.Drill.Ended.IsZero() {
		next, err := its.Await(limited, in.ID, s.Revision)
		if err != nil {
			if errors.Is(context.Cause(limited), errOutOfTime) {
				return s, nil
			}
			return s, err
		}
		s.Drill, s.Revision = next.Drill, next.Revision // what else there is may be of a moment in which it does not serve
	}
	return s, nil
}

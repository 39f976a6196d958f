package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/wait"
)

// Redis does one thing at a time. A script, or a function, that runs for longer than scriptLimit it goes on with, for
// ever if need be and whether its client is still there or not, and answers BUSY to everybody else. Then whoever
// administers it may end the script, unless that has written: half of it must not be kept. A script can also hide in
// one call that never ends, a search for a pattern for instance, so that nobody is answered at all.
const scriptLimit = 5 * time.Second

// hangLimit is how long a server may answer nobody, for whatever reason, before it is to be ended: its data is
// whole then, without what the script has written.
const hangLimit = 30 * time.Second

// dropLimit is how long a server that is busy with scripts may keep a user from being dropped before it is ended.
const dropLimit = 8 * time.Second

// isBusy tells whether the server answers that it runs a script and does nothing else.
func isBusy(err error) bool { return redis.HasErrorPrefix(err, "BUSY ") }

// answers asks the server for nothing. PING would be refused while the disk is full.
func answers(ctx context.Context) func(*redis.Client) error {
	return func(c *redis.Client) error { return c.Echo(ctx, "").Err() }
}

// endScript ends the script or function that the server is busy with, if it is one that can be ended, which takes
// a moment.
func endScript(ctx context.Context, c *redis.Client) {
	c.ScriptKill(ctx) // of the two, one answers that there is nothing of its kind to end
	c.FunctionKill(ctx)
	wait.Pause(ctx, 5*time.Millisecond)
}

// Tend sees to it that nothing that a user runs keeps the server from everybody else for long. Who it was, the
// server does not tell.
func (e Engine) Tend(ctx context.Context, n engine.Node, _ string) (now string, mended []string, err error) {
	patient, cancel := context.WithTimeout(ctx, e.patience())
	defer cancel()
	err = withOperator(patient, n, answers(patient))
	if ctx.Err() != nil || !isBusy(err) && !isTimeout(err) {
		return "asked", nil, err
	}
	writeAndEnd(ctx, n)
	return "", nil, fmt.Errorf("%w: %w", engine.ErrStuck, backstay.Wrapf(err, backstay.Unavailable,
		"The database had answered nobody for %v, because of what a client had asked of it.", e.patience()))
}

func (e Engine) patience() time.Duration {
	if e.Patience > 0 {
		return e.Patience
	}
	return hangLimit
}

// writeAndEnd has a server that is busy with a script write what it has told clients is written, and end. The next
// script may have begun, so that it takes a while to hear of that. One that answers nobody is for the caller to end.
func writeAndEnd(ctx context.Context, n engine.Node) {
	ctx, cancel := context.WithTimeout(ctx, scriptLimit+time.Second)
	defer cancel()
	c, err := operatorClient(n)
	if err != nil {
		return
	}
	defer c.Close()
	c.Do(ctx, "SHUTDOWN", "NOSAVE") // it ends without an answer
}

// isTimeout tells whether the time that the caller gave was over before there was an answer.
func isTimeout(err error) bool {
	var e net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &e) && e.Timeout()
}

// inWords gives an error that can be named a sentence for the person who asked.
func inWords(err error) error {
	if err == nil || backstay.KindOf(err) != backstay.Internal {
		return err
	}
	sentence := ""
	switch {
	case isBusy(err):
		sentence = "A script of a client keeps the database from everything else. Try again in half a minute."
	case redis.HasErrorPrefix(err, "LOADING "):
		sentence = "The database is still reading its data."
	case redis.HasErrorPrefix(err, "MISCONF "), redis.HasErrorPrefix(err, "There was an error trying to save the ACLs"):
		sentence = "The database cannot write to its disk: it is full, or broken."
	case redis.HasErrorPrefix(err, "OOM "):
		sentence = "The memory of the database is full."
	case isTimeout(err):
		sentence = "The database did not answer in time."
	case turnedAway(err) || isNoServer(err):
		sentence = "The database does not answer."
	default:
		return err
	}
	return backstay.Wrapf(err, backstay.Unavailable, "%s", sentence)
}

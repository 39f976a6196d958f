package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
	"github.com/backstay/backstay/internal/wait"
)

// Copy makes a data directory with nothing in it: the primary sends all it has to a node that starts with that.
func (Engine) Copy(_ context.Context, primary, to engine.Node, progress func(string)) error {
	if err := readsFrom(primary, to); err != nil {
		return err
	}
	progress("the data is copied as the node starts.")
	uid, gid := to.Account.IDs()
	return makeDataOf(to, func(dir string) error { return datadir.Fill(dir, uid, gid, emptyFiles()) })
}

// readsFrom refuses a node whose server does not read what the primary's sends.
func readsFrom(primary, n engine.Node) error {
	sender := writer{productOf(primary.Installation).name, primary.Installation.Version}
	return sender.readableFor(n.Installation)
}

// Follows asks the node before the primary, which is further then. A node streams only once it has in its files what it
// was sent as a whole, and knows the primary's users: otherwise it would lose the one in a restart, and the other when
// it is promoted. Until then it is behind by what is left to do of that.
func (Engine) Follows(ctx context.Context, primary, n engine.Node) (f engine.Following, err error) {
	has, err := linkOf(ctx, n)
	if err != nil {
		return f, fmt.Errorf("ask the node: %w", err)
	}
	sends, err := linkOf(ctx, primary)
	if err != nil {
		return f, fmt.Errorf("ask the primary: %w", err)
	}
	f.Lag = has.silent
	if !has.hasCopy() || has.history != sends.history {
		f.Behind = has.toLoad(sends.memory)
		return f, nil
	}
	f.Behind = backstay.Bytes(max(sends.offset-has.received, 0))
	f.End, f.Read = sends.offset, has.received
	seen, listed := sends.nodes[n.Replication.Name]
	if has.primary || !sends.primary || !has.up || !listed || !seen.online {
		return f, nil
	}
	if f.Lag = 0; f.Behind > 0 {
		if f.Lag, err = lagOf(ctx, n, sends, seen); err != nil {
			return f, err
		}
	}
	settled, err := isSettled(n)
	if err != nil || !settled || !has.logs {
		f.Behind += has.toSave()
		return f, err
	}
	f.Streams, err = haveSameUsers(ctx, primary, n)
	return f, err
}

// lagOf is how long a node takes to have what the primary had just now. The log has no times; where that takes longer
// than a glance, it is since the node has last said how far it is, which it does each second.
func lagOf(ctx context.Context, n engine.Node, end linkState, seen linkedNode) (time.Duration, error) {
	const glance = 50 * time.Millisecond
	began := time.Now()
	short, cancel := context.WithTimeout(ctx, glance)
	defer cancel()
	err := reach(short, n, end)
	took := time.Since(began)
	if err != nil && ctx.Err() == nil {
		return max(took, seen.silent), nil
	}
	return took, err
}

// Await returns once the node has said that it has what there was when this began. Nothing is put in force: the server
// acknowledges a write before the node has it. It could refuse writes while no node follows (min-replicas-to-write),
// which would spare clients no loss of the last moment, and would have them suffer whenever the standby is away.
func (Engine) Await(ctx context.Context, primary engine.Node) error {
	name := primary.Replication.Awaits
	if name == "" {
		return nil
	}
	err := withOperator(ctx, primary, func(c *redis.Client) error {
		began, err := askLink(ctx, c)
		if err != nil {
			return err
		}
		return awaitMore(ctx, c, name, began.offset)
	})
	if err != nil {
		return fmt.Errorf("await node %q: %w", name, err)
	}
	return nil
}

// awaitMore returns once the node has said that it has more of the log than that: it says so each second, and at once
// when it is asked, which is part of the log.
func awaitMore(ctx context.Context, c *redis.Client, name string, than int64) error {
	return wait.Until(ctx, wait.Every(10*time.Millisecond), func() (again bool, err error) {
		now, err := askLink(ctx, c)
		if err != nil {
			return false, err
		}
		if node := now.nodes[name]; node.online && node.received > than {
			return false, nil
		}
		const ask = 100 // milliseconds in which all are to answer
		if err := c.Do(ctx, "WAIT", max(len(now.nodes), 1), ask).Err(); err != nil {
			return false, err
		}
		return true, errNotFollowing
	})
}

var errNotFollowing error = backstay.Errorf(backstay.Unavailable, "The standby does not follow.")

// handOverLimit is how long HandOver keeps clients from writing, within which the caller ends the primary. If it does
// not, they go on afterwards.
const handOverLimit = 10 * time.Second

// HandOver keeps clients from writing until the standby has what they have written. The server waits for nobody when it
// ends then.
func (e Engine) HandOver(ctx context.Context, primary, standby engine.Node) (err error) {
	f, err := e.Follows(ctx, primary, standby)
	if err == nil && !f.Streams {
		err = errNotFollowing
	}
	if err != nil {
		return fmt.Errorf("hand over: %w", err)
	}
	var end linkState
	err = withOperator(ctx, primary, func(c *redis.Client) (err error) {
		if err := c.Do(ctx, "CLIENT", "PAUSE", handOverLimit.Milliseconds(), "WRITE").Err(); err != nil {
			return err
		}
		if err := c.ConfigSet(ctx, endingSetting, "0").Err(); err != nil {
			return err
		}
		end, err = askLink(ctx, c)
		return err
	})
	if err == nil {
		err = reach(ctx, standby, end)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("hand over: %w", err), goOn(ctx, primary))
	}
	return nil
}

// reach returns once the node has all that the primary has.
func reach(ctx context.Context, n engine.Node, end linkState) error {
	return withOperator(ctx, n, func(c *redis.Client) error {
		return wait.Until(ctx, wait.Every(time.Millisecond), func() (again bool, err error) {
			now, err := askLink(ctx, c)
			if err != nil || !now.up || now.history != end.history {
				return false, errors.Join(err, errNotFollowing)
			}
			if now.received < end.offset {
				return true, errNotFollowing
			}
			return false, nil
		})
	})
}

// goOn undoes what HandOver has done to the primary, though the context of that may have ended.
func goOn(ctx context.Context, primary engine.Node) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	return withOperator(ctx, primary, func(c *redis.Client) error {
		return errors.Join(c.Do(ctx, "CLIENT", "UNPAUSE").Err(), c.ConfigSet(ctx, endingSetting, endingTime(primary)).Err())
	})
}

// Promote makes the node a primary on its disk first: one that is ended in between is started as what it is to be. But
// for whom it follows, its configuration is that of a primary already.
func (e Engine) Promote(ctx context.Context, n engine.Node) error {
	if err := e.Ready(ctx, n); err != nil {
		return fmt.Errorf("promote: %w", err)
	}
	if err := unfence(n); err != nil {
		return fmt.Errorf("promote: %w", err)
	}
	err := withOperator(ctx, n, func(c *redis.Client) error {
		return c.Do(ctx, "REPLICAOF", "NO", "ONE").Err()
	})
	if err != nil {
		return fmt.Errorf("promote: %w", err)
	}
	return nil
}

// Ready returns once the node has executed all that the primary has sent until its end, and has it on its disk; or, of
// one that was a primary itself and is fenced, once it has read its own data.
func (Engine) Ready(ctx context.Context, n engine.Node) error {
	mark, err := readMark(n.DataDir)
	if err != nil {
		return err
	}
	return withOperator(ctx, n, func(c *redis.Client) error {
		if err := sever(ctx, c); err != nil {
			return err
		}
		return wait.Until(ctx, wait.Every(time.Millisecond), func() (again bool, err error) {
			now, err := askLink(ctx, c)
			switch {
			case err != nil:
				return false, err
			case now.primary && now.logs:
				return false, nil
			case now.primary:
				return true, errNotReady
			case now.up:
				return true, backstay.Errorf(backstay.Unavailable, "The node still follows a primary.")
			case mark != fencedNote && !now.mayLead():
				return false, engine.ErrBehind
			}
			settled, err := isSettled(n)
			if err != nil || settled && now.logs {
				return false, err
			}
			return true, errNotReady
		})
	})
}

// sever ends the connection to a primary that has ended, where nobody has closed it: a process that was killed keeps it
// for as long as its disk does not answer. The node has read it to its end if it has come no further for a moment.
func sever(ctx context.Context, c *redis.Client) error {
	const closing = 100 * time.Millisecond
	var read int64 = -1
	var since time.Time
	err := wait.Until(ctx, wait.Every(time.Millisecond), func() (again bool, err error) {
		now, err := askLink(ctx, c)
		if err != nil || now.primary || !now.up {
			return false, err
		}
		if now.received != read {
			read, since = now.received, time.Now()
		}
		if time.Since(since) < closing {
			return true, errNotReady
		}
		return false, errNeverClosed
	})
	if !errors.Is(err, errNeverClosed) {
		return err
	}
	if err := c.Do(ctx, "CLIENT", "KILL", "TYPE", "master").Err(); err != nil {
		return err
	}
	return awaitReturn(ctx, c)
}

// awaitReturn returns once the node follows again, or would if its primary had not ended: it tries that each second.
func awaitReturn(ctx context.Context, c *redis.Client) error {
	patience := time.Now().Add(1500 * time.Millisecond)
	return wait.Until(ctx, wait.Every(10*time.Millisecond), func() (again bool, err error) {
		now, err := askLink(ctx, c)
		return err == nil && !now.up && time.Now().Before(patience), err
	})
}

var errNeverClosed = errors.New("nobody has closed the connection to the primary")

var errNotReady error = backstay.Errorf(backstay.Unavailable, "The node is still reading its data, or writing it.")

// followAnother has a running node that follows follow whom its configuration names, if that is another one.
func followAnother(ctx context.Context, c *redis.Client, n engine.Node) (restart bool, err error) {
	if n.Replication == nil || n.Replication.Follows == nil {
		return false, nil
	}
	now, err := askLink(ctx, c)
	if err != nil {
		return false, err
	}
	to := *n.Replication.Follows
	switch {
	case now.primary: // it has data that nobody else may have
		return true, nil
	case now.host == to.Address && now.port == strconv.Itoa(to.Port):
		return false, nil
	}
	return false, c.Do(ctx, "REPLICAOF", to.Address, to.Port).Err()
}

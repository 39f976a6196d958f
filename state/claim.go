package state

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/backstay/backstay"
)

// claim is the right of one process to serve the state database: to change its schema and to run its jobs.
// It is an advisory lock of a connection that does nothing else, so it ends with the process, whatever ends
// that, and at once.
type claim struct{ conn *pgx.Conn }

// claimLock is the advisory lock of whoever serves the database; any constant will do.
const claimLock = 0x7365727665 // "serve"

const (
	// claimPatience is how long the claim of a process that has just been killed may take to end.
	claimPatience = 2 * time.Second
	// pulse is how often a claim is tried, and how long the database may take to answer: a network that is
	// gone tells nobody.
	pulse = 5 * time.Second
)

// newClaim claims the database. It is InUse, with a sentence that names who has the claim, while another
// process has it.
func newClaim(ctx context.Context, database *pgx.ConnConfig) (*claim, error) {
	cfg := database.Copy()
	cfg.RuntimeParams["application_name"] = claimant()
	// Where the server is on another machine and ours vanishes from the network, the lock must end in time,
	// but not before our pulse has told us.
	for name, value := range map[string]string{"idle": "15", "interval": "5", "count": "3"} {
		cfg.RuntimeParams["tcp_keepalives_"+name] = value
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, unanswered(err)
	}
	c := &claim{conn: conn}
	if err := c.take(ctx); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// unanswered tells a server that does not answer, which may end by itself, as where another one takes its place, from
// one that refuses us.
func unanswered(err error) error {
	var failed *pgconn.ConnectError
	var refusal *pgconn.PgError
	if !errors.As(err, &failed) || errors.As(err, &refusal) && !pgerrcode.IsOperatorIntervention(refusal.Code) {
		return err
	}
	return backstay.Wrapf(err, backstay.Unavailable, "The state database does not answer.")
}

// claimant is what others read of who has the claim.
func claimant() string {
	host, err := os.Hostname()
	if err != nil {
		host = "?"
	}
	const longest = 63 // bytes of a name in PostgreSQL; the process goes first, so that it is never cut off
	name := fmt.Sprintf("backstay serve, process %d on %s", os.Getpid(), host)
	return name[:min(len(name), longest)]
}

func (c *claim) take(ctx context.Context) error {
	limit := fmt.Sprintf(`SET lock_timeout = %d`, claimPatience.Milliseconds())
	if _, err := c.conn.Exec(ctx, limit); err != nil {
		return err
	}
	_, err := c.conn.Exec(ctx, `SELECT pg_advisory_lock($1)`, int64(claimLock))
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == pgerrcode.LockNotAvailable {
		return c.refusal(ctx)
	}
	return err
}

// refusal tells who has the claim.
func (c *claim) refusal(ctx context.Context) error {
	var holder string
	err := c.conn.QueryRow(ctx, `
		SELECT coalesce(a.application_name, '') || coalesce(' (' || host(a.client_addr) || ')', '')
		FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		WHERE l.locktype = 'advisory' AND l.granted
			AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
			AND l.classid::bigint << 32 | l.objid::bigint = $1`, int64(claimLock)).Scan(&holder)
	if err != nil { // it has gone meanwhile, or may not be seen
		holder = "another Backstay"
	}
	return backstay.Errorf(backstay.InUse,
		"The state database is served already, by %s: two would take each other's jobs. Stop that one first, or name "+
			"another database.", holder)
}

// takeJobsBack puts back what is noted as running. Whoever has the claim and runs nothing yet knows that nobody
// runs it; the queue itself never could, since our jobs have no time limit. It asks over the claim's connection:
// those of a pool may be of a server that has ended.
func (c *claim) takeJobsBack(ctx context.Context) error {
	_, err := c.conn.Exec(ctx, `UPDATE `+jobSchema+`.river_job SET state = 'available', scheduled_at = now()
		WHERE state = 'running'`)
	return err
}

// blame tells the loss of the claim, which is waited for, from another error.
func (c *claim) blame(ctx context.Context, cause error) (lost, err error) {
	if c.conn.Ping(ctx) != nil {
		return cause, nil
	}
	return nil, cause
}

// watch returns why the claim was lost, or ctx's error.
func (c *claim) watch(ctx context.Context) error {
	for {
		if err := c.rest(ctx); err != nil {
			return err
		}
		answer, cancel := context.WithTimeout(ctx, pulse)
		err := c.conn.Ping(answer)
		cancel()
		if err != nil {
			return err
		}
	}
}

// rest lasts for a pulse, or until the server closes the connection, whose error it then returns.
func (c *claim) rest(ctx context.Context) error {
	rest, cancel := context.WithTimeout(ctx, pulse)
	defer cancel()
	for {
		_, err := c.conn.WaitForNotification(rest)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case c.conn.IsClosed():
			return err
		case rest.Err() != nil:
			return nil
		}
	}
}

// close ends the claim.
func (c *claim) close() {
	if c == nil {
		return
	}
	limited, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c.conn.Close(limited) // it is over either way: the server frees the lock of a connection that is gone
}

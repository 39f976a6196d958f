package postgres

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"time"
	_ "time/tzdata" // which not every machine has

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/pgserver"
)

const (
	// foreign is the database of a server that others run which they use themselves, and in which no binding may
	// connect. So its advisory locks are the administrator's alone.
	foreign = "postgres"
	// edited is a parameter that says which of our configurations the server has read.
	edited = "backstay.edition"
	// guests is how many connections are kept free besides for whoever runs the server.
	guests = 5
)

// Hosting leaves out what whoever runs a server decides: where it listens, what it archives and where it logs.
func (Engine) Hosting(n engine.Node) (engine.Hosting, error) {
	chosen, err := parseSettings(n)
	if err != nil {
		return engine.Hosting{}, err
	}
	if err := checkZone(chosen.chosen); err != nil {
		return engine.Hosting{}, err
	}
	h := engine.Hosting{Parameters: map[string]string{}, Libraries: []string{"pgextwlist"}, Rules: foreignRules(n)}
	groups := [][]setting{hostedNetwork(n), memory(n.Size), durability(n.Size), hostedLog(), hostedFollowing(n),
		hostedLogging(), {{"extwlist.extensions", pgserver.QuoteList(chosen.Extensions)}},
		tuningLines(n.Installation, chosen.chosen)}
	for _, s := range slices.Concat(groups...) {
		h.Parameters[s.name] = s.value
	}
	all, err := json.Marshal(h)
	if err != nil {
		return engine.Hosting{}, err
	}
	h.Edition = fmt.Sprintf("%x", sha256.Sum256(all))[:16]
	h.Parameters[edited] = h.Edition
	return h, nil
}

// checkZone refuses a time zone that nobody knows. A server that is here is asked itself; elsewhere it would not start.
func checkZone(all []engine.Chosen) error {
	for _, c := range all {
		if c.Name != "timezone" {
			continue
		}
		if _, err := time.LoadLocation(c.Value); err != nil || c.Value == time.Local.String() {
			return backstay.Errorf(backstay.Invalid, "Setting timezone cannot be %q: there is no time zone of that name.",
				c.Value)
		}
	}
	return nil
}

// CheckRunning asks for extensions that are to be there, and for what depends on those that are to go.
func (Engine) CheckRunning(ctx context.Context, n engine.Node) error {
	chosen, err := parseSettings(n)
	if err != nil {
		return err
	}
	if err := checkInstalled(ctx, n, chosen.EnableExtensions); err != nil {
		return err
	}
	return checkDisabled(ctx, n, chosen.DisableExtensions)
}

func hostedNetwork(n engine.Node) []setting {
	kept := reserve + guests
	return []setting{
		{"max_connections", strconv.Itoa(n.Size.Connections + kept)},
		{"superuser_reserved_connections", strconv.Itoa(kept)},
		{"max_locks_per_transaction", strconv.Itoa(locksPerTransaction(n.Size))},
		{"password_encryption", "scram-sha-256"},
		{"authentication_timeout", "20s"},
		{"ssl_min_protocol_version", "TLSv1.2"},
	}
}

// hostedLog keeps no more of the log than a small volume has room for. A node that has lost its primary looks for it
// again soon: clients of an instance of two wait for that.
func hostedLog() []setting {
	return []setting{{"wal_keep_size", "64MB"}, {"wal_retrieve_retry_interval", "500ms"}}
}

// hostedFollowing has a node that follows wait for who reads from it for as long as ours do.
func hostedFollowing(n engine.Node) []setting {
	if n.Replication == nil {
		return nil
	}
	return []setting{{"hot_standby_feedback", "on"}, {"max_standby_streaming_delay", "5s"}}
}

// hostedLogging is what of logging does not say where the log goes.
func hostedLogging() []setting {
	return slices.DeleteFunc(logging(), func(s setting) bool {
		return slices.Contains([]string{"logging_collector", "log_destination", "log_line_prefix"}, s.name)
	})
}

// foreignRules let the administrator in by a password, since there is no other way, and nobody else into any other
// database than that of bindings. The role admin is not the administrator's here, see engine.Hosting.
func foreignRules(n engine.Node) []string {
	rules := []string{
		"hostnossl all all all reject",
		"hostssl all " + admin + " all reject",
		"hostssl " + database + "," + foreign + " " + foreign + " all scram-sha-256",
	}
	if len(n.Ports) > 0 {
		rules = append(rules, "hostssl "+database+" all all scram-sha-256")
	}
	return append(rules, "host all all all reject")
}

// Secure asks the server for TLS, which answers with one letter.
func (Engine) Secure(ctx context.Context, conn net.Conn, config *tls.Config) (*tls.Conn, error) {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })
	defer stop()
	if _, err := conn.Write([]byte{0, 0, 0, 8, 4, 210, 22, 47}); err != nil {
		return nil, err
	}
	answer := make([]byte, 1)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return nil, err
	}
	if answer[0] != 'S' {
		return nil, errors.New("the server does not speak TLS")
	}
	secured := tls.Client(conn, config)
	return secured, secured.HandshakeContext(ctx)
}

// checkInstalled is Unsupported for extensions that the running server does not have. Where it cannot be asked, it
// refuses nothing.
func checkInstalled(ctx context.Context, n engine.Node, names []string) error {
	if len(names) == 0 || n.Admin.Dial == nil {
		return nil
	}
	var missing []string
	err := withAdmin(ctx, n, func(conn *pgx.Conn) error {
		const query = "SELECT n FROM unnest($1::text[]) n WHERE n NOT IN (SELECT name FROM pg_available_extensions)"
		rows, err := conn.Query(ctx, query, names)
		if err != nil {
			return err
		}
		missing, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil || len(missing) == 0 {
		return nil
	}
	return backstay.Errorf(backstay.Unsupported,
		"%s cannot be enabled: it is not installed where the server runs.", missing[0])
}

// Establish makes database main as the last thing but the walls, whose edition is the last thing of all. Only one does
// so at a time.
func (Engine) Establish(ctx context.Context, n engine.Node) error {
	s, err := parseSettings(n)
	if err != nil {
		return err
	}
	return pgserver.WithAdmin(ctx, n, foreign, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock(hashtext('backstay'))"); err != nil {
			return err
		}
		if err := hideForeign(ctx, conn); err != nil {
			return fmt.Errorf("hide what the administrator asks: %w", err)
		}
		if err := makeMain(ctx, conn, s.locale); err != nil {
			return fmt.Errorf("make the database: %w", err)
		}
		return withAdmin(ctx, n, func(conn *pgx.Conn) error { return buildWalls(ctx, conn) })
	})
}

// hideForeign has the server show nobody what sessions of the administrator are at. Tenants see what all are at, and
// whoever starts the server tells it passwords by statements, each of which lasts until a standby has it.
func hideForeign(ctx context.Context, conn *pgx.Conn) error {
	var hidden bool
	err := conn.QueryRow(ctx, "SELECT coalesce('track_activities=off' = ANY (rolconfig), false) FROM pg_roles "+
		"WHERE rolname = '"+foreign+"'").Scan(&hidden)
	if err != nil || hidden {
		return err
	}
	_, err = conn.Exec(ctx, "ALTER ROLE "+foreign+" SET track_activities = off")
	return err
}

func makeMain(ctx context.Context, conn *pgx.Conn, locale string) error {
	var hasMain, hasOwner bool
	err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = '"+database+"'), "+
		"EXISTS (SELECT FROM pg_roles WHERE rolname = '"+owner+"')").Scan(&hasMain, &hasOwner)
	if err != nil || hasMain {
		return err
	}
	if !hasOwner {
		if _, err := conn.Exec(ctx, rolesSQL); err != nil { // one transaction
			return err
		}
	}
	// Not from foreign: an operator's own roles connect there, as for pg_rewind, by rules before ours.
	if _, err = conn.Exec(ctx, "REVOKE ALL ON DATABASE template1 FROM PUBLIC"); err != nil {
		return err
	}
	create := "CREATE DATABASE " + database + " TEMPLATE template0 STRATEGY file_copy ENCODING 'UTF8' LOCALE 'C.UTF-8'"
	if locale != "" {
		create += " LOCALE_PROVIDER icu ICU_LOCALE " + quoteText(locale)
	}
	_, err = conn.Exec(ctx, create)
	return err
}

// buildWalls runs what Prepare's data directories have in them, unless it was run: Configure brings it up to date.
func buildWalls(ctx context.Context, conn *pgx.Conn) error {
	has, err := triggerComment(ctx, conn, "backstay_read_only")
	if err != nil || has != "" {
		return err
	}
	_, err = conn.Exec(ctx, rightsSQL+"\n"+walls())
	return err
}

const stored = `SELECT ((SELECT sum(pg_database_size(oid)) FROM pg_database) +
    (SELECT coalesce(sum(size), 0) FROM pg_ls_waldir()) -
    (SELECT count(*) * pg_size_bytes(current_setting('wal_segment_size'))
     FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'))::bigint`

// Stored leaves out what is the same in every server, such as its programs.
func (Engine) Stored(ctx context.Context, n engine.Node) (used backstay.Bytes, err error) {
	err = pgserver.WithAdmin(ctx, n, foreign, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, stored).Scan(&used)
	})
	return max(0, used), err
}

// observation asks for all that Observe tells, as JSON: the server, and who follows it.
const observation = `SELECT jsonb_build_object(
    'Edition', coalesce(current_setting('` + edited + `', true), ''),
    'Restart', EXISTS (SELECT FROM pg_settings WHERE pending_restart),
    'Started', pg_postmaster_start_time(),
    'Protected', current_setting('synchronous_standby_names') <> '' AND EXISTS (
        SELECT FROM pg_stat_replication WHERE state = 'streaming' AND sync_state IN ('sync', 'quorum')),
    'Followers', (SELECT coalesce(jsonb_agg(jsonb_build_object(
            'Name', application_name,
            'InStep', state = 'streaming',
            'Lag', greatest(0, coalesce(pg_wal_lsn_diff(pg_current_wal_flush_lsn(), replay_lsn), 0))::bigint,
            'Seconds', coalesce(extract(epoch FROM replay_lag), 0)::bigint) ORDER BY application_name), '[]')
        FROM pg_stat_replication))`

// observed is that JSON.
type observed struct {
	Edition            string
	Restart, Protected bool
	Started            time.Time
	Followers          []struct {
		Name         string
		InStep       bool
		Lag, Seconds int64
	}
}

// Observe asks in a new session, which begins with what the server has read last.
func (Engine) Observe(ctx context.Context, n engine.Node) (engine.Observation, error) {
	var o observed
	err := pgserver.WithAdmin(ctx, n, foreign, func(conn *pgx.Conn) error {
		var text []byte
		if err := conn.QueryRow(ctx, observation).Scan(&text); err != nil {
			return err
		}
		return json.Unmarshal(text, &o)
	})
	if err != nil && backstay.KindOf(err) != backstay.Unavailable {
		return engine.Observation{}, backstay.Wrapf(err, backstay.Unavailable, "The database does not say how it is.")
	}
	seen := engine.Observation{Edition: o.Edition, Restart: o.Restart, Started: o.Started, Protected: o.Protected}
	for _, f := range o.Followers {
		seen.Followers = append(seen.Followers,
			engine.Follower{Name: f.Name, InStep: f.InStep, Lag: backstay.Bytes(f.Lag), Seconds: f.Seconds})
	}
	return seen, err
}

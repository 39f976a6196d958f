package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/pgserver"
)

// Configure brings walls.sql up to date in an instance that an earlier version made, notes which extensions may be
// created, drops those that the settings disable, and creates those that they ask for and that are not there. A node
// that follows has of all this what its primary has.
func (Engine) Configure(ctx context.Context, n engine.Node) error {
	if pgserver.Follows(n) {
		return nil
	}
	s, err := parseSettings(n)
	if err != nil {
		return err
	}
	return withPriority(ctx, n, func(conn *pgx.Conn) error {
		if err := pgserver.DropSlots(ctx, conn, n); err != nil {
			return fmt.Errorf("forget the nodes that followed: %w", err)
		}
		renewed, err := renewWalls(ctx, conn)
		if err != nil {
			return backstay.Wrapf(err, backstay.Unavailable,
				"The database, which an earlier version made, cannot be brought up to date.")
		}
		if err := support(ctx, conn, s.Extensions); err != nil {
			return fmt.Errorf("note which extensions are supported: %w", err)
		}
		if err := dropExtensions(ctx, conn, s.DisableExtensions); err != nil {
			return err
		}
		return createExtensions(ctx, conn, s, renewed)
	})
}

// renewWalls runs walls.sql if the database was made with another edition of it, and reports whether it did so. The
// edition is the last thing that walls.sql writes: after a crash everything is done again.
func renewWalls(ctx context.Context, conn *pgx.Conn) (renewed bool, err error) {
	has, err := triggerComment(ctx, conn, "backstay_read_only")
	if err != nil || has == edition() {
		return false, err
	}
	err = again(func() error {
		_, err := conn.Exec(ctx, walls())
		return err
	})
	return err == nil, err
}

// support has the walls let these extensions be created, and no others.
func support(ctx context.Context, conn *pgx.Conn, names []string) error {
	has, err := triggerComment(ctx, conn, supportedTrigger)
	if err != nil || has == strings.Join(names, " ") {
		return err
	}
	_, err = conn.Exec(ctx, supported(names))
	return err
}

// triggerComment returns the comment on an event trigger. It is empty if there is no such trigger, or no comment.
func triggerComment(ctx context.Context, conn *pgx.Conn, trigger string) (comment string, err error) {
	const query = "SELECT coalesce(max(obj_description(oid)), '') FROM pg_event_trigger WHERE evtname = $1"
	err = conn.QueryRow(ctx, query, trigger).Scan(&comment)
	return comment, err
}

// createdTrigger is the event trigger whose comment lists the extensions that createExtensions has created.
const createdTrigger = "backstay_after_extension"

// createExtensions creates the extensions that are missing, and notes their names. An extension that is noted and
// missing was dropped by a tenant. What tenants have made since may keep it from being created again, which is no
// reason not to serve: only the failure to create one that was never there is returned. An instance whose walls
// were renewed has no notes, but has served with all of its extensions.
func createExtensions(ctx context.Context, conn *pgx.Conn, s settings, renewed bool) error {
	comment, err := triggerComment(ctx, conn, createdTrigger)
	if err != nil {
		return err
	}
	before := strings.Fields(comment)
	for _, name := range s.EnableExtensions {
		err := createExtension(ctx, conn, name)
		if err != nil && !renewed && !slices.Contains(before, name) {
			kind := backstay.Unavailable
			if isMissing(err) {
				kind = backstay.Unsupported
			}
			return backstay.Wrapf(err, kind, "The extension %s cannot be created%s.", name, because(err))
		}
	}
	created := sorted(slices.Concat(s.EnableExtensions, before))
	created = slices.DeleteFunc(created, func(name string) bool { return slices.Contains(s.DisableExtensions, name) })
	if slices.Equal(created, before) {
		return nil
	}
	_, err = conn.Exec(ctx, "COMMENT ON EVENT TRIGGER "+createdTrigger+" IS "+quoteText(strings.Join(created, " ")))
	return err
}

// createExtension creates an extension, unless it is there. It looks first, because IF NOT EXISTS would need the same
// locks for one that is there.
func createExtension(ctx context.Context, conn *pgx.Conn, name string) error {
	var exists bool
	err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = $1)", name).Scan(&exists)
	if err != nil || exists {
		return err
	}
	_, err = conn.Exec(ctx, "CREATE EXTENSION "+quoteName(name)+" SCHEMA public CASCADE")
	return err
}

// isMissing tells whether the server does not have an extension.
func isMissing(err error) bool {
	var refusal *pgconn.PgError
	return errors.As(err, &refusal) &&
		slices.Contains([]string{pgerrcode.FeatureNotSupported, pgerrcode.UndefinedFile}, refusal.Code)
}

// because returns the server's reason, which tells tenants what they can change, for the end of a sentence.
func because(err error) string {
	var refusal *pgconn.PgError
	if !errors.As(err, &refusal) {
		return ""
	}
	return ": " + refusal.Message
}

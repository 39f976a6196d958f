package postgres

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/pgserver"
)

// shapeReader returns the statements that make a role read-only. It inherits the right to read every relation from
// reader, and BYPASSRLS lets it see every row. Large objects have no rights that it needs: all functions that write
// them are owner's alone. Its transactions begin as read-only for the sake of clients that write by mistake; a client
// can begin others, but has no right to write anything.
func shapeReader(role string) string {
	return "ALTER ROLE " + role + " INHERIT BYPASSRLS; " +
		"ALTER ROLE " + role + " SET lo_compat_privileges = on; " +
		"ALTER ROLE " + role + " SET default_transaction_read_only = on; " +
		"GRANT " + reader + " TO " + role
}

// PostgreSQL lets every role change its own password and settings, and those of the roles that it is a member of, and
// neither rights nor triggers can keep it from that. So the verifier of a read-only user's password is also kept where
// the user cannot change it, and Tend restores it. It is kept as the verifier of another role, which cannot log in and
// has no rights and no members. In pg_authid only those can read it who can read all verifiers.

// kept returns the name of the role that keeps a user's verifier. No user can have such a name.
func kept(name string) string { return name + "-kept" }

// keepVerifier returns the statement that makes this role, for the transaction that makes the user.
func keepVerifier(u engine.User, verifier string) string {
	if !u.ReadOnly {
		return ""
	}
	return "; CREATE ROLE " + quoteName(kept(u.Name)) + " NOLOGIN PASSWORD " + quoteText(verifier)
}

// dropKept drops this role, whatever tenants have granted to it.
func dropKept(ctx context.Context, tx pgx.Tx, name string) error {
	id, err := roleID(ctx, tx, kept(name))
	if err != nil || id == 0 {
		return err
	}
	role := quoteName(kept(name))
	_, err = tx.Exec(ctx, "DROP OWNED BY "+role+"; DROP ROLE "+role)
	return err
}

// readers asks for the read-only users and the role reader itself: each with the verifier that it should have, and
// with whether its verifier or its settings differ from what they should be.
const readers = `SELECT r.rolname, coalesce(k.rolpassword, ''), r.rolpassword IS DISTINCT FROM k.rolpassword OR
    ARRAY(SELECT s.setdatabase::text || unnest(s.setconfig)
        FROM pg_db_role_setting s WHERE s.setrole = r.oid ORDER BY 1)
    <> CASE r.rolname WHEN '` + reader + `' THEN '{}'
        ELSE '{0default_transaction_read_only=on,0lo_compat_privileges=on}'::text[] END
FROM pg_authid r LEFT JOIN pg_authid k ON k.rolname = r.rolname || '-kept'
WHERE r.rolname = '` + reader + `' OR k.oid IS NOT NULL`

// readerState is what is found of one of them.
type readerState struct {
	name, verifier string
	spoilt         bool
}

func findReaders(ctx context.Context, conn *pgx.Conn) ([]readerState, error) {
	rows, err := conn.Query(ctx, readers)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (r readerState, err error) {
		err = row.Scan(&r.name, &r.verifier, &r.spoilt)
		return r, err
	})
}

// Tend restores the passwords and settings of read-only users. It asks the server only if Mark says that something has
// changed.
func (Engine) Tend(ctx context.Context, n engine.Node, last string) (now string, mended []string, err error) {
	if pgserver.Follows(n) { // it has what its primary has
		return "", nil, nil
	}
	now = "unknown"
	if n.Admin.Mark != nil {
		if now, err = n.Admin.Mark(); err != nil || now == last {
			return now, nil, err
		}
	}
	spoilt := false
	err = withAdmin(ctx, n, func(conn *pgx.Conn) error {
		all, err := findReaders(ctx, conn)
		spoilt = slices.ContainsFunc(all, func(r readerState) bool { return r.spoilt })
		if len(all) <= 1 { // reader alone: there are no read-only users
			now = ""
		}
		return err
	})
	if err == nil && spoilt {
		mended, err = mendReaders(ctx, n)
	}
	return now, mended, err
}

func mendReaders(ctx context.Context, n engine.Node) (mended []string, err error) {
	err = withPriority(ctx, n, func(conn *pgx.Conn) error {
		all, err := findReaders(ctx, conn)
		for _, r := range all {
			if !r.spoilt {
				continue
			}
			failure := changeRoles(ctx, conn, func(tx pgx.Tx) error {
				_, err := tx.Exec(ctx, mendReader(r))
				return err
			})
			if failure == nil {
				mended = append(mended, r.name)
			}
			err = errors.Join(err, failure) // the others are mended all the same
		}
		return err
	})
	return mended, err
}

func mendReader(r readerState) string {
	if r.name != reader {
		return shapeRole(engine.User{Name: r.name, ReadOnly: true}, r.verifier)
	}
	return "ALTER ROLE " + reader + " NOLOGIN PASSWORD NULL; " + forgetSettings(reader)
}

// logMark returns a text that is another one whenever the server has written to its write-ahead log, as it does for
// every change in a database.
func logMark(dataDir string) (string, error) {
	files, err := os.ReadDir(filepath.Join(dataDir, "pg_wal"))
	if err != nil {
		return "", err
	}
	mark := fnv.New64a()
	for _, f := range files {
		if info, err := f.Info(); err == nil { // else it has just gone
			fmt.Fprintln(mark, f.Name(), info.ModTime().UnixNano())
		}
	}
	return fmt.Sprintf("%x", mark.Sum64()), nil
}

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
)

// shapeReader: it inherits the right to read every relation and sees every row. The rights of large objects
// are not looked at, whose every function that writes is owner's alone. That transactions begin as
// read-only is for clients that write by mistake: whoever means it can begin others.
func shapeReader(role string) string {
	return "ALTER ROLE " + role + " INHERIT BYPASSRLS; " +
		"ALTER ROLE " + role + " SET lo_compat_privileges = on; " +
		"ALTER ROLE " + role + " SET default_transaction_read_only = on; " +
		"GRANT " + reader + " TO " + role
}

// Every role may change its own password and settings, and those of roles that it is a member of: no right
// and no trigger is in the way. What a reader's are to be is therefore kept where it cannot get at it, and
// Tend puts it back. The password's verifier is kept as that of another role, which cannot log in and has no
// rights and no members: in pg_authid nobody reads it who could not before.

// kept names that role, as no user can be named.
func kept(name string) string { return name + "-kept" }

// keepVerifier goes into the transaction that makes the role.
func keepVerifier(u engine.User, verifier string) string {
	if !u.ReadOnly {
		return ""
	}
	return "; CREATE ROLE " + quoteName(kept(u.Name)) + " NOLOGIN PASSWORD " + quoteText(verifier)
}

// dropKept does away with it, whatever tenants have granted to it.
func dropKept(ctx context.Context, tx pgx.Tx, name string) error {
	id, err := roleID(ctx, tx, kept(name))
	if err != nil || id == 0 {
		return err
	}
	role := quoteName(kept(name))
	_, err = tx.Exec(ctx, "DROP OWNED BY "+role+"; DROP ROLE "+role)
	return err
}

// readers are the users that may only read and the role reader itself, with the verifiers that theirs
// should be, and whether anything about them is not as it should be.
const readers = `SELECT r.rolname, coalesce(k.rolpassword, ''), r.rolpassword IS DISTINCT FROM k.rolpassword OR
    ARRAY(SELECT s.setdatabase::text || unnest(s.setconfig) FROM pg_db_role_setting s WHERE s.setrole = r.oid ORDER BY 1)
    <> CASE r.rolname WHEN '` + reader + `' THEN '{}' ELSE '{0default_transaction_read_only=on,0lo_compat_privileges=on}'::text[] END
FROM pg_authid r LEFT JOIN pg_authid k ON k.rolname = r.rolname || '-kept' WHERE r.rolname = '` + reader + `' OR k.oid IS NOT NULL`

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

// Tend gives read-only users back the passwords and settings that they had from us. It asks the server only
// if that has written to its log since, which idle servers do not.
func (Engine) Tend(ctx context.Context, n engine.Node, last string) (now string, mended []string, err error) {
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
		if len(all) <= 1 { // the role alone
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
			err = errors.Join(err, failure) // and on to the next: none keeps another's from being mended
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

// logMark changes when the server has written to its log, as it does for everything that changes in a database.
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

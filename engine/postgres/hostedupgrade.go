package postgres

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/engine"
)

var (
	//go:embed carry.sql
	carrySQL string
	//go:embed release.sql
	releaseSQL string
)

// wallsAside has our walls let the administrator do what they keep tenants from, until the transaction ends.
const wallsAside = "SET LOCAL session_replication_role = replica;\n"

// PrepareUpgrade notes as a comment what a dump does not hold. Users are kept out by then, and their sessions end.
func (Engine) PrepareUpgrade(ctx context.Context, n engine.Node) error {
	return withAdmin(ctx, n, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+database+
			"' AND pid <> pg_backend_pid() AND backend_type = 'client backend'")
		if err != nil {
			return err
		}
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, wallsAside+noteSQL+"\n"+carrySQL)
			return err
		})
	})
}

// ForgoUpgrade takes back what tenants could come to by it.
func (Engine) ForgoUpgrade(ctx context.Context, n engine.Node) error {
	return withAdmin(ctx, n, func(conn *pgx.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, wallsAside+releaseSQL)
			return err
		})
	})
}

// FinishUpgrade does all or nothing, since the walls' own comment says that it was done.
func (Engine) FinishUpgrade(ctx context.Context, n engine.Node) error {
	chosen, err := parseSettings(n)
	if err != nil {
		return err
	}
	return withAdmin(ctx, n, func(conn *pgx.Conn) error {
		if has, err := triggerComment(ctx, conn, "backstay_read_only"); err != nil || has != "" {
			return err
		}
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, wallsAside+releaseSQL+"\n"+newWalls(chosen)+reviveSQL)
			return err
		})
		if err != nil {
			return fmt.Errorf("bring back what an upgrade leaves behind: %w", err)
		}
		return nil
	})
}

// UpgradeObjection is what pg_upgrade has against the data, by what it has said.
func (Engine) UpgradeObjection(said string) string { return objection(said) }

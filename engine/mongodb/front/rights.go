package front

import (
	"context"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
)

// open connects to the node's PostgreSQL.
func open(ctx context.Context, runDir string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig("postgres:///postgres?sslmode=disable&search_path=pg_catalog")
	if err != nil {
		return nil, err
	}
	cfg.Host, cfg.Port, cfg.User = runDir, 5432, Role
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	return pgx.ConnectConfig(ctx, cfg)
}

// rights knows what users may do, by asking PostgreSQL.
type rights struct {
	runDir string

	mu   sync.Mutex
	conn *pgx.Conn // nil: there is none
}

// rightOf returns Writer or Reader; empty: there is no such user.
func (r *rights) rightOf(ctx context.Context, user string) (right string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn == nil {
		if r.conn, err = open(ctx, r.runDir); err != nil {
			return "", err
		}
	}
	err = r.conn.QueryRow(ctx, rightSQL, user).Scan(&right)
	if err != nil {
		r.conn.Close(context.WithoutCancel(ctx))
		r.conn = nil
		return "", fmt.Errorf("look the user up: %w", err)
	}
	return right, nil
}

// rightSQL finds the member of one of the two roles that is no role of ours.
const rightSQL = `SELECT
coalesce(min(CASE of.rolname WHEN '` + Writes + `' THEN '` + Writer + `' ELSE '` + Reader + `' END), '')
FROM pg_auth_members JOIN pg_roles of ON of.oid = roleid JOIN pg_roles who ON who.oid = member
WHERE of.rolname IN ('` + Writes + `', '` + Reads + `') AND who.rolname = $1`

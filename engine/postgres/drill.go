package postgres

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/pgserver"
	"github.com/backstay/backstay/internal/scram"
)

// driller is the role that writes in drills. What it writes is a setting of its own: that is a transaction as any
// other, and lies where the roles do, so that there is no relation which tenants could see, which their dumps would
// hold or stumble over, or which would take storage. It goes with the role. No binding can be called so.
const driller = "backstay-drill"

var _ engine.Drillable = Engine{}

// AdmitDriller makes the role anew.
func (Engine) AdmitDriller(ctx context.Context, n engine.Node, password backstay.Secret) error {
	verifier, err := scram.Verifier(password)
	if err != nil {
		return err
	}
	role := quoteName(driller)
	err = withPriority(ctx, n, func(conn *pgx.Conn) error {
		err := changeRoles(ctx, conn, func(tx pgx.Tx) error {
			if err := dropDriller(ctx, tx); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "CREATE ROLE "+role+" LOGIN NOINHERIT PASSWORD "+quoteText(verifier)+
				"; GRANT CONNECT ON DATABASE "+database+" TO "+role)
			return err
		})
		return cmp.Or(err, pgserver.InStep(ctx, conn, n))
	})
	if err != nil {
		return fmt.Errorf("admit who writes in a drill: %w", err)
	}
	return nil
}

// DismissDriller drops the role.
func (Engine) DismissDriller(ctx context.Context, n engine.Node) error {
	err := withPriority(ctx, n, func(conn *pgx.Conn) error {
		err := changeRoles(ctx, conn, func(tx pgx.Tx) error { return dropDriller(ctx, tx) })
		return cmp.Or(err, pgserver.InStep(ctx, conn, n))
	})
	if err != nil {
		return fmt.Errorf("dismiss who has written in a drill: %w", err)
	}
	return nil
}

func dropDriller(ctx context.Context, tx pgx.Tx) error {
	id, err := roleID(ctx, tx, driller)
	if err != nil || id == 0 {
		return err
	}
	role := quoteName(driller)
	_, err = tx.Exec(ctx, "DROP OWNED BY "+role+"; DROP ROLE "+role)
	return err
}

// OpenDrill logs in as the role.
func (Engine) OpenDrill(ctx context.Context, _ engine.Node, l engine.DrillLogin) (engine.DrillSession, error) {
	cfg, err := pgx.ParseConfig("postgres://127.0.0.1/" + database + "?sslmode=disable")
	if err != nil {
		return nil, err
	}
	cfg.User, cfg.Password, cfg.TLSConfig = driller, l.Password.Reveal(), l.TLS
	cfg.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { return l.Dial(ctx) }
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return drillSession{conn}, nil
}

type drillSession struct{ conn *pgx.Conn }

// drillSetting is one that every role may give itself, and that changes nothing.
const drillSetting = "application_name"

func (s drillSession) Keep(ctx context.Context, number int64) error {
	_, err := s.conn.Exec(ctx, "ALTER ROLE "+quoteName(driller)+" SET "+drillSetting+" = '"+
		strconv.FormatInt(number, 10)+"'")
	return err
}

func (s drillSession) Kept(ctx context.Context) (number int64, err error) {
	const query = `SELECT coalesce(max(substr(line, length($1) + 2)::bigint), 0)
FROM pg_db_role_setting, unnest(setconfig) AS line
WHERE setdatabase = 0 AND setrole = current_user::regrole AND starts_with(line, $1 || '=')`
	err = s.conn.QueryRow(ctx, query, drillSetting).Scan(&number)
	return number, err
}

func (s drillSession) Close() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // nothing is said to a server that may not read it
	_ = s.conn.Close(ctx)
}

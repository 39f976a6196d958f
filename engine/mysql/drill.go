package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"strconv"

	"github.com/go-sql-driver/mysql"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// driller is the account that writes in drills, to a table in a database of its own, which bindings have no right to
// and so do not see. No binding can be called so.
const (
	driller       = "backstay-drill"
	drillDatabase = "backstay_drill"
)

var _ engine.Drillable = Engine{}

// AdmitDriller makes the account and its database anew.
func (Engine) AdmitDriller(ctx context.Context, n engine.Node, password backstay.Secret) error {
	who := account(driller)
	identified := dialectOf(n.Installation).identified(engine.User{Name: driller, Password: password})
	err := withAccounts(ctx, n, func(conn *sql.Conn) error {
		return run(ctx, conn, append(dismissal(),
			"CREATE DATABASE "+drillDatabase,
			"CREATE TABLE "+drillDatabase+".kept (id tinyint PRIMARY KEY, number bigint NOT NULL) ENGINE = InnoDB",
			"CREATE USER "+who+" IDENTIFIED "+identified+" REQUIRE SSL",
			"GRANT SELECT, INSERT, UPDATE ON "+drillDatabase+".kept TO "+who)...)
	})
	if err != nil {
		return fmt.Errorf("admit who writes in a drill: %w", err)
	}
	return nil
}

// dismissal returns the statements that remove the account and its database. The account comes first: once it is gone,
// nobody begins to write.
func dismissal() []string {
	return []string{"DROP USER IF EXISTS " + account(driller), "DROP DATABASE IF EXISTS " + drillDatabase}
}

// DismissDriller removes both.
func (Engine) DismissDriller(ctx context.Context, n engine.Node) error {
	err := withAccounts(ctx, n, func(conn *sql.Conn) error { return run(ctx, conn, dismissal()...) })
	if err != nil {
		return fmt.Errorf("dismiss who has written in a drill: %w", err)
	}
	return nil
}

// OpenDrill logs in as the account.
func (Engine) OpenDrill(ctx context.Context, _ engine.Node, l engine.DrillLogin) (engine.DrillSession, error) {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.Passwd, cfg.DBName = "tcp", "endpoint", driller, l.Password.Reveal(), drillDatabase
	cfg.TLS, cfg.Logger = l.TLS, &mysql.NopLogger{}
	cfg.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { return l.Dial(ctx) }
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	conn, err := db.Conn(ctx)
	if err != nil {
		db.Close()
		return nil, err
	}
	return drillSession{db, conn}, nil
}

type drillSession struct {
	db   *sql.DB
	conn *sql.Conn
}

func (s drillSession) Keep(ctx context.Context, number int64) error {
	text := strconv.FormatInt(number, 10)
	_, err := s.conn.ExecContext(ctx, "INSERT INTO kept VALUES (1, "+text+") ON DUPLICATE KEY UPDATE number = "+text)
	return err
}

func (s drillSession) Kept(ctx context.Context) (number int64, err error) {
	err = s.conn.QueryRowContext(ctx, "SELECT coalesce(max(number), 0) FROM kept").Scan(&number)
	return number, err
}

func (s drillSession) Close() {
	s.conn.Close()
	s.db.Close()
}

package mysql_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/mysql"
	"github.com/backstay/backstay/internal/testkit"
)

// tested is the machine's server, or that below the directory that the environment names: all tests
// are for both products.
var tested = mysql.Engine{Roots: filepath.SplitList(os.Getenv("BACKSTAY_TEST_MYSQL"))}

func TestContract(t *testing.T) {
	t.Parallel()
	enginetest.Run(t, enginetest.Subject{
		Engine: tested, Connect: connect, Versions: twoVersions,
		Worst:       enginetest.Worst{Make: makeWorst, Hold: holdWorst, Connections: 3*len(worstSessions) + 10},
		Refusing:    enginetest.Refusing{Delete: deleteAll, Bulk: writeInBulk},
		BadSettings: []string{`{"enable_extensions": ["postgis"]}`, `{} {}`},
	})
}

// twoVersions is the machine's MariaDB beside a newer one.
func twoVersions(t testing.TB) engine.Engine {
	return mysql.Engine{Roots: []string{"/usr", filepath.Join(testkit.Other(t, "mariadb-11.8"), "usr")}}
}

// session keeps the suite's keys in a table that all bindings share.
type session struct {
	db   *sql.DB
	conn *sql.Conn
}

func connect(ctx context.Context, c backstay.Credentials) (enginetest.Session, error) {
	db, err := open(c)
	if err != nil {
		return nil, err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s := session{db, conn}
	_, err = conn.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS `keys` (`key` varchar(255) PRIMARY KEY, value text)")
	refused := isDenied(err) || isNumber(err, readOnlyTransaction) || isNumber(err, readOnlyServer)
	if err != nil && !refused { // whoever may only read finds it, or nothing
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s session) Set(ctx context.Context, key, value string) error {
	_, err := s.conn.ExecContext(ctx, "REPLACE INTO `keys` VALUES (?, ?)", key, value)
	return err
}

func (s session) Get(ctx context.Context, key string) (value string, err error) {
	err = s.conn.QueryRowContext(ctx, "SELECT value FROM `keys` WHERE `key` = ?", key).Scan(&value)
	return value, err
}

// Close ends the connection too, which a pool that is closed leaves to whoever has it.
func (s session) Close() error { return errors.Join(s.conn.Close(), s.db.Close()) }

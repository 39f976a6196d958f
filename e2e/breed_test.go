package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
)

// breed is an engine as those tests use it that are about no engine.
type breed struct {
	name           string
	offering, plan string
	larger         string   // another plan, with more of everything
	largest        string   // one with more than that
	settings       []string // objects of parameters, each with another value of the same one
	flags          []string // of serve
	open           func(ctx context.Context, credentials map[string]any) (session, error)
	toil           []string      // a client in an app's environment that does what session.Toil does
	patience       time.Duration // how long anything may take, where that is more than with others
}

// session is one client's connection.
type session interface {
	// Identity is the server's name for the session; it is an error once the session has ended. What
	// the session alone knows is proven on the way.
	Identity(ctx context.Context) (string, error)
	// Keep writes what Kept finds from then on, in every session.
	Keep(ctx context.Context) error
	Kept(ctx context.Context) error
	// Toil is a request that takes longer than any test.
	Toil(ctx context.Context) error
	// Toils tells whether another session toils.
	Toils(ctx context.Context) (bool, error)
	Close() error
}

var (
	postgresBreed = breed{name: "postgres", offering: "postgres", plan: "Free", larger: "S-dedicated-15", largest: "M-dedicated-15",
		settings: []string{`{"settings":{"work_mem":"8MB"}}`, `{"settings":{"work_mem":"16MB"}}`},
		open:     openPostgres,
		toil:     []string{"psql.sh", "-c", postgresToil}}
	mysqlBreed = breed{name: "mysql", offering: "mysql", plan: "Free", larger: "S-dedicated-10.11", largest: "M-dedicated-10.11",
		settings: []string{`{"settings":{"wait_timeout":3600}}`, `{"settings":{"wait_timeout":7200}}`},
		open:     openMySQL,
		toil:     []string{"sh", filepath.Join(testdata, "mysql.sh"), "mysql", "-e", mysqlToil}}
	redisBreed = breed{name: "redis", offering: "redis", plan: "tiny", larger: "small", largest: "medium",
		settings: []string{`{"maxmemory_policy":"noeviction"}`, `{"maxmemory_policy":"volatile-ttl"}`},
		open:     openRedis,
		toil:     []string{"sh", filepath.Join(testdata, "redis.sh"), "BLPOP", "never", "0"}}
)

var breeds = []breed{postgresBreed, mysqlBreed, redisBreed}

// onEachBreed runs a test with a bound instance of each engine.
func onEachBreed(t *testing.T, test func(l *life)) {
	t.Parallel()
	for _, of := range breeds {
		t.Run(of.name, func(t *testing.T) {
			t.Parallel()
			test(settled(t, of))
		})
	}
}

// postgresToil keeps its process from noticing that its server has died.
const postgresToil = "SELECT count(*) FROM generate_series(1, 1000000000)"

type postgresSession struct{ *pgx.Conn }

func openPostgres(ctx context.Context, credentials map[string]any) (session, error) {
	cfg, err := pgx.ParseConfig(credentials["uri"].(string) + "?sslmode=require")
	if err != nil {
		return nil, err
	}
	cfg.TLSConfig = trusting(credentials)
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	_, err = conn.Exec(ctx, "CREATE TEMPORARY TABLE mine AS SELECT 42 AS answer")
	return postgresSession{conn}, err
}

func (s postgresSession) Identity(ctx context.Context) (string, error) {
	var backend, answer int
	err := s.QueryRow(ctx, "SELECT pg_backend_pid(), answer FROM mine").Scan(&backend, &answer)
	return fmt.Sprint(backend), err
}

func (s postgresSession) Keep(ctx context.Context) error {
	_, err := s.Exec(ctx, "CREATE TABLE kept AS SELECT 1 AS n")
	return err
}

func (s postgresSession) Kept(ctx context.Context) error {
	var one int
	return s.QueryRow(ctx, "SELECT n FROM kept").Scan(&one)
}

func (s postgresSession) Toil(ctx context.Context) error {
	_, err := s.Exec(ctx, postgresToil)
	return err
}

func (s postgresSession) Toils(ctx context.Context) (is bool, err error) {
	err = s.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query = $1 AND pid <> pg_backend_pid())", postgresToil).
		Scan(&is)
	return is, err
}

func (s postgresSession) Close() error { return s.Conn.Close(context.Background()) }

const mysqlToil = "SELECT benchmark(1000000000000, md5('toil'))"

type mysqlSession struct {
	*sql.Conn
	db *sql.DB
}

func openMySQL(ctx context.Context, credentials map[string]any) (session, error) {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr = "tcp", fmt.Sprintf("%v:%v", credentials["host"], credentials["port"])
	cfg.User, cfg.Passwd, cfg.DBName = credentials["username"].(string), credentials["password"].(string), credentials["name"].(string)
	cfg.TLS, cfg.Logger = trusting(credentials), &mysql.NopLogger{} // that servers die is what tests are about
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	conn, err := db.Conn(ctx)
	if err == nil {
		_, err = conn.ExecContext(ctx, "CREATE TEMPORARY TABLE mine AS SELECT 42 AS answer")
	}
	if err != nil {
		db.Close()
		return nil, err
	}
	return mysqlSession{conn, db}, nil
}

func (s mysqlSession) Identity(ctx context.Context) (string, error) {
	var id, answer int
	err := s.QueryRowContext(ctx, "SELECT CONNECTION_ID(), answer FROM mine").Scan(&id, &answer)
	return fmt.Sprint(id), err
}

func (s mysqlSession) Keep(ctx context.Context) error {
	_, err := s.ExecContext(ctx, "CREATE TABLE kept AS SELECT 1 AS n")
	return err
}

func (s mysqlSession) Kept(ctx context.Context) error {
	var one int
	return s.QueryRowContext(ctx, "SELECT n FROM kept").Scan(&one)
}

func (s mysqlSession) Toil(ctx context.Context) error {
	_, err := s.ExecContext(ctx, mysqlToil)
	return err
}

func (s mysqlSession) Toils(ctx context.Context) (is bool, err error) {
	err = s.QueryRowContext(ctx, "SELECT EXISTS (SELECT * FROM information_schema.PROCESSLIST WHERE INFO = ?)", mysqlToil).
		Scan(&is)
	return is, err
}

func (s mysqlSession) Close() error { return s.db.Close() }

type redisSession struct{ *redis.Client }

func openRedis(ctx context.Context, credentials map[string]any) (session, error) {
	options, err := redis.ParseURL(credentials["uri"].(string))
	if err != nil {
		return nil, err
	}
	options.TLSConfig, options.PoolSize, options.MaxRetries = trusting(credentials), 1, -1
	c := redis.NewClient(options)
	if err := c.Set(ctx, "mine", 42, 0).Err(); err != nil {
		c.Close()
		return nil, err
	}
	return redisSession{c}, nil
}

func (s redisSession) Identity(ctx context.Context) (string, error) {
	info, err := s.Do(ctx, "CLIENT", "INFO").Text()
	id, _, _ := strings.Cut(info, " ")
	if err == nil {
		err = s.Get(ctx, "mine").Err()
	}
	return id, err
}

// Keep waits until Redis has written it down, which it puts off while the disk is slow: the plan promises no
// more than the last but two seconds.
func (s redisSession) Keep(ctx context.Context) error {
	if err := s.Set(ctx, "kept", 1, 0).Err(); err != nil {
		return err
	}
	for {
		info, err := s.Info(ctx, "persistence").Result()
		if err != nil || strings.Contains(info, "aof_buffer_length:0\r\n") {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

func (s redisSession) Kept(ctx context.Context) error { return s.Get(ctx, "kept").Err() }

func (s redisSession) Toil(ctx context.Context) error { return s.BLPop(ctx, 0, "never").Err() }

func (s redisSession) Toils(ctx context.Context) (bool, error) {
	clients, err := s.ClientList(ctx).Result()
	return strings.Contains(clients, "cmd=blpop"), err
}

// trusting is the TLS of a client that knows the credentials' authority and no other.
func trusting(credentials map[string]any) *tls.Config {
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM([]byte(credentials["ca_certificate"].(string)))
	return &tls.Config{RootCAs: trusted, ServerName: credentials["host"].(string), MinVersion: tls.VersionTLS12}
}

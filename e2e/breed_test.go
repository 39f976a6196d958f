package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"fmt"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
)

// breed is an engine as those tests use it that are about no engine.
type breed struct {
	name           string
	offering, plan string
	flags          []string // of serve
	open           func(ctx context.Context, credentials map[string]any) (session, error)
}

// session is one client's connection.
type session interface {
	// Identity is the server's name for the session; it is an error once the session has ended. What
	// the session alone knows is proven on the way.
	Identity(ctx context.Context) (string, error)
	Close() error
}

var (
	postgresBreed = breed{name: "postgres", offering: "postgres", plan: "Free", open: openPostgres}
	mysqlBreed    = breed{name: "mysql", offering: "mysql", plan: "Free", open: openMySQL}
	redisBreed    = breed{name: "redis", offering: "redis", plan: "tiny", flags: []string{"--catalog", "testdata/redis.yaml"}, open: openRedis}
)

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

func (s postgresSession) Close() error { return s.Conn.Close(context.Background()) }

type mysqlSession struct {
	*sql.Conn
	db *sql.DB
}

func openMySQL(ctx context.Context, credentials map[string]any) (session, error) {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr = "tcp", fmt.Sprintf("%v:%v", credentials["host"], credentials["port"])
	cfg.User, cfg.Passwd, cfg.DBName = credentials["username"].(string), credentials["password"].(string), credentials["name"].(string)
	cfg.TLS = trusting(credentials)
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

// trusting is the TLS of a client that knows the credentials' authority and no other.
func trusting(credentials map[string]any) *tls.Config {
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM([]byte(credentials["ca_certificate"].(string)))
	return &tls.Config{RootCAs: trusted, ServerName: credentials["host"].(string), MinVersion: tls.VersionTLS12}
}

package keeper_test

import (
	"context"
	"crypto/tls"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	goredis "github.com/redis/go-redis/v9"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

// writer is one connection of an app that writes.
type writer interface {
	write(ctx context.Context, value int) error
	close()
}

// product is an engine as these tests use it.
type product struct {
	engine, version string
	open            func(ctx context.Context, c backstay.Credentials) (writer, error)
}

var products = []product{
	{"postgres", "15", openPostgres}, {"mysql", mysqlVersion, openMySQL}, {"redis", "7.0", openRedis},
}

// kinds are the products that a test is done with, each by itself. Under -short, which is for the keeper's own
// goroutines, the quickest of them stands for all.
func kinds() []product {
	if testing.Short() {
		return products[2:]
	}
	return products
}

const (
	makeTable = "CREATE TABLE IF NOT EXISTS probe (id integer PRIMARY KEY, n integer)"
	firstRow  = "INSERT INTO probe SELECT 1, 0 WHERE NOT EXISTS (SELECT 1 FROM probe)"
)

type postgresWriter struct{ *pgx.Conn }

func openPostgres(ctx context.Context, c backstay.Credentials) (writer, error) {
	conn, err := pgx.Connect(ctx, c["uri"].(string)+"?sslmode=require")
	if err != nil {
		return nil, err
	}
	return postgresWriter{conn}, nil
}

func (w postgresWriter) write(ctx context.Context, n int) error {
	if n == 0 {
		_, err := w.Exec(ctx, makeTable+"; "+firstRow)
		return err
	}
	_, err := w.Exec(ctx, "UPDATE probe SET n = $1", n)
	return err
}

func (w postgresWriter) close() { w.Close(context.Background()) } // it may be closed from the other end

type mysqlWriter struct {
	db *sql.DB
	*sql.Conn
}

func openMySQL(ctx context.Context, c backstay.Credentials) (writer, error) {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr = "tcp", fmt.Sprintf("%v:%v", c["host"], c["port"])
	cfg.User, cfg.Passwd, cfg.DBName = c["username"].(string), c["password"].(string), c["name"].(string)
	cfg.TLSConfig, cfg.Logger = "skip-verify", &mysql.NopLogger{}
	cfg.InterpolateParams = true
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
	return mysqlWriter{db, conn}, nil
}

func (w mysqlWriter) write(ctx context.Context, n int) error {
	if n > 0 {
		_, err := w.ExecContext(ctx, "UPDATE probe SET n = ?", n)
		return err
	}
	_, err := w.ExecContext(ctx, makeTable)
	if err == nil {
		_, err = w.ExecContext(ctx, firstRow)
	}
	return err
}

func (w mysqlWriter) close() { w.Conn.Close(); w.db.Close() }

type redisWriter struct{ *goredis.Client }

func openRedis(ctx context.Context, c backstay.Credentials) (writer, error) {
	options, err := goredis.ParseURL(c["uri"].(string))
	if err != nil {
		return nil, err
	}
	options.TLSConfig = &tls.Config{InsecureSkipVerify: true} // who answers is not what this is about
	options.PoolSize, options.MaxRetries, options.MinIdleConns = 1, -1, 0
	client := goredis.NewClient(options)
	if err := client.Ping(ctx).Err(); err != nil {
		client.Close()
		return nil, err
	}
	return redisWriter{client}, nil
}

func (w redisWriter) write(ctx context.Context, n int) error { return w.Set(ctx, "probe", n, 0).Err() }

func (w redisWriter) close() { w.Close() }

// outcome is what a client saw that wrote all the time.
type outcome struct {
	writes, failed, refused int           // refused are tries to connect again
	longest                 time.Duration // between two writes that succeeded
}

// probe writes every other millisecond on one connection, and connects again at once when that fails. It ends when
// stop is called, and it has written once more.
func probe(t testing.TB, p product, c backstay.Credentials) (stop func() outcome) {
	t.Helper()
	w, err := p.open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.write(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan outcome, 1)
	go func() { ended <- writeOn(ctx, p, c, w) }()
	t.Cleanup(cancel)
	return func() outcome {
		cancel()
		return <-ended
	}
}

func writeOn(ctx context.Context, p product, c backstay.Credentials, w writer) (seen outcome) {
	defer func() {
		if w != nil {
			w.close()
		}
	}()
	last, wrote := time.Now(), true
	for n := 1; ctx.Err() == nil || !wrote && time.Since(last) < limit; n++ {
		wrote = false
		limited, cancel := context.WithTimeout(context.Background(), limit)
		if w == nil {
			var err error
			if w, err = p.open(limited, c); err != nil {
				w = nil
				seen.refused++
			}
		}
		if w != nil {
			if err := w.write(limited, n); err != nil {
				w.close()
				w = nil
				seen.failed++
			} else {
				seen.writes++
				seen.longest = max(seen.longest, time.Since(last))
				last, wrote = time.Now(), true
			}
		}
		cancel()
		time.Sleep(2 * time.Millisecond) // an app does not ask without a pause
	}
	return seen
}

// specOf wants an instance of the product, with room to grow.
func specOf(t testing.TB, p product) backend.Spec {
	spec := newSpec(t)
	spec.Engine, spec.Version = p.engine, p.version
	return spec
}

func mustCredentials(t testing.TB, b backend.Backend, id backstay.InstanceID) backstay.Credentials {
	t.Helper()
	c, err := b.CreateUser(t.Context(), id, backend.User{Name: "u1", Password: "correcthorsebatterystaple"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

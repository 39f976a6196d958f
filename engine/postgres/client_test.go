package postgres_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/wait"
)

// server is a node that serves until the test ends.
type server struct{ engine.Node }

func serve(t *testing.T, size backstay.Size) server {
	t.Helper()
	n := enginetest.NewNode(t, postgres.Engine{})
	n.Size = size
	enginetest.Serve(t, postgres.Engine{}, n)
	return server{n}
}

// binding is a user and what its app was given.
type binding struct {
	server
	name        string
	credentials backstay.Credentials
}

func (s server) bind(t *testing.T) binding {
	t.Helper()
	return s.rebind(t, binding{name: newName()})
}

// of is the binding at another server, which has its data.
func (b binding) of(s server) binding { return binding{s, b.name, b.credentials} }

func newName() string { return "u" + strings.ReplaceAll(uuid.NewString(), "-", "")[:15] }

func (s server) bindReadOnly(t *testing.T) binding {
	t.Helper()
	return s.create(t, engine.User{Name: newName(), Password: backstay.Secret(uuid.NewString()), ReadOnly: true})
}

// rebind gives an existing binding a new password.
func (s server) rebind(t *testing.T, b binding) binding {
	t.Helper()
	return s.create(t, engine.User{Name: b.name, Password: backstay.Secret(uuid.NewString())})
}

func (s server) create(t *testing.T, u engine.User) binding {
	t.Helper()
	c, err := postgres.Engine{}.CreateUser(t.Context(), s.Node, u)
	if err != nil {
		t.Fatalf("bind: %v", err)
	}
	return binding{s, u.Name, c}
}

func (b binding) unbind(t *testing.T) {
	t.Helper()
	if err := (postgres.Engine{}).DropUser(t.Context(), b.Node, b.name); err != nil {
		t.Fatalf("unbind: %v", err)
	}
}

// client is a connection that goes with its test.
type client struct{ *pgx.Conn }

func (b binding) connect(t *testing.T) client {
	t.Helper()
	conn, err := dial(t.Context(), b.credentials)
	return opened(t, conn, err)
}

// squeezeIn is connect where the last connections are asked for: a session of our own that was closed holds its one for
// a moment more.
func (b binding) squeezeIn(t *testing.T) (c client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var conn *pgx.Conn
	err := wait.Until(ctx, wait.Every(10*time.Millisecond), func() (again bool, err error) {
		conn, err = dial(ctx, b.credentials)
		return stateOf(err) == "53300", err
	})
	return opened(t, conn, err)
}

func (s server) admin(t *testing.T) client {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), postgres.AdminDSN(s.RunDir, s.Endpoint.Port))
	return opened(t, conn, err)
}

func opened(t *testing.T, conn *pgx.Conn, err error) client {
	t.Helper()
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return client{conn}
}

// do runs statements, each as a transaction of its own.
func (c client) do(t *testing.T, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := c.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

func (c client) want(t *testing.T, sql, want string) {
	t.Helper()
	var got string
	if err := c.QueryRow(t.Context(), "SELECT ("+sql+")::text").Scan(&got); err != nil || got != want {
		t.Errorf("%s is %q (%v), want %q", sql, got, err, want)
	}
}

// refused wants the statement to fail with one of the SQLSTATEs.
func (c client) refused(t *testing.T, sql string, states ...string) {
	t.Helper()
	_, err := c.Exec(t.Context(), sql)
	for _, state := range states {
		if stateOf(err) == state {
			return
		}
	}
	t.Errorf("%s: got %v, want it to be refused with %v", sql, err, states)
}

func stateOf(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// dial connects as an app does that trusts nobody but the authority in its credentials.
func dial(ctx context.Context, c backstay.Credentials) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(fmt.Sprint(c["uri"]))
	if err != nil {
		return nil, err
	}
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(fmt.Append(nil, c["ca_certificate"])) {
		return nil, errors.New("no certificate in the credentials")
	}
	cfg.TLSConfig = &tls.Config{RootCAs: trusted, ServerName: fmt.Sprint(c["host"])}
	cfg.Fallbacks = nil                              // to no TLS
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec // DISCARD ALL forgets what is prepared
	return pgx.ConnectConfig(ctx, cfg)
}

// run runs a program of PostgreSQL's with the credentials, as sslmode has it.
func (b binding) run(t *testing.T, sslmode, authority, program string, args ...string) (said string, err error) {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte(authority), 0o600); err != nil {
		t.Fatal(err)
	}
	c := b.credentials
	cmd := exec.CommandContext(t.Context(), filepath.Join(b.Installation.Dir, program), args...)
	cmd.Env = append(os.Environ(), "PGSSLMODE="+sslmode, "PGSSLROOTCERT="+ca, "PGCONNECT_TIMEOUT=20",
		fmt.Sprint("PGHOST=", c["host"]), fmt.Sprint("PGPORT=", c["port"]), fmt.Sprint("PGDATABASE=", c["name"]),
		fmt.Sprint("PGUSER=", c["username"]), fmt.Sprint("PGPASSWORD=", c["password"]))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

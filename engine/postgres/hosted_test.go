package postgres_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/wait"
)

// abroad is the node as who administers it over the network knows it.
func abroad(n engine.Node) engine.Node {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(n.Endpoint.Port))
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM([]byte(n.TLS.Authority))
	return engine.Node{
		Instance: n.Instance, RunDir: n.RunDir, Endpoint: n.Endpoint, TLS: n.TLS, Size: n.Size, Ports: n.Ports, Settings: n.Settings,
		Installation: engine.Installation{
			Product: "PostgreSQL", Version: n.Installation.Version, FullVersion: n.Installation.FullVersion,
		},
		Admin: engine.Admin{
			User:   "postgres",
			Secret: func() (backstay.Secret, error) { return superuserPassword, nil },
			Dial: func(ctx context.Context) (net.Conn, error) {
				conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
				if err != nil {
					return nil, err
				}
				return postgres.Engine{}.Secure(ctx, conn, &tls.Config{RootCAs: trusted, ServerName: n.Endpoint.Host})
			},
		},
	}
}

// TestHosted has a server that others run be what one of ours is.
func TestHosted(t *testing.T) {
	t.Parallel()
	s := hosted(t)
	var crowd sync.WaitGroup
	for range 4 {
		crowd.Go(func() {
			if err := (postgres.Engine{}).Establish(t.Context(), s.Node); err != nil {
				t.Errorf("Establish: %v", err)
			}
		})
	}
	crowd.Wait()
	if err := (postgres.Engine{}).Configure(t.Context(), s.Node); err != nil {
		t.Fatalf("Configure: %v", err)
	}
	h, err := postgres.Engine{}.Hosting(s.Node)
	o, seen := postgres.Engine{}.Observe(t.Context(), s.Node)
	if err != nil || seen != nil || o.Edition != h.Edition || o.Restart || o.Protected || len(o.Followers) > 0 {
		t.Errorf("observed %+v (%v, %v), want edition %q", o, err, seen, h.Edition)
	}
	b, r := s.bind(t), s.bindReadOnly(t)
	app, reader := b.connect(t), r.connect(t)
	app.want(t, "SELECT current_user", "owner")
	app.do(t, "CREATE EXTENSION hstore", "CREATE TABLE t (x hstore)", "INSERT INTO t VALUES ('a=>1')")
	app.refused(t, "CREATE EXTENSION dblink", "42501")
	app.refused(t, "CREATE ROLE another", "42501")
	app.refused(t, "COPY t TO PROGRAM 'cat'", "42501")
	reader.want(t, "SELECT count(*) FROM t", "1")
	reader.do(t, "SET default_transaction_read_only = off")
	reader.refused(t, "INSERT INTO t VALUES ('b=>1')", "42501")
	reader.refused(t, "CREATE TEMPORARY TABLE mine ()", "42501")
	app.refused(t, "CREATE EXTENSION pg_stat_statements", "42501") // the administrator's password would be in it
	app.want(t, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'postgres' AND query <> ''", "0")
	s.wantOnlyMain(t, b)
	before := s.stored(t)
	app.do(t, "CREATE TABLE large AS SELECT repeat('x', 1000) AS x FROM generate_series(1, 10000)")
	if after := s.stored(t); before < backstay.MB || after < before+10*backstay.MB {
		t.Errorf("with 10 MB more than %s are stored %s", before, after)
	}
	b.unbind(t)
	app.refused(t, "SELECT", "57P01")
	r.unbind(t)
}

func (s server) stored(t *testing.T) backstay.Bytes {
	t.Helper()
	used, err := postgres.Engine{}.Stored(t.Context(), s.Node)
	if err != nil {
		t.Fatalf("Stored: %v", err)
	}
	return used
}

// wantOnlyMain tries the credentials of a binding without TLS, and in the other databases that there are.
func (s server) wantOnlyMain(t *testing.T, b binding) {
	t.Helper()
	plain, err := pgx.ParseConfig(b.credentials["uri"].(string) + "?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pgx.ConnectConfig(t.Context(), plain); stateOf(err) != "28000" {
		t.Errorf("without TLS: %v, want it to be refused", err)
	}
	for _, name := range []string{"postgres", "template1"} {
		cfg, err := pgx.ParseConfig(b.credentials["uri"].(string) + "?sslmode=require")
		if err != nil {
			t.Fatal(err)
		}
		cfg.Database = name
		if _, err := pgx.ConnectConfig(t.Context(), cfg); stateOf(err) != "28000" {
			t.Errorf("database %s: %v, want it to be refused", name, err)
		}
	}
}

// TestHostedCollation makes the database with the order that was asked for, whatever the server was made with.
func TestHostedCollation(t *testing.T) {
	t.Parallel()
	s := hosted(t)
	s.Settings = []byte(`{"collation": "en-GB"}`)
	if err := (postgres.Engine{}).Establish(t.Context(), s.Node); err != nil {
		t.Fatalf("Establish: %v", err)
	}
	s.bind(t).connect(t).want(t, "SELECT string_agg(x, '' ORDER BY x) FROM unnest(ARRAY['B', 'a', 'C']) AS x", "aBC")
}

// TestHostedEndsBlockers has the administrator come by tenants that hold what is needed, here too.
func TestHostedEndsBlockers(t *testing.T) {
	t.Parallel()
	s := hosted(t)
	if err := (postgres.Engine{}).Establish(t.Context(), s.Node); err != nil {
		t.Fatalf("Establish: %v", err)
	}
	b := s.bind(t)
	app := b.connect(t)
	app.do(t, "BEGIN", "ALTER ROLE CURRENT_USER SET work_mem = '1MB'")
	b.unbind(t)
}

// TestHostedFollower observes who follows the server.
func TestHostedFollower(t *testing.T) {
	t.Parallel()
	s := hosted(t)
	cmd := exec.Command(program(t, "pg_receivewal"), "-D", t.TempDir(), "-h", s.RunDir, "-U", "postgres",
		"-p", strconv.Itoa(s.Endpoint.Port), "--no-password")
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := wait.Until(ctx, wait.Every(10*time.Millisecond), func() (again bool, err error) {
		o, err := postgres.Engine{}.Observe(ctx, s.Node)
		if err != nil {
			return false, err
		}
		if len(o.Followers) != 1 || o.Followers[0].Name != "pg_receivewal" || !o.Followers[0].InStep || o.Protected {
			return true, fmt.Errorf("observed %+v", o)
		}
		return false, nil
	})
	if err != nil {
		t.Error(err)
	}
}

// program is one of PostgreSQL's.
func program(t *testing.T, name string) string {
	t.Helper()
	found, err := postgres.Engine{}.Installations(t.Context())
	if err != nil || len(found) == 0 {
		t.Fatalf("no installation: %v", err)
	}
	return filepath.Join(found[0].Dir, name)
}

// TestHostedZone refuses, without a server, a time zone with which none would start.
func TestHostedZone(t *testing.T) {
	t.Parallel()
	n := abroad(enginetest.NewNode(t, postgres.Engine{}))
	for zone, known := range map[string]bool{
		"Europe/London": true, "UTC": true, "EST5EDT": true, "Europe/Nowhere": false, "Local": false,
	} {
		n.Settings = json.RawMessage(`{"settings": {"timezone": "` + zone + `"}}`)
		_, err := postgres.Engine{}.Hosting(n)
		if known && err != nil || !known && backstay.KindOf(err) != backstay.Invalid {
			t.Errorf("%s: %v", zone, err)
		}
	}
}

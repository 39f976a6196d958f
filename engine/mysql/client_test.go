package mysql_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	driver "github.com/go-sql-driver/mysql"
	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
)

// open connects as an app does that trusts nobody but the authority in its credentials.
func open(c backstay.Credentials) (*sql.DB, error) {
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(fmt.Append(nil, c["ca_certificate"])) {
		return nil, errors.New("no certificate in the credentials")
	}
	cfg := driver.NewConfig()
	cfg.Net, cfg.Addr = "tcp", net.JoinHostPort(fmt.Sprint(c["host"]), fmt.Sprint(c["port"]))
	cfg.User, cfg.Passwd, cfg.DBName = fmt.Sprint(c["username"]), fmt.Sprint(c["password"]), fmt.Sprint(c["name"])
	cfg.TLS = &tls.Config{RootCAs: trusted, ServerName: fmt.Sprint(c["host"])}
	cfg.InterpolateParams = true
	cfg.Logger = &driver.NopLogger{} // tests end sessions on purpose
	connector, err := driver.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// server is a node that serves until the test ends.
type server struct{ engine.Node }

func serve(t *testing.T) server {
	t.Helper()
	n := enginetest.NewNode(t, tested)
	enginetest.Serve(t, tested, n)
	return server{n}
}

// speaks MariaDB, or Oracle's MySQL.
func (s server) mariadb() bool { return s.Installation.Product == "MariaDB" }

// binding is a user and what its app was given.
type binding struct {
	server
	name        string
	credentials backstay.Credentials
}

func (s server) bind(t *testing.T) binding {
	t.Helper()
	return s.rebind(t, newName())
}

func newName() string { return "u" + strings.ReplaceAll(uuid.NewString(), "-", "")[:15] }

// rebind gives a binding a new password.
func (s server) rebind(t *testing.T, name string) binding {
	t.Helper()
	return s.create(t, engine.User{Name: name, Password: backstay.Secret(uuid.NewString())})
}

func (s server) bindReadOnly(t *testing.T) binding {
	t.Helper()
	return s.create(t, engine.User{Name: newName(), Password: backstay.Secret(uuid.NewString()), ReadOnly: true})
}

func (s server) create(t *testing.T, u engine.User) binding {
	t.Helper()
	c, err := tested.CreateUser(t.Context(), s.Node, u)
	if err != nil {
		t.Fatalf("bind: %v", err)
	}
	return binding{s, u.Name, c}
}

func (b binding) unbind(t *testing.T) {
	t.Helper()
	if err := tested.DropUser(t.Context(), b.Node, b.name); err != nil {
		t.Fatalf("unbind: %v", err)
	}
}

// client is a connection that goes with its test.
type client struct{ *sql.Conn }

func (b binding) connect(t *testing.T) client {
	t.Helper()
	db, err := open(b.credentials)
	return opened(t, db, err)
}

func (s server) admin(t *testing.T) client {
	t.Helper()
	cfg := driver.NewConfig()
	cfg.Net, cfg.Addr, cfg.User = "unix", "admin", s.Admin.User
	cfg.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { return s.Admin.Dial(ctx) }
	connector, err := driver.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return opened(t, sql.OpenDB(connector), nil)
}

func opened(t *testing.T, db *sql.DB, err error) client {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	return client{conn}
}

func (c client) do(t *testing.T, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := c.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func (c client) want(t *testing.T, query, want string) {
	t.Helper()
	var got string
	if err := c.QueryRowContext(t.Context(), query).Scan(&got); err != nil || got != want {
		t.Errorf("%s: got %q (%v), want %q", query, got, err, want)
	}
}

// refused wants a statement to be refused for want of a right, or because it knows nothing of what
// it names.
func (c client) refused(t *testing.T, statement string) {
	t.Helper()
	if _, err := c.ExecContext(t.Context(), statement); !isDenied(err) {
		t.Errorf("%s: got %v, want it to be refused", statement, err)
	}
}

func isDenied(err error) bool {
	var refusal *driver.MySQLError
	return errors.As(err, &refusal) && slices.Contains(denials, refusal.Number)
}

// denials are the server's numbers for: access denied to a database, a table, a column, a routine; for
// want of a privilege, or of several; of a connection that is not one's own; to the dictionary.
var denials = []uint16{1044, 1045, 1142, 1143, 1227, 3630, 1370, 1095, 1698, 3554}

// run runs a client program with nothing but the credentials, and its password out of sight.
func (b binding) run(t *testing.T, authority, program string, args ...string) (said string, err error) {
	t.Helper()
	dir := t.TempDir()
	ca, options := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "my.cnf")
	c := b.credentials
	text := fmt.Sprintf("[client]\nhost=%v\nport=%v\nuser=%v\npassword=%v\nprotocol=tcp\nssl-ca=%s\n", c["host"],
		c["port"], c["username"], c["password"], ca)
	if err := errors.Join(os.WriteFile(ca, []byte(authority), 0o600),
		os.WriteFile(options, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), program,
		append([]string{"--defaults-file=" + options}, args...)...).CombinedOutput()
	return string(out), err
}

package postgres_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/pki"
)

// awaitedRefusals are what a binding may not do on a primary that is followed: read what the nodes prove to each other,
// follow by itself, or change who follows and who is awaited.
var awaitedRefusals = []string{
	`SELECT pg_read_file('link.key')`, `SELECT pg_read_binary_file('link.key')`, `SELECT pg_stat_file('link.key')`,
	`CREATE TABLE taken (line text); COPY taken FROM 'link.key'`, `SELECT lo_import('link.key')`,
	`COPY (SELECT 1) TO 'standby.signal'`, `SELECT pg_promote()`, `SELECT pg_reload_conf()`, `SELECT pg_switch_wal()`,
	`ALTER SYSTEM SET synchronous_standby_names = ''`, `ALTER ROLE CURRENT_USER REPLICATION`, `ALTER ROLE owner REPLICATION`,
	`SELECT pg_create_physical_replication_slot('mine', true)`, `SELECT pg_drop_replication_slot('node_b')`,
	`SELECT pg_create_logical_replication_slot('mine', 'test_decoding')`, `SELECT pg_backup_start('mine')`,
	`CREATE SUBSCRIPTION mine CONNECTION 'host=localhost' PUBLICATION none WITH (connect = false)`,
	`SELECT pg_terminate_backend(pid) FROM pg_stat_replication`, `SELECT pg_cancel_backend(pid) FROM pg_stat_replication`,
	`SELECT * FROM pg_show_replication_origin_status()`,
}

// followerRefusals are what it may not do on the node that follows.
var followerRefusals = []string{
	`SELECT pg_read_file('link.key')`, `SELECT pg_promote()`, `SELECT pg_promote(false)`, `SELECT pg_wal_replay_pause()`,
	`SHOW primary_conninfo`, `SELECT pg_reload_conf()`, `ALTER SYSTEM SET primary_conninfo = ''`,
}

func TestLink(t *testing.T) {
	t.Parallel()
	p := enginetest.NewPair(t, postgres.Engine{}, "")
	p.Protect(t)
	b := server{p.Primary()}.bind(t)
	for _, tc := range []struct {
		name string
		test func(*testing.T, *enginetest.Pair, binding)
	}{
		{"PrimaryIsWalled", testPrimaryWalled},
		{"StandbyIsWalled", testStandbyWalled},
		{"LetsNobodyElseIn", testLinkRefusals},
		{"AsksClientsForNone", testClientCertificates},
		{"ProvesBoth", testLinkProves},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.test(t, p, b) })
	}
}

func testPrimaryWalled(t *testing.T, _ *enginetest.Pair, b binding) {
	c := b.connect(t)
	for _, sql := range awaitedRefusals {
		c.refused(t, sql, denied)
		c.do(t, `DISCARD ALL`)
	}
	c.refused(t, `SET synchronous_standby_names = ''`, "55P02")
	c.do(t, `SET ROLE NONE`)
	for _, sql := range awaitedRefusals {
		if _, err := c.Exec(t.Context(), sql); err == nil {
			t.Errorf("%s: succeeds outside owner", sql)
		}
	}
	b.admin(t).want(t, `SELECT sync_state FROM pg_stat_replication`, "sync")
}

func testStandbyWalled(t *testing.T, p *enginetest.Pair, b binding) {
	conn, err := dial(t.Context(), at(b.credentials, p.Primary(), p.Standby()))
	c := opened(t, conn, err)
	for _, sql := range followerRefusals {
		c.refused(t, sql, denied)
	}
	c.refused(t, `CREATE TABLE written (n int)`, readOnly)
	c.want(t, `SELECT conninfo ~ '=/|/tmp|PRIVATE' FROM pg_stat_wal_receiver`, "false")
	c.want(t, `SELECT status FROM pg_stat_wal_receiver`, "streaming")
}

// at are the credentials of a node's user for another node.
func at(c backstay.Credentials, from, to engine.Node) backstay.Credentials {
	moved := backstay.Credentials{"host": c["host"], "ca_certificate": c["ca_certificate"]}
	was, is := fmt.Sprintf(":%d/", from.Endpoint.Port), fmt.Sprintf(":%d/", to.Endpoint.Port)
	moved["uri"] = strings.Replace(fmt.Sprint(c["uri"]), was, is, 1)
	return moved
}

// testLinkRefusals wants nobody to be let in for replication but whoever has the link's key, and that one nowhere else.
func testLinkRefusals(t *testing.T, p *enginetest.Pair, b binding) {
	n := p.Primary()
	stranger, err := pki.NewLink(string(n.Instance), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	unproved := backstay.Certificate{}
	for _, tc := range []struct {
		name, user, database, replication string
		proof                             backstay.Certificate
		isLetIn                           bool
	}{
		{"a binding", b.name, "main", "true", unproved, false},
		{"a binding, logically", b.name, "main", "database", unproved, false},
		{"a binding with the link's key", b.name, "main", "true", n.Replication.Link, false},
		{"the administrator without a key", "backstay", "main", "true", unproved, false},
		{"the administrator with a stranger's key", "backstay", "main", "true", stranger, false},
		{"a session with the link's key", "backstay", "main", "", n.Replication.Link, false},
		{"logical replication with the link's key", "backstay", "main", "database", n.Replication.Link, false},
		{"a node", "backstay", "main", "true", n.Replication.Link, true},
	} {
		cfg := linkConfig(t, b.credentials, tc.proof)
		cfg.User, cfg.Database = tc.user, tc.database
		if tc.replication != "" {
			cfg.RuntimeParams["replication"] = tc.replication
		}
		conn, err := pgx.ConnectConfig(t.Context(), cfg)
		if err == nil {
			conn.Close(context.Background())
		}
		if (err == nil) != tc.isLetIn {
			t.Errorf("%s: %v, want it to be let in: %t", tc.name, err, tc.isLetIn)
		}
	}
}

func linkConfig(t *testing.T, c backstay.Credentials, proof backstay.Certificate) *pgx.ConnConfig {
	t.Helper()
	cfg, err := pgx.ParseConfig(fmt.Sprint(c["uri"]))
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(fmt.Append(nil, c["ca_certificate"]))
	cfg.TLSConfig, cfg.Fallbacks = &tls.Config{RootCAs: trusted, ServerName: fmt.Sprint(c["host"])}, nil
	if proof.Leaf != "" {
		pair, err := tls.X509KeyPair([]byte(proof.Leaf), []byte(proof.Key.Reveal()))
		if err != nil {
			t.Fatal(err)
		}
		cfg.TLSConfig.Certificates = []tls.Certificate{pair}
	}
	return cfg
}

// testLinkProves wants the stream to be encrypted, and the node to have verified its primary: it does not follow one that
// proves another name.
func testLinkProves(t *testing.T, p *enginetest.Pair, b binding) {
	const asked = `SELECT version || ' ' || client_dn FROM pg_stat_ssl JOIN pg_stat_replication USING (pid)`
	b.admin(t).want(t, asked, "TLSv1.3 /CN="+string(p.Primary().Instance))
	n := p.Standby()
	n.Endpoint.Host = "127.0.0.1" // for which the certificate is not
	if _, err := (postgres.Engine{}).Reload(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	f, err := p.Follows(t.Context(), p.Primary(), n)
	for end := time.Now().Add(time.Second); err == nil && !f.Streams && time.Now().Before(end); {
		f, err = p.Follows(t.Context(), p.Primary(), n)
	}
	if err != nil || f.Streams {
		t.Errorf("it follows a primary that proves another name: %+v, %v", f, err)
	}
	p.Release(t)
}

// testClientCertificates wants clients without a certificate to be let in, and shows what becomes of those with one.
func testClientCertificates(t *testing.T, _ *enginetest.Pair, b binding) {
	own, err := pki.NewLink("me", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificate, key := filepath.Join(dir, "postgresql.crt"), filepath.Join(dir, "postgresql.key")
	err = errors.Join(os.WriteFile(certificate, []byte(own.Leaf), 0o600), os.WriteFile(key, []byte(own.Key.Reveal()), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	authority := fmt.Sprint(b.credentials["ca_certificate"])
	for address, isLetIn := range map[string]bool{
		"dbname=main sslcert=/none":                             true,
		"dbname=main sslcert=" + certificate + " sslkey=" + key: false,
	} {
		said, err := b.run(t, "verify-full", authority, "psql", "-XAtc", "SELECT 1", address)
		if (err == nil) != isLetIn {
			t.Errorf("%s: %v, %s; want it to be let in: %t", address, err, said, isLetIn)
		}
	}
}

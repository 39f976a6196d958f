package pki_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/market/markettest"
	"github.com/backstay/backstay/pki"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func newAuthority(t testing.TB) *pki.Authority {
	t.Helper()
	a, err := pki.New(now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t testing.TB, a *pki.Authority, at time.Time, names ...string) backstay.Certificate {
	t.Helper()
	c, err := a.Issue(names, at)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func leaf(t testing.TB, c backstay.Certificate) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(c.Leaf))
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func pool(authority string) *x509.CertPool {
	p := x509.NewCertPool()
	p.AppendCertsFromPEM([]byte(authority))
	return p
}

func TestVerifiedByName(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	long := strings.Repeat("a", 60) + ".example.org"
	l := leaf(t, issue(t, a, now, "db.example.org", "127.0.0.1", "::1", "db.example.org", long))
	for name, want := range map[string]bool{
		"db.example.org": true, "127.0.0.1": true, "::1": true, long: true,
		"example.org": false, "x.db.example.org": false, "127.0.0.2": false,
	} {
		_, err := l.Verify(x509.VerifyOptions{DNSName: name, Roots: pool(a.PEM()), CurrentTime: now})
		if (err == nil) != want {
			t.Errorf("%s: verified %t (%v), want %t", name, err == nil, err, want)
		}
	}
	if len(l.DNSNames) != 2 || l.IsCA || l.KeyUsage&x509.KeyUsageCertSign != 0 {
		t.Errorf("names %v, authority %t, usage %b", l.DNSNames, l.IsCA, l.KeyUsage)
	}
	if _, err := l.Verify(
		x509.VerifyOptions{
			Roots: pool(a.PEM()), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		},
	); err == nil {
		t.Error("a server's certificate serves a client")
	}
	if _, err := l.Verify(x509.VerifyOptions{Roots: pool(newAuthority(t).PEM()), CurrentTime: now}); err == nil {
		t.Error("another authority vouches for it")
	}
}

func TestValidity(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	const year = 365 * 24 * time.Hour
	for _, tc := range []struct{ issued, at time.Duration }{
		{0, -30 * time.Minute}, {0, 3*year - time.Hour}, {9 * year, 12*year - time.Hour},
		{19 * year, 20*year - time.Hour}, // shorter than usual: not longer than its authority
	} {
		l := leaf(t, issue(t, a, now.Add(tc.issued), "db"))
		if _, err := l.Verify(
			x509.VerifyOptions{DNSName: "db", Roots: pool(a.PEM()), CurrentTime: now.Add(tc.at)},
		); err != nil {
			t.Errorf("issued after %v, at %v: %v", tc.issued, tc.at, err)
		}
	}
}

func TestNamesAreNeeded(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	for _, names := range [][]string{nil, {""}, {"db", ""}} {
		if _, err := a.Issue(names, now); err == nil {
			t.Errorf("a certificate for %q", names)
		}
	}
}

func TestHandshake(t *testing.T) {
	t.Parallel()
	c := issue(t, newAuthority(t), now, "db.example.org")
	pair, err := tls.X509KeyPair([]byte(c.Leaf), []byte(c.Key.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	clock := func() time.Time { return now }
	go tls.Server(far, &tls.Config{Certificates: []tls.Certificate{pair}, Time: clock}).Handshake()
	if err := tls.Client(near, &tls.Config{RootCAs: pool(c.Authority), ServerName: "db.example.org", Time: clock}).
		Handshake(); err != nil {
		t.Error(err)
	}
}

// TestOpenSSL asks what the clients of the engines are made of.
func TestOpenSSL(t *testing.T) {
	t.Parallel()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl on this machine: apt-get install openssl")
	}
	a, err := pki.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("a", 60) + ".example.org"
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := write("ca.pem", a.PEM())
	byName := write("name.pem", issue(t, a, time.Now(), "db.example.org", "10.1.2.3").Leaf)
	byLongName := write("long.pem", issue(t, a, time.Now(), long).Leaf)
	for _, tc := range []struct {
		file, flag, name string
		want             bool
	}{
		{byName, "-verify_hostname", "db.example.org", true},
		{byName, "-verify_ip", "10.1.2.3", true},
		{byName, "-verify_hostname", "example.org", false},
		{byName, "-verify_ip", "10.1.2.4", false},
		{byLongName, "-verify_hostname", long, true},
	} {
		out, err := exec.Command(openssl, "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", ca, tc.flag, tc.name, tc.file).
			CombinedOutput()
		if (err == nil) != tc.want {
			t.Errorf("%s %s: %v, want %t: %s", tc.flag, tc.name, err, tc.want, out)
		}
	}
}

func TestOneAuthority(t *testing.T) {
	t.Parallel()
	store, key := markettest.OpenStore(t), seal.Key{1}
	all := make([]*pki.Authority, 4)
	var starters sync.WaitGroup
	for i := range all {
		starters.Go(func() {
			var err error
			if all[i], err = pki.LoadOrCreate(t.Context(), store, key); err != nil {
				t.Error(err)
			}
		})
	}
	starters.Wait()
	if t.Failed() {
		return
	}
	again, err := pki.LoadOrCreate(t.Context(), store, key)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range all {
		if a.PEM() != again.PEM() {
			t.Errorf("starter %d has an authority of its own", i)
		}
	}
	l := leaf(t, issue(t, again, time.Now(), "db"))
	if _, err := l.Verify(x509.VerifyOptions{DNSName: "db", Roots: pool(all[0].PEM())}); err != nil {
		t.Errorf("the loaded authority does not sign for the made one: %v", err)
	}
	wantSealed(t, store, key)
}

func wantSealed(t *testing.T, store pki.SecretStore, key seal.Key) {
	t.Helper()
	sealed, err := store.Secret(t.Context(), "pki/authority")
	if err != nil || bytes.Contains(sealed, []byte("BEGIN")) {
		t.Errorf("the authority lies open in the store (%v)", err)
	}
	if _, err := pki.LoadOrCreate(t.Context(), store, seal.Key{2}); err == nil {
		t.Error("another key opened the authority")
	}
}

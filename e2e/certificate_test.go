package e2e

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/pki"
	"github.com/backstay/backstay/pki/pkitest"
)

// verifyingClients are what users run, each verifying by what its system trusts and told of no authority.
var verifyingClients = map[string]func(c map[string]any) []string{
	"postgres": func(c map[string]any) []string {
		return []string{"psql", c["uri"].(string) + "?sslmode=verify-full", "-Atc", "SELECT 'verified'"}
	},
	"mysql": func(c map[string]any) []string {
		return []string{"mysql", "--no-defaults", "--protocol=tcp", "-h", c["host"].(string), "-P", fmt.Sprint(c["port"]), "-u",
			c["username"].(string), "-p" + c["password"].(string), "--ssl-verify-server-cert", "-Ne", "SELECT 'verified'"}
	},
	"redis": func(c map[string]any) []string {
		return []string{"redis-cli", "--no-auth-warning", "-u", c["uri"].(string), "ECHO", "verified"}
	},
}

// TestEveryClientVerifiesTheOperatorsCertificate has an operator bring a certificate of an authority that clients know,
// and renew it twice: right, and wrong.
func TestEveryClientVerifiesTheOperatorsCertificate(t *testing.T) {
	t.Parallel()
	public, stranger, dir := pkitest.NewPublic(t), pkitest.NewPublic(t), t.TempDir()
	certificate, key := public.Issue(t, time.Now().AddDate(0, 1, 0), "localhost").Write(t, dir)
	flags := []string{"--endpoint-host", "localhost", "--endpoint-certificate", certificate, "--endpoint-key", key}
	p := start(t, "backstay", flags...)
	var lives []*life
	for _, of := range breeds {
		l := &life{ward: &ward{breed: of, platform: p}, t: t, name: of.name}
		l.space, l.app = l.settle()
		l.create()
		l.bind()
		if authority, named := l.credentials["ca_certificate"]; named {
			t.Errorf("%s: credentials name the authority %v", of.name, authority)
		}
		wantVerified(t, l, public, true)
		wantVerified(t, l, stranger, false)
		lives = append(lives, l)
	}
	sessions, identities := make([]session, len(lives)), make([]string, len(lives))
	for i, l := range lives {
		l.credentials["ca_certificate"] = public.Root // what this client's system trusts
		sessions[i] = l.begin()
		var err error
		if identities[i], err = sessions[i].Identity(t.Context()); err != nil {
			t.Fatal(err)
		}
	}

	public.Issue(t, time.Now().AddDate(0, 2, 0), "localhost").Write(t, dir)
	for _, l := range lives {
		eventually(t, l.name+" proves itself with the renewed certificate", func() bool {
			return time.Until(presented(t, l).NotAfter) > 45*24*time.Hour
		})
		wantVerified(t, l, public, true)
	}
	// Valid today on every day of the year: three months on from some and back again is later than now.
	public.Issue(t, time.Now().AddDate(0, 0, 80), "elsewhere").Write(t, dir)
	eventually(t, "the log tells of a certificate for another host", func() bool {
		return strings.Contains(p.logs(), `is for [\"elsewhere\"], not for \"localhost\"`)
	})
	for i, l := range lives {
		wantVerified(t, l, public, true)
		if again, err := sessions[i].Identity(t.Context()); err != nil || again != identities[i] {
			t.Errorf("%s: session %s has become %s, %v", l.name, identities[i], again, err)
		}
	}
}

// wantVerified has the engine's own client connect on a system that trusts that authority and no other.
func wantVerified(t *testing.T, l *life, trusted *pkitest.Public, want bool) {
	t.Helper()
	argv := verifyingClients[l.breed.name](l.credentials)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "SSL_CERT_FILE="+trusted.RootFile, "SSL_CERT_DIR="+t.TempDir())
	if l.breed.name == "postgres" { // libpq knows the word "system" since 16; before, it is told where the system's are
		cmd.Env = append(cmd.Env, "PGSSLROOTCERT="+trusted.RootFile)
	}
	said, err := cmd.CombinedOutput()
	if (err == nil && strings.Contains(string(said), "verified")) != want {
		t.Errorf("%s: verified %t, want %t: %v\n%s", l.breed.name, !want, want, err, said)
	}
}

// presented is the certificate that a client sees.
func presented(t *testing.T, l *life) *x509.Certificate {
	t.Helper()
	argv := []string{"s_client", "-connect", fmt.Sprintf("127.0.0.1:%v", l.credentials["port"])}
	if l.breed.name != "redis" { // which speaks TLS from the first byte on
		argv = append(argv, "-starttls", l.breed.name)
	}
	said, err := exec.Command("openssl", argv...).CombinedOutput()
	seen := pki.ParseCertificates(said)
	if len(seen) == 0 {
		t.Fatalf("openssl sees no certificate of %s: %v\n%s", l.breed.name, err, said)
	}
	return seen[0]
}

// TestAWrongFileKeepsNoDatabaseDown starts with a catalog and a certificate that cannot be: where nothing has been made
// yet, nothing is; what has served comes up.
func TestAWrongFileKeepsNoDatabaseDown(t *testing.T) {
	t.Parallel()
	public, dir := pkitest.NewPublic(t), t.TempDir()
	certificate, key := public.Issue(t, time.Now().Add(-time.Hour), "localhost").Write(t, dir)
	expired := []string{"--endpoint-host", "localhost", "--endpoint-certificate", certificate, "--endpoint-key", key}
	fresh := filepath.Join(t.TempDir(), "data")
	l := settled(t, postgresBreed)
	if out, err := exec.Command(l.binary, "stop", "--data", l.data).CombinedOutput(); err != nil {
		t.Fatalf("backstay stop: %v\n%s", err, out)
	}
	<-l.ended
	for _, wrong := range []struct {
		reason string
		flags  []string
	}{
		{"has expired, on ", expired},
		{"no such file", []string{"--catalog", "/absent.yaml"}},
		{"load certificate of the API", []string{"--tls-certificate", "/absent.pem", "--tls-key", "/absent.key"}},
		{"and the key in " + certificate + " are", []string{"--tls-certificate", certificate, "--tls-key", certificate}},
		{"databases cannot listen on 192.0.2.1", []string{"--endpoint-listen", "192.0.2.1"}}, // they listen by now
	} {
		refused(t, l.platform, 1, wrong.reason, append([]string{"serve", "--data", fresh}, wrong.flags...)...)
		refused(t, l.platform, 1, wrong.reason, append(slices.Clone(l.args), wrong.flags...)...)
	}
	if _, err := os.Stat(fresh); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a wrong file made %s (%v)", fresh, err)
	}
	eventually(t, "the database serves", func() bool {
		s, err := l.open(t.Context(), l.credentials)
		if err == nil {
			s.Close()
		}
		return err == nil
	})
}

// TestRotateCredentials gives the platform other secrets while a session goes on, and a user stays logged in.
func TestRotateCredentials(t *testing.T) {
	onEachBreed(t, func(l *life) {
		t := l.t.(*testing.T)
		s := l.begin()
		before, err := s.Identity(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		seen := presented(t, l)
		out, err := exec.Command(l.binary, "rotate-credentials", l.instance, "--data", l.data).CombinedOutput()
		if err != nil || !strings.Contains(string(out), l.instance+": its certificate has another key.") {
			t.Fatalf("rotate-credentials: %v\n%s", err, out)
		}
		out, err = exec.Command(l.binary, "rotate-credentials", "--data", l.data).CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "Logins are signed with another key.\n"+l.instance) {
			t.Fatalf("rotate-credentials: %v\n%s", err, out)
		}
		if now := presented(t, l); now.Equal(seen) || !slices.Equal(now.DNSNames, seen.DNSNames) {
			t.Errorf("the endpoint has a certificate for %v; before, it was for %v", now.DNSNames, seen.DNSNames)
		}
		if after, err := s.Identity(t.Context()); err != nil || after != before {
			t.Errorf("session %s has become %s, %v", before, after, err)
		}
		if again, err := l.open(t.Context(), l.credentials); err != nil {
			t.Errorf("the binding's credentials: %v", err)
		} else {
			again.Close()
		}
		l.unbind() // as somebody who logged in before
		refused(t, l.platform, 1, "not done: Service instance", "rotate-credentials", "absent", "--data", l.data)
	})
}

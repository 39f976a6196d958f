package main

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/clientenv"
	"github.com/backstay/backstay/pki"
)

// servicesWith is a VCAP_SERVICES whose credentials name an authority.
func servicesWith(t *testing.T, authority string) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"postgres": []any{map[string]any{"credentials": map[string]any{
		"ca_certificate": authority, "jdbcuri": "jdbc:postgresql://h:1/main?password=p&ssl=true&user=u"}}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// An app asks a server whose certificate is of the services' authority, by what its language brings.
func TestAnAppTrustsTheAuthorityOfItsServices(t *testing.T) {
	t.Parallel()
	authority, err := pki.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := authority.Issue([]string{"127.0.0.1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair([]byte(certificate.Leaf), []byte(certificate.Key.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("verified"))
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	t.Cleanup(server.Close)

	variables := map[string]string{"VCAP_SERVICES": servicesWith(t, authority.PEM())}
	if err := addTrust(variables, t.TempDir(), func(string) string { return "" }); err != nil {
		t.Fatal(err)
	}
	ask := filepath.Join(t.TempDir(), "Ask.java")
	if err := os.WriteFile(ask, []byte(`class Ask { public static void main(String[] a) throws Exception {
		System.out.print(new String(new java.net.URL(a[0]).openStream().readAllBytes())); } }`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{
		{"curl", "-sS", server.URL},
		{"/usr/bin/python3", "-c", "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())", server.URL},
		{"node", "-e", "fetch(process.argv[1]).then(r => r.text()).then(console.log)", server.URL},
		{"php", "-r", "echo file_get_contents($argv[1]);", server.URL},
		{"openssl", "s_client", "-verify_return_error", "-brief", "-connect", strings.TrimPrefix(server.URL, "https://")},
		{"java", ask, server.URL},
	} {
		t.Run(filepath.Base(argv[0]), func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(argv[0]); err != nil {
				t.Skipf("not installed: %v", err)
			}
			cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
			// Without what this machine's environment says of certificates, which a caller's may.
			cmd.Env = clientenv.Replace([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, variables)
			said, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(strings.ToLower(string(said)), "verifi") {
				t.Errorf("%v: %s", err, said)
			}
		})
	}
}

func TestTrustLeavesWhatIsSetAlone(t *testing.T) {
	t.Parallel()
	authority, err := pki.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	callers := map[string]string{"SSL_CERT_FILE": "/caller.pem", "PGSSLROOTCERT": "/other-server.pem",
		"JAVA_TOOL_OPTIONS": "-Xmx64m"}
	variables := map[string]string{"VCAP_SERVICES": servicesWith(t, authority.PEM()), "REQUESTS_CA_BUNDLE": "/app.pem"}
	for range 2 { // the second time, the files are there
		if err := addTrust(variables, home, func(name string) string { return callers[name] }); err != nil {
			t.Fatal(err)
		}
	}
	if _, set := variables["SSL_CERT_FILE"]; set || variables["REQUESTS_CA_BUNDLE"] != "/app.pem" {
		t.Errorf("what was set is replaced: %v", variables)
	}
	if root := variables["PGSSLROOTCERT"]; !strings.HasPrefix(root, home) {
		t.Errorf("PGSSLROOTCERT is %q, which the caller set for another server", root)
	}
	options := variables["JAVA_TOOL_OPTIONS"]
	if !strings.HasSuffix(options, " -Xmx64m") || strings.Count(options, "trustStore=") != 1 {
		t.Errorf("JAVA_TOOL_OPTIONS is %q", options)
	}
	if got := variables["VCAP_SERVICES"]; strings.Count(got, "&sslrootcert=%2F") != 1 || !json.Valid([]byte(got)) {
		t.Errorf("VCAP_SERVICES is %s", got)
	}
	bare := map[string]string{"VCAP_SERVICES": `{"user-provided":[{"credentials":{"ca_certificate":7}}]}`}
	if err := addTrust(bare, home, os.Getenv); err != nil || len(bare) != 1 {
		t.Errorf("an app without an authority gets %v, %v", bare, err)
	}
}

// Of services whose authority every system knows, libpq alone must be told where the system has them.
func TestAnAppVerifiesWhatItsSystemKnows(t *testing.T) {
	t.Parallel()
	const services = `{"postgres":[{"credentials":{"jdbcuri":"jdbc:postgresql://h:1/main?ssl=true\u0026` +
		`sslfactory=org.postgresql.ssl.DefaultJavaSSLFactory"}}]}`
	bundle := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(bundle, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	variables := map[string]string{"VCAP_SERVICES": services}
	callers := map[string]string{"SSL_CERT_FILE": bundle, "PGSSLROOTCERT": "/other-server.pem"}
	if err := addTrust(variables, t.TempDir(), func(name string) string { return callers[name] }); err != nil {
		t.Fatal(err)
	}
	if len(variables) != 2 || variables["PGSSLROOTCERT"] != bundle || variables["VCAP_SERVICES"] != services {
		t.Errorf("the app gets %v", variables)
	}
}

// The authority is installed by the system's own program, into directories of the test's.
func TestTrustInstallsTheAuthority(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("update-ca-certificates"); err != nil {
		t.Skip("this is no Debian")
	}
	authority, err := pki.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"etc", "hooks"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "conf"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	store := trustStore{filepath.Join(dir, "local"), []string{"update-ca-certificates", "--localcertsdir", dir + "/local",
		"--etccertsdir", dir + "/etc", "--hooksdir", dir + "/hooks", "--certsconf", dir + "/conf"}}
	path, err := store.install(t.Context(), []byte(authority.PEM()))
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := os.ReadFile(filepath.Join(dir, "etc", "ca-certificates.crt"))
	if err != nil || strings.TrimSpace(string(bundle)) != strings.TrimSpace(authority.PEM()) {
		t.Errorf("%s is installed as %s, %v", path, bundle, err)
	}
}

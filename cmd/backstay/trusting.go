package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/pki"
)

// systemBundles are where systems keep the authorities that all programs trust: Debian, Fedora, openSUSE, macOS.
var systemBundles = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"}

// systemCertificates is where OpenSSL looks up authorities by their hashes on these systems.
const systemCertificates = "/etc/ssl/certs"

// trustFiles are files by which every program trusts the authorities of an app's services besides the system's.
// There is no secret in them. They stay: "backstay run" has become the app when the app reads them.
type trustFiles struct{ dir string }

func (t trustFiles) bundle() string    { return filepath.Join(t.dir, "all.pem") }
func (t trustFiles) services() string  { return filepath.Join(t.dir, "services.pem") }
func (t trustFiles) hashed() string    { return filepath.Join(t.dir, "certs") }
func (t trustFiles) javaStore() string { return filepath.Join(t.dir, "all.p12") }

// writeTrust leaves the files for these authorities, one or more in PEM, in a directory of their own below home.
func writeTrust(home, authorities string) (trustFiles, error) {
	sum := sha256.Sum256([]byte(authorities))
	files := trustFiles{filepath.Join(home, hex.EncodeToString(sum[:8]))}
	all := append(systemBundle(), authorities...)
	if kept, err := os.ReadFile(files.bundle()); err == nil && bytes.Equal(kept, all) {
		return files, nil
	}
	if err := files.write(authorities, all); err != nil {
		return files, fmt.Errorf("say whom to trust: %w", err)
	}
	return files, nil
}

// write writes the bundle last: it stands for all of them being there.
func (t trustFiles) write(authorities string, all []byte) error {
	if err := os.MkdirAll(t.hashed(), 0o700); err != nil {
		return err
	}
	times := map[string]int{}
	for _, c := range pki.ParseCertificates([]byte(authorities)) {
		hash, err := pki.SubjectHash(c)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("%s.%d", hash, times[hash])
		times[hash]++
		if err := atomicfile.Write(filepath.Join(t.hashed(), name), encodeCertificate(c.Raw), 0o600); err != nil {
			return err
		}
	}
	store, err := pki.TrustStore(pki.ParseCertificates(all))
	if err != nil {
		return err
	}
	return errors.Join(atomicfile.Write(t.javaStore(), store, 0o600),
		atomicfile.Write(t.services(), []byte(authorities), 0o600), atomicfile.Write(t.bundle(), all, 0o600))
}

// systemBundle is empty on a system that keeps its authorities in no file.
func systemBundle() []byte {
	for _, path := range systemBundles {
		if text, err := os.ReadFile(path); err == nil {
			return append(bytes.TrimRight(text, "\n"), '\n')
		}
	}
	return nil
}

// variables are what makes programs and libraries read the files.
func (t trustFiles) variables() map[string]string {
	directories := t.hashed()
	if _, err := os.Stat(systemCertificates); err == nil {
		directories += ":" + systemCertificates
	}
	return map[string]string{"SSL_CERT_FILE": t.bundle(), "SSL_CERT_DIR": directories, "REQUESTS_CA_BUNDLE": t.bundle(),
		"NODE_EXTRA_CA_CERTS": t.services(), "PGSSLROOTCERT": t.bundle()}
}

// javaOptions adds the trust store to the options that every Java reads, unless these name one.
func (t trustFiles) javaOptions(options string) string {
	if strings.Contains(options, "javax.net.ssl.trustStore=") {
		return options
	}
	store := "-Djavax.net.ssl.trustStore=" + t.javaStore()
	if strings.Contains(store, " ") {
		store = `"` + store + `"`
	}
	return strings.TrimSpace(store + " -Djavax.net.ssl.trustStoreType=PKCS12 " + options)
}

const javaOptionsName = "JAVA_TOOL_OPTIONS"

// addTrust adds to an app's variables what makes it trust the authorities that its services' credentials name, and
// leaves files for that below home. What the app or, by env, the caller has set wins.
func addTrust(variables map[string]string, home string, env func(string) string) error {
	authorities := namedAuthorities(variables["VCAP_SERVICES"])
	if authorities == "" {
		addSystemsRoots(variables, env)
		return nil
	}
	files, err := writeTrust(home, authorities)
	if err != nil {
		return err
	}
	for name, value := range files.variables() {
		_, set := variables[name]
		if !set && (env(name) == "" || name == "PGSSLROOTCERT") { // which clientenv takes away, with all that decides
			variables[name] = value
		}
	}
	options, set := variables[javaOptionsName]
	if !set {
		options = env(javaOptionsName)
	}
	variables[javaOptionsName] = files.javaOptions(options)
	variables["VCAP_SERVICES"] = withRootCertificate(variables["VCAP_SERVICES"], files.services())
	return nil
}

// systemsOwn is in the addresses for Java of databases whose authority the system knows.
const systemsOwn = "sslfactory=org.postgresql.ssl.DefaultJavaSSLFactory"

// addSystemsRoots lets libpq verify what the system's store knows: of all clients, it alone does not look there by
// itself.
func addSystemsRoots(variables map[string]string, env func(string) string) {
	_, set := variables["PGSSLROOTCERT"]
	if set || !strings.Contains(variables["VCAP_SERVICES"], systemsOwn) {
		return
	}
	for _, path := range append([]string{env("SSL_CERT_FILE")}, systemBundles...) {
		if _, err := os.Stat(path); err == nil {
			variables["PGSSLROOTCERT"] = path
			return
		}
	}
}

// namedAuthorities are the certificates in the credentials of VCAP_SERVICES, each once, as PEM.
func namedAuthorities(services string) string {
	var offerings map[string][]struct {
		Credentials map[string]any `json:"credentials"`
	}
	if json.Unmarshal([]byte(services), &offerings) != nil {
		return "" // the app has something else under this name
	}
	var all []string
	for _, bindings := range offerings {
		for _, binding := range bindings {
			text, _ := binding.Credentials["ca_certificate"].(string)
			for _, c := range pki.ParseCertificates([]byte(text)) {
				all = append(all, string(encodeCertificate(c.Raw)))
			}
		}
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), "")
}

// verifiedJDBC finds the addresses by which PostgreSQL's driver for Java verifies, with nothing to verify by: it
// reads no variable and none of Java's trust stores, but ~/.postgresql/root.crt.
var verifiedJDBC = regexp.MustCompile(`"jdbcuri":"jdbc:postgresql://[^"]*(?:[?&]|\\u0026)ssl=true[^"]*"`)

// withRootCertificate names a file of authorities in the addresses for Java of VCAP_SERVICES.
func withRootCertificate(services, file string) string {
	return verifiedJDBC.ReplaceAllStringFunc(services, func(found string) string {
		if strings.Contains(found, "sslrootcert=") || strings.Contains(found, systemsOwn) {
			return found
		}
		return strings.TrimSuffix(found, `"`) + "&sslrootcert=" + url.QueryEscape(file) + `"`
	})
}

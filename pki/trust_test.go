package pki_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/pki"
)

func TestSubjectHashIsOpenSSLs(t *testing.T) {
	t.Parallel()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	foreign, err := exec.Command(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
		"-nodes", "-keyout", "/dev/null", "-subj", "/C=GB/O=Two  Words/CN=Ä Root").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{newAuthority(t).PEM(), string(foreign)} {
		cmd := exec.Command(openssl, "x509", "-noout", "-hash")
		cmd.Stdin = strings.NewReader(text)
		want, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		got, err := pki.SubjectHash(pki.ParseCertificates([]byte(text))[0])
		if err != nil || got != string(bytes.TrimSpace(want)) {
			t.Errorf("got %s, %v; openssl says %s", got, err, want)
		}
	}
}

func TestJavaTrustsWhatIsInTheTrustStore(t *testing.T) {
	t.Parallel()
	keytool, err := exec.LookPath("keytool")
	if err != nil {
		t.Skip("keytool is not installed")
	}
	both := newAuthority(t).PEM() + "no certificate\n" + newAuthority(t).PEM()
	store, err := pki.TrustStore(pki.ParseCertificates([]byte(both)))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "trust.p12")
	if err := os.WriteFile(file, store, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(keytool, "-list", "-keystore", file)
	cmd.Stdin = strings.NewReader("\n") // no password
	said, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(said), "trustedCertEntry") != 2 {
		t.Errorf("%v: %s", err, said)
	}
}

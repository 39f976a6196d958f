// Package pkitest plays the public authority that an operator has a certificate of: a root that clients know, and an
// intermediate that signs.
package pkitest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Public is an authority.
type Public struct {
	Root         string // its certificate, PEM
	RootFile     string // where that lies, as the bundle of a system does
	root         *x509.Certificate
	intermediate *x509.Certificate
	key          *ecdsa.PrivateKey // the intermediate's
}

// NewPublic makes an authority that has been valid for a year.
func NewPublic(t testing.TB) *Public {
	t.Helper()
	rootKey, key := newKey(t), newKey(t)
	root := sign(t, authority("Public Root"), nil, rootKey.Public(), rootKey)
	p := &Public{Root: encode(root), RootFile: filepath.Join(t.TempDir(), "roots.pem"), root: root, key: key}
	p.intermediate = sign(t, authority("Public Intermediate"), root, key.Public(), rootKey)
	if err := os.WriteFile(p.RootFile, []byte(p.Root), 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

func authority(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageCertSign,
	}
}

// Pair is a certificate with its chain, and its key, as the authority hands them out.
type Pair struct{ Chain, Key string }

// Issue makes a pair for the names that is valid until then. Its key is an RSA one, as most are.
func (p *Public) Issue(t testing.TB, until time.Time, names ...string) Pair {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: names[0]}, NotBefore: until.AddDate(0, -3, 0), NotAfter: until,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	leaf := sign(t, template, p.intermediate, key.Public(), p.key)
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	return Pair{encode(leaf) + encode(p.intermediate), string(pem.EncodeToMemory(block))}
}

// Write puts the pair into the files tls.crt and tls.key of a directory, each whole or not at all.
func (p Pair) Write(t testing.TB, dir string) (certificate, key string) {
	t.Helper()
	certificate, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for path, text := range map[string]string{certificate: p.Chain, key: p.Key} {
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}

// sign signs a certificate by its parent, or by itself if that is nil.
func sign(t testing.TB, template, parent *x509.Certificate, public any, by *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	var err error
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		t.Fatal(err)
	}
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func encode(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

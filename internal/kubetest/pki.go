package kubetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// authority signs the certificates of one cluster, by which its programs know each other.
type authority struct {
	dir         string
	certificate *x509.Certificate
	key         crypto.Signer
	serial      int64
}

// subject is who a certificate is for: organizations are what Kubernetes calls groups.
type subject struct {
	file, name, organization string
	names                    []string
	addresses                []string
}

// newAuthority writes the certificate and the key of a new one into a new directory, and the key for tokens of service
// accounts.
func newAuthority(dir string) (*authority, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	a := &authority{dir: dir}
	if err := a.issue(subject{file: "ca", name: "kubetest"}); err != nil {
		return nil, err
	}
	return a, a.issue(subject{file: "accounts", name: "accounts"})
}

// issue writes a key, and the certificate that the authority gives it; the first one is its own.
func (a *authority) issue(s subject) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	a.serial++
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.serial), NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 1, 0),
		Subject: pkix.Name{CommonName: s.name}, DNSNames: s.names,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if s.organization != "" {
		template.Subject.Organization = []string{s.organization}
	}
	for _, address := range s.addresses {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(address))
	}
	parent, signer := a.certificate, a.key
	if parent == nil {
		template.IsCA, template.BasicConstraintsValid, template.ExtKeyUsage = true, true, nil
		template.KeyUsage |= x509.KeyUsageCertSign
		parent, signer = template, key
	}
	text, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return err
	}
	if a.certificate == nil {
		if a.certificate, err = x509.ParseCertificate(text); err != nil {
			return err
		}
		a.key = key
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(a.dir, s.file+".key"), "PRIVATE KEY", secret); err != nil {
		return err
	}
	return writePEM(filepath.Join(a.dir, s.file+".pem"), "CERTIFICATE", text)
}

func writePEM(file, kind string, content []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600)
}

// inline returns the file of a certificate or a key as kubeconfigs have it.
func (a *authority) inline(file string) (string, error) {
	text, err := os.ReadFile(filepath.Join(a.dir, file))
	return base64.StdEncoding.EncodeToString(text), err
}

package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"time"

	"github.com/backstay/backstay"
)

// NewLink makes what the nodes of one instance prove to each other, as servers and as clients: a certificate of that
// name, by an authority of its own that signs nothing else, since nobody keeps its key. It is valid for as long as
// authorities are: nodes that could not follow any more would be found out when one is needed.
func NewLink(name string, now time.Time) (backstay.Certificate, error) {
	authority, err := New(now)
	if err != nil {
		return backstay.Certificate{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return backstay.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: now.Add(-skew), NotAfter: authority.certificate.NotAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, authority.certificate, key.Public(), authority.key)
	if err != nil {
		return backstay.Certificate{}, err
	}
	keyPEM, err := encodeKey(key)
	return backstay.Certificate{Leaf: encode("CERTIFICATE", der), Key: keyPEM, Authority: authority.pem}, err
}

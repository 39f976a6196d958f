// Package pki is who certifies endpoints: the platform's own authority, which signs a certificate for each, or the
// operator, who brings one for all of them. It keeps nothing; where the authority's key lies, sealed, is the caller's
// business.
package pki

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/seal"
)

const (
	// authorityLife is longer than any machine that apps pin the authority on.
	authorityLife = 20 * 365 * 24 * time.Hour
	// leafLife: a certificate is renewed long before its end, but only while a control plane runs. No endpoint
	// must go dark where that is down for months.
	leafLife = 3 * 365 * 24 * time.Hour
	// skew is how far behind a client's clock may be.
	skew = time.Hour
)

// Authority signs certificates. It is safe for concurrent use.
type Authority struct {
	certificate *x509.Certificate
	pem         string
	key         *ecdsa.PrivateKey
}

// New makes an authority with an ECDSA P-256 key of its own, valid from now.
func New(now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Backstay authority", Organization: []string{"Backstay"}},
		NotBefore: now.Add(-skew), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return parse(der, key)
}

func parse(der []byte, key *ecdsa.PrivateKey) (*Authority, error) {
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{certificate: certificate, pem: encode("CERTIFICATE", der), key: key}, nil
}

// PEM is the authority's certificate: what clients verify by.
func (a *Authority) PEM() string { return a.pem }

// Issue makes a key and a server certificate for it, valid from now for all the names. The first is its common name
// too, if it is not too long for one, for people who look at it: clients look at all of them.
func (a *Authority) Issue(names []string, now time.Time) (backstay.Certificate, error) {
	if len(names) == 0 || slices.Contains(names, "") {
		return backstay.Certificate{}, fmt.Errorf("a certificate needs names, and none of them empty: %q", names)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return backstay.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: commonName(names[0])},
		NotBefore: now.Add(-skew), NotAfter: earlier(now.Add(leafLife), a.certificate.NotAfter),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return backstay.Certificate{}, err
	}
	keyPEM, err := encodeKey(key)
	return backstay.Certificate{Leaf: encode("CERTIFICATE", der), Key: keyPEM, Authority: a.pem}, err
}

// commonName leaves out what RFC 5280 has no room for (ub-common-name).
func commonName(name string) string {
	if len(name) > 64 {
		return ""
	}
	return name
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// serial is 127 random bits (RFC 5280, section 4.1.2.2: positive and at most 20 octets).
func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic(err) // the system's randomness never fails
	}
	return n
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func encodeKey(key crypto.PrivateKey) (backstay.Secret, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return backstay.Secret(encode("PRIVATE KEY", der)), err
}

// SecretStore keeps sealed secrets of the platform by name.
type SecretStore interface {
	// Secret is NotFound for a name that has none.
	Secret(ctx context.Context, name string) (sealed []byte, err error)
	// KeepSecret keeps the secret unless the name has one, and returns the one that is kept.
	KeepSecret(ctx context.Context, name string, sealed []byte) (kept []byte, err error)
}

// secretName is where the authority lies in a SecretStore, and what it is sealed for.
const secretName = "pki/authority"

// LoadOrCreate returns the platform's authority, which the first call makes. Of two first calls at
// once, both return the same.
func LoadOrCreate(ctx context.Context, store SecretStore, key seal.Key) (*Authority, error) {
	sealed, err := store.Secret(ctx, secretName)
	if backstay.KindOf(err) == backstay.NotFound {
		sealed, err = create(ctx, store, key)
	}
	if err != nil {
		return nil, fmt.Errorf("load certificate authority: %w", err)
	}
	plain, err := key.Open(sealed, secretName)
	if err != nil {
		return nil, fmt.Errorf("load certificate authority: %w", err)
	}
	return unmarshal(plain)
}

func create(ctx context.Context, store SecretStore, key seal.Key) ([]byte, error) {
	a, err := New(time.Now())
	if err != nil {
		return nil, err
	}
	keyPEM, err := encodeKey(a.key)
	if err != nil {
		return nil, err
	}
	return store.KeepSecret(ctx, secretName, key.Seal([]byte(a.pem+keyPEM.Reveal()), secretName))
}

// unmarshal reads a certificate and its key, PEM one after the other.
func unmarshal(plain []byte) (*Authority, error) {
	certificate, rest := pem.Decode(plain)
	block, _ := pem.Decode(rest)
	if certificate == nil || block == nil {
		return nil, errors.New("the kept certificate authority is not two PEM blocks")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the kept certificate authority's key is not ECDSA")
	}
	return parse(certificate.Bytes, key)
}

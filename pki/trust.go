package pki

import (
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"strings"
)

// ParseCertificates returns the certificates among PEM blocks. What is no certificate is left out: systems
// bring some that Go does not read, and no other should be missing for them.
func ParseCertificates(text []byte) (all []*x509.Certificate) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return all
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if certificate, err := x509.ParseCertificate(block.Bytes); err == nil {
			all = append(all, certificate)
		}
	}
}

// SubjectHash is the name, without its ".0", under which OpenSSL looks for an authority in a directory of
// certificates: four bytes of the SHA-1 of the subject, with A to Z in lower case and without needless
// spaces (X509_NAME_hash_ex).
func SubjectHash(certificate *x509.Certificate) (string, error) {
	var name pkix.RDNSequence
	if _, err := asn1.Unmarshal(certificate.RawSubject, &name); err != nil {
		return "", fmt.Errorf("read subject: %w", err)
	}
	type attribute struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	var canonical []byte
	for _, set := range name {
		var attributes []attribute
		for _, a := range set {
			text := strings.Join(strings.Fields(strings.Map(lowerASCII, fmt.Sprint(a.Value))), " ")
			attributes = append(attributes, attribute{a.Type, asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(text)}})
		}
		der, err := asn1.MarshalWithParams(attributes, "set")
		if err != nil {
			return "", fmt.Errorf("hash subject: %w", err)
		}
		canonical = append(canonical, der...)
	}
	sum := sha1.Sum(canonical)
	return fmt.Sprintf("%08x", binary.LittleEndian.Uint32(sum[:])), nil
}

func lowerASCII(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		r += 'a' - 'A'
	}
	return r
}

// The parts of a PKCS #12 file without a password (RFC 7292, section 4).
type (
	pfx struct {
		Version int
		Safe    contentInfo
	}
	contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content []byte `asn1:"explicit,tag:0"`
	}
	safeBag struct {
		Type       asn1.ObjectIdentifier
		Bag        certBag        `asn1:"explicit,tag:0"`
		Attributes []bagAttribute `asn1:"set"`
	}
	certBag struct {
		Type        asn1.ObjectIdentifier
		Certificate []byte `asn1:"explicit,tag:0"`
	}
	bagAttribute struct {
		Type   asn1.ObjectIdentifier
		Values []asn1.ObjectIdentifier `asn1:"set"`
	}
)

var (
	oidData        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidCertBag     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 3}
	oidX509        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 22, 1}
	oidJavaTrusted = asn1.ObjectIdentifier{2, 16, 840, 1, 113894, 746875, 1, 1}
	oidAnyKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 37, 0}
)

// TrustStore returns a trust store for Java: PKCS #12, without a password, since there is no secret in it. Java
// trusts a certificate in such a file only if an attribute of its own says so.
func TrustStore(certificates []*x509.Certificate) ([]byte, error) {
	bags := make([]safeBag, len(certificates))
	for i, c := range certificates {
		bags[i] = safeBag{oidCertBag, certBag{oidX509, c.Raw},
			[]bagAttribute{{oidJavaTrusted, []asn1.ObjectIdentifier{oidAnyKeyUsage}}}}
	}
	content, err := asn1.Marshal(bags)
	if err != nil {
		return nil, fmt.Errorf("make trust store: %w", err)
	}
	safe, err := asn1.Marshal([]contentInfo{{oidData, content}})
	if err != nil {
		return nil, fmt.Errorf("make trust store: %w", err)
	}
	return asn1.Marshal(pfx{3, contentInfo{oidData, safe}})
}

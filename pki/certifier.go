package pki

import (
	"crypto/x509"
	"slices"
	"time"

	"github.com/backstay/backstay"
)

// Certifier certifies endpoints: it gives each of them the certificate that clients verify it by. [Authority] signs
// one for each endpoint; [Pair] has one for all of them.
type Certifier interface {
	// Issue returns a certificate, valid from now on, for an endpoint that is reached by these DNS names and IP
	// addresses. The first is the one that credentials name.
	Issue(names []string, now time.Time) (backstay.Certificate, error)
	// Renew returns the certificate that is to take the place of the one that such an endpoint has. Due is false
	// if that may stay.
	Renew(has backstay.Certificate, names []string, now time.Time) (next backstay.Certificate, due bool, err error)
}

var (
	_ Certifier = (*Authority)(nil)
	_ Certifier = (*Pair)(nil)
)

// renewAhead is how long before its end a certificate is renewed: what keeps that from being done has been found, and
// told, long before a client is refused.
const renewAhead = leafLife / 3

// worthwhile is how much longer than the old one a new certificate must last. Where the authority itself is about to
// end, there is none.
const worthwhile = 24 * time.Hour

// Renew renews what another authority has signed, what lacks a name, and what ends soon. Names that the endpoint had
// before stay in its certificate, because the credentials of earlier bindings say them.
func (a *Authority) Renew(
	has backstay.Certificate, names []string, now time.Time,
) (next backstay.Certificate, due bool, err error) {
	leaf := leafOf(has)
	if leaf == nil || leaf.CheckSignatureFrom(a.certificate) != nil {
		next, err = a.Issue(names, now)
		return next, true, err
	}
	lasts := earlier(now.Add(leafLife), a.certificate.NotAfter)
	soon := leaf.NotAfter.Before(now.Add(renewAhead)) && leaf.NotAfter.Add(worthwhile).Before(lasts)
	if proves(leaf, names) && !soon {
		return has, false, nil
	}
	next, err = a.Issue(slices.Concat(names, namesOf(leaf)), now)
	return next, true, err
}

func proves(leaf *x509.Certificate, names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return leaf.VerifyHostname(name) != nil })
}

// NamesOf are the DNS names and the addresses that a certificate proves.
func NamesOf(c backstay.Certificate) []string {
	if leaf := leafOf(c); leaf != nil {
		return namesOf(leaf)
	}
	return nil
}

// namesOf are the DNS names and the addresses that a certificate proves.
func namesOf(leaf *x509.Certificate) []string {
	names := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// leafOf is nil for what is no certificate.
func leafOf(c backstay.Certificate) *x509.Certificate {
	if all := ParseCertificates([]byte(c.Leaf)); len(all) > 0 {
		return all[0]
	}
	return nil
}

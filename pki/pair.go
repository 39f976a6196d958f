package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/backstay/backstay"
)

// Pair is a certificate that an operator brings, with its key, in two files, PEM, that may be renewed at any time.
// Clients know its authority, so credentials name none. It is safe for concurrent use.
type Pair struct {
	certificate, key string // the files' paths
	host             string // that the certificate must prove now; empty: whether it does is the operator's business

	mu    sync.Mutex
	seen  stamps // of the files when they were last read
	held  backstay.Certificate
	until time.Time // that the held one is valid
}

// OpenPair reads the two files. The error is Invalid, with a sentence, if they are no pair, or do not prove the host
// now.
func OpenPair(certificate, key, host string, now time.Time) (*Pair, error) {
	p := &Pair{certificate: certificate, key: key, host: host}
	_, err := p.Refresh(now)
	return p, err
}

// Refresh looks at the files, and reads them if they have changed since they were last read. From files that OpenPair
// would refuse nothing is taken: the error says why, once, and what was held before is held.
func (p *Pair) Refresh(now time.Time) (changed bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen, err := stampsOf(p.certificate, p.key)
	if err == nil && seen == p.seen {
		return false, nil
	}
	p.seen = seen
	if err != nil {
		return false, backstay.Wrapf(err, backstay.Invalid, "The certificate cannot be read: %v.", err)
	}
	next, leaf, err := p.read(now)
	if err != nil {
		return false, err
	}
	changed = next != p.held
	p.held, p.until = next, leaf.NotAfter
	return changed, nil
}

// read reads both files and checks them.
func (p *Pair) read(now time.Time) (c backstay.Certificate, leaf *x509.Certificate, err error) {
	chain, err := os.ReadFile(p.certificate)
	if err != nil {
		return c, nil, backstay.Wrapf(err, backstay.Invalid, "The certificate cannot be read: %v.", err)
	}
	key, err := os.ReadFile(p.key)
	if err != nil {
		return c, nil, backstay.Wrapf(err, backstay.Invalid, "The key of the certificate cannot be read: %v.", err)
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return c, nil, backstay.Wrapf(err, backstay.Invalid, "The certificate in %s and the key in %s are no pair: %v.",
			p.certificate, p.key, err)
	}
	for _, der := range pair.Certificate { // whatever else is in the files, such as the key in both, is left out
		c.Leaf += encode("CERTIFICATE", der)
	}
	if c.Key, err = encodeKey(pair.PrivateKey); err != nil {
		return c, nil, err
	}
	return c, pair.Leaf, p.check(pair.Leaf, now)
}

func (p *Pair) check(leaf *x509.Certificate, now time.Time) error {
	switch {
	case p.host == "":
		return nil
	case now.After(leaf.NotAfter):
		return backstay.Errorf(backstay.Invalid, "The certificate in %s has expired, on %s.", p.certificate,
			leaf.NotAfter.UTC().Format(time.DateOnly))
	case now.Before(leaf.NotBefore):
		return backstay.Errorf(backstay.Invalid, "The certificate in %s is not valid before %s.", p.certificate,
			leaf.NotBefore.UTC().Format(time.RFC3339))
	case leaf.VerifyHostname(p.host) != nil:
		return backstay.Errorf(backstay.Invalid, "The certificate in %s is for %q, not for %q, which clients connect to.",
			p.certificate, namesOf(leaf), p.host)
	}
	return nil
}

// Until is the moment at which the held certificate expires.
func (p *Pair) Until() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.until
}

// Verify tells why a client that trusts what this machine trusts would refuse the held certificate; nil: it would not.
func (p *Pair) Verify(now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	chain := ParseCertificates([]byte(p.held.Leaf))
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{DNSName: p.host, Intermediates: between, CurrentTime: now})
	return err
}

// Issue returns the held certificate, which is for every endpoint.
func (p *Pair) Issue([]string, time.Time) (backstay.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held, nil
}

// Renew wants every endpoint to have the held certificate.
func (p *Pair) Renew(
	has backstay.Certificate, names []string, now time.Time,
) (next backstay.Certificate, due bool, err error) {
	next, err = p.Issue(names, now)
	return next, next != has, err
}

// stamps are by what one sees, without reading them, that two files have changed.
type stamps [2]struct {
	device, inode uint64
	size          int64
	changed       syscall.Timespec
}

// stampsOf follows symbolic links, which is how some programs renew certificates.
func stampsOf(certificate, key string) (all stamps, err error) {
	for i, path := range []string{certificate, key} {
		info, err := os.Stat(path)
		if err != nil {
			return stamps{}, err
		}
		s, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return stamps{}, errors.New("this system tells nothing of its files")
		}
		all[i].device, all[i].inode, all[i].size, all[i].changed = s.Dev, s.Ino, s.Size, s.Ctim
	}
	return all, nil
}

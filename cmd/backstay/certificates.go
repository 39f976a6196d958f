package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/pki"
)

// brought are the certificates that an operator brings: nil where there is none.
type brought struct{ api, endpoints *pki.Pair }

// openBrought reads them. The API may be reached by other names than it knows of, as behind a proxy, and databases
// may not.
func openBrought(cfg *config, now time.Time) (b brought, err error) {
	if f := cfg.api; f.certificate != "" {
		if b.api, err = pki.OpenPair(f.certificate, f.key, "", now); err != nil {
			return b, advise(fmt.Errorf("load certificate of the API: %w", err),
				"backstay serve --tls-certificate FILE --tls-key FILE, with two that belong together")
		}
	}
	if f := cfg.endpoints; f.certificate != "" {
		if b.endpoints, err = pki.OpenPair(f.certificate, f.key, cfg.endpointHost, now); err != nil {
			return b, advise(fmt.Errorf("load certificate of databases: %w", err),
				"backstay serve --endpoint-certificate FILE --endpoint-key FILE, with two for %s", cfg.endpointHost)
		}
	}
	return b, nil
}

// certifier is who certifies endpoints.
func (b brought) certifier(authority *pki.Authority) pki.Certifier {
	if b.endpoints != nil {
		return b.endpoints
	}
	return authority
}

// lookPause is how long a renewed file may lie there until it is seen.
const lookPause = 5 * time.Second

// watch looks at the files until ctx ends, and tells when those for endpoints are others.
func (b brought) watch(ctx context.Context, log *slog.Logger, another chan<- struct{}) error {
	for {
		follow(b.api, "API", log)
		if follow(b.endpoints, "databases", log) {
			select {
			case another <- struct{}{}:
			default: // it was told already
			}
		}
		if err := wait.Pause(ctx, lookPause); err != nil {
			return err
		}
	}
}

// follow takes up a pair's files if they have changed.
func follow(p *pki.Pair, of string, log *slog.Logger) (changed bool) {
	if p == nil {
		return false
	}
	changed, err := p.Refresh(time.Now())
	if err != nil {
		log.Error("a renewed certificate is not used; the one before stays", "of", of, "until", p.Until(), "error", err)
	}
	if changed {
		log.Info("a renewed certificate is used", "of", of, "until", p.Until())
	}
	return changed
}

// served is the certificate that the API has. Each connection gets the one that is due by then.
type served struct {
	certifier pki.Certifier
	names     []string

	mu   sync.Mutex
	held backstay.Certificate
	pair tls.Certificate
}

func (s *served) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, due, err := s.certifier.Renew(s.held, s.names, time.Now())
	if err != nil {
		return nil, err
	}
	if due {
		pair, err := tls.X509KeyPair([]byte(next.Leaf), []byte(next.Key.Reveal()))
		if err != nil {
			return nil, err
		}
		s.held, s.pair = next, pair
	}
	pair := s.pair // whoever has it from us keeps it
	return &pair, nil
}

// prepareTLS prepares the API's certificate: the operator's, or one of our own authority for the names that the API is
// reached by.
func (p *platform) prepareTLS(authority *pki.Authority) error {
	if !p.cfg.tls {
		return nil
	}
	u, err := url.Parse(p.cfg.url)
	if err != nil {
		return err
	}
	s := &served{certifier: authority, names: []string{u.Hostname(), "localhost", "127.0.0.1"}}
	if host, _, err := net.SplitHostPort(p.cfg.listen); err == nil && host != "" {
		s.names = append(s.names, host)
	}
	if p.given.api != nil {
		s.certifier = p.given.api
	}
	if _, err := s.get(nil); err != nil {
		return fmt.Errorf("make certificate of the API: %w", err)
	}
	p.tls = &tls.Config{GetCertificate: s.get, MinVersion: tls.VersionTLS12}
	return nil
}

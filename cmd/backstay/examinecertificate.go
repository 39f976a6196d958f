package main

import (
	"fmt"
	"os"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/pki"
)

// How long before its end doctor speaks of a certificate: an operator's has been renewed by then where that is
// automatic, and whatever takes the authority's place takes its time to reach all apps.
const (
	pairEnds      = 14 * market.Day
	authorityEnds = 2 * 365 * market.Day
)

// examineCertificates looks at what proves the API and the databases to their clients.
func examineCertificates(cfg *config, now time.Time) []finding {
	var found []finding
	if cfg.api.certificate != "" {
		found = append(found, examinePair("certificate", "tls", "", cfg.api, now))
	}
	if cfg.endpoints.certificate != "" {
		found = append(found, examinePair("endpoint certificate", "endpoint", cfg.endpointHost, cfg.endpoints, now))
	}
	text, err := os.ReadFile(cfg.data.authority())
	if all := pki.ParseCertificates(text); err == nil && len(all) > 0 {
		found = append(found, lasting("authority", all[0].NotAfter, authorityEnds, now,
			"whoever verifies by it is refused from then on; bring certificates (endpoint-certificate, tls-certificate), "+
				"and have apps bound anew before"))
	}
	return found // the first start makes the authority
}

// examinePair looks at a certificate that the operator brings. Whether this machine trusts it tells nothing for sure of
// other clients.
func examinePair(what, setting, host string, f files, now time.Time) finding {
	p, err := pki.OpenPair(f.certificate, f.key, host, now)
	if err != nil {
		return finding{lacking, what, backstay.SentenceOf(err), fmt.Sprintf(
			"backstay doctor --%s-certificate FILE --%[1]s-key FILE, with two that belong together", setting)}
	}
	if err := p.Verify(now); err != nil {
		return finding{fair, what, fmt.Sprintf("%s is not trusted by this machine: %v", f.certificate, err), ""}
	}
	return lasting(what, p.Until(), pairEnds, now, "whoever verifies it is refused from then on")
}

// lasting is of a certificate that is valid until then. From ahead of that on, doctor tells what happens.
func lasting(what string, until time.Time, ahead time.Duration, now time.Time, happens string) finding {
	state := "valid until " + until.UTC().Format(time.DateOnly)
	if until.Sub(now) < ahead {
		return finding{fair, what, state + ": " + happens, ""}
	}
	return finding{good, what, state, ""}
}

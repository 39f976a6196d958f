package terms_test

import (
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/terms"
)

// TestEncryptedDataStaysEncrypted: what is restored or cloned may become encrypted, and what is encrypted stays so.
func TestEncryptedDataStaysEncrypted(t *testing.T) {
	t.Parallel()
	from := terms.Source{ID: "source", Engine: small.Engine, Build: "15.1", Storage: backstay.GB, BackedUp: true}
	for _, kind := range []terms.OriginKind{terms.Snapshot, terms.Moment, terms.Clone} {
		for _, tc := range []struct {
			encrypted bool
			to        terms.Plan
			words     string
		}{
			{false, small, ""},
			{false, *sealed, ""},
			{true, *sealed, ""},
			{true, small, "is encrypted at rest, and plan S is not: its data stays encrypted."},
		} {
			from.Encrypted = tc.encrypted
			refused(t, tc.to.BeginFrom(terms.Origin{Kind: kind}, from), backstay.Unsupported, tc.words)
		}
	}
}

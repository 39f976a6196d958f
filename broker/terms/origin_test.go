package terms_test

import (
	"fmt"
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
			_, err := tc.to.BeginFrom(terms.Origin{Kind: kind}, from)
			refused(t, err, backstay.Unsupported, tc.words)
		}
	}
}

// TestTimesAreToTheSecond: a part of a second is refused, with what a time looks like.
func TestTimesAreToTheSecond(t *testing.T) {
	t.Parallel()
	sold := small
	sold.RestorePoints = backstay.AnySecond
	for text, want := range map[string]bool{
		"2018-04-01 00:00:05": true, " 2018-04-01 00:00:05 ": true, "2018-04-01T02:00:05+02:00": true,
		"2018-04-01T00:00:05Z": true, "2018-04-01 00:00:05.5": false, "2018-04-01 00:00:05.0": false,
		"2018-04-01 00:00:05,5": false, "2018-04-01T00:00:05.5Z": false, "yesterday": false, "2018-04-01": false,
	} {
		words := ""
		if !want {
			words = "should be a date and a time in UTC, to the second, such as 2018-04-01 00:00:00."
		}
		if at, err := terms.ParseMoment(text); err == nil && at.Unix() != 1522540805 {
			t.Errorf("%q is read as %v", text, at)
		} else {
			refused(t, err, backstay.Invalid, words)
		}
		for _, of := range []string{"restore_from_point_in_time", "restore_from_latest_snapshot"} {
			_, err := sold.New(fmt.Appendf(nil, `{"%s_of": "7f0c5e43-0000-4000-8000-000000000000", "%[1]s_before": %q}`, of, text),
				1)
			refused(t, err, backstay.Invalid, words)
		}
	}
}

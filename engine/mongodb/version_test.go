package mongodb

import (
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// TestDataOfOtherVersions: a backup is served by the major versions that have made it alone, of both products.
func TestDataOfOtherVersions(t *testing.T) {
	t.Parallel()
	n := engine.Node{Installation: engine.Installation{Product: product, Version: "2",
		FullVersion: "2.7.0 on PostgreSQL 18.6 with DocumentDB 1.0-0", Dir: "/usr/lib/postgresql/18/bin"}}
	for made, fits := range map[string]bool{
		n.Installation.FullVersion:                        true,
		"2.9.1 on PostgreSQL 18.11 with DocumentDB 1.3-0": true,
		"2.7.0 on PostgreSQL 17.2 with DocumentDB 1.0-0":  false,
		"3.0.0 on PostgreSQL 18.6 with DocumentDB 1.0-0":  false,
		"18.6": false,
		"":     false,
	} {
		err := sameVersions(made, n)
		if (err == nil) != fits || err != nil && backstay.KindOf(err) != backstay.Unsupported {
			t.Errorf("what %q has made: %v, want it to fit: %t", made, err, fits)
		}
	}
}

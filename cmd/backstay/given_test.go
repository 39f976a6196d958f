package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMistakesOfACatalogNameItsFile: an operator may have several.
func TestMistakesOfACatalogNameItsFile(t *testing.T) {
	t.Parallel()
	c := &config{catalog: filepath.Join(t.TempDir(), "ours.yaml")}
	if err := os.WriteFile(c.catalog, []byte("curency: GBP\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := c.loadCatalog()
	want := c.catalog + `: catalog: line 1: "curency" is no key of the catalog; "currency" is meant, perhaps`
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v; want %s", err, want)
	}
}

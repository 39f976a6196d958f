package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay"
)

const instanceID = "0e4b7c1e-6f58-4b2e-9a37-4d7a1c2f5b11"

// TestWhatIsMissingIsSaid tries what may be left of a data directory.
func TestWhatIsMissingIsSaid(t *testing.T) {
	t.Parallel()
	state, data := "instances/state/data/PG_VERSION", "instances/"+instanceID+"/data/x"
	record := "keeper/instances/" + instanceID + ".json"
	for name, tc := range map[string]struct {
		there    []string
		missing  bool   // the private state database is
		unsealed string // what is said of a state without secrets
	}{
		"first start":            {},
		"first start, on volume": {there: []string{"instances/lost+found/x", "keeper/instances/.tmp"}},
		"first start, killed":    {there: []string{"keys.sealed.new", "seal.key"}},
		"killed later":           {there: []string{"keys.sealed.new", "seal.key", state}},
		"all there":              {there: []string{state, "seal.key", "keys.sealed"}},
		"all there, in use":      {there: []string{state, "keys.sealed", data}, unsealed: "it has 1 service instance"},
		"no state":               {there: []string{"keys.sealed"}, missing: true},
		"no state, before keys":  {there: []string{"seal.key"}, missing: true},
		"no state and no key":    {there: []string{record}, missing: true, unsealed: "1 service instance"},
		"no key":                 {there: []string{state, data}, unsealed: "is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := dataDir(t.TempDir())
			for _, path := range tc.there {
				mustWrite(t, filepath.Join(string(dir), path))
			}
			if err := dir.stateMissing(); (err != nil) != tc.missing {
				t.Errorf("the state is missing: %v", err)
			}
			wantRefusal(t, dir.checkSealed(true), "")
			wantRefusal(t, dir.checkSealed(false), tc.unsealed)
		})
	}
}

// wantRefusal wants an error with that part, or none if it is empty.
func wantRefusal(t *testing.T, err error, part string) {
	t.Helper()
	refused := backstay.KindOf(err) == backstay.Unavailable && strings.Contains(backstay.SentenceOf(err), part)
	if part == "" && err != nil || part != "" && !refused {
		t.Errorf("refused with %v, want %q", err, part)
	}
}

func mustWrite(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("15\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

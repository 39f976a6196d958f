package mongodb

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// install puts what says that it is FerretDB on that PostgreSQL below root. It can do nothing else.
func install(t *testing.T, root, major string) {
	t.Helper()
	bin := "lib/postgresql/" + major + "/bin/"
	write(t, filepath.Join(root, "bin/ferretdb"), "#!/bin/sh\necho 'version: v2.7.0'\n")
	write(t, filepath.Join(root, bin+"postgres"), "#!/bin/sh\necho 'postgres (PostgreSQL) "+major+".6'\n")
	write(t, filepath.Join(root, bin+"initdb"), "#!/bin/sh\n")
	control := "share/postgresql/" + major + "/extension/documentdb.control"
	write(t, filepath.Join(root, control), "default_version = '1.0-0'\n")
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestSideBySide: of two PostgreSQL with DocumentDB the newer one comes first, and serves no data of the other.
func TestSideBySide(t *testing.T) {
	t.Parallel()
	root, data := t.TempDir(), t.TempDir()
	install(t, root, "18")
	install(t, root, "19")
	found, err := Engine{Roots: []string{root}}.Installations(t.Context())
	if err != nil || len(found) != 2 || found[0].FullVersion != "2.7.0 on PostgreSQL 19.6 with DocumentDB 1.0-0" ||
		found[1].FullVersion != "2.7.0 on PostgreSQL 18.6 with DocumentDB 1.0-0" {
		t.Fatalf("found %+v, %v", found, err)
	}
	write(t, filepath.Join(data, versionFile), "2\n")
	write(t, filepath.Join(data, "PG_VERSION"), "18\n")
	newer, older := engine.Node{Installation: found[0], DataDir: data}, engine.Node{Installation: found[1], DataDir: data}
	if err := fits(newer); backstay.KindOf(err) != backstay.Unsupported {
		t.Errorf("data of PostgreSQL 18 is served by 19: %v", err)
	}
	if err := fits(older); err != nil {
		t.Error(err)
	}
}

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

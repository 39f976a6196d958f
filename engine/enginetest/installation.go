package enginetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/backstay/backstay/engine"
)

func testInstallations(t *testing.T, s Subject) {
	found, err := s.Engine.Installations(t.Context())
	if err != nil || len(found) == 0 {
		t.Fatalf("got %v, %v: the tests need one on this machine", found, err)
	}
	again, err := s.Engine.Installations(t.Context())
	if err != nil || !reflect.DeepEqual(found, again) {
		t.Errorf("asked again: got %v, %v, want %v", again, err, found)
	}
	for i, f := range found {
		if f.Version == "" || !strings.HasPrefix(f.FullVersion, f.Version) || !filepath.IsAbs(f.Dir) {
			t.Errorf("%+v: a version begins its full version, and Dir is absolute", f)
		}
		if i > 0 && engine.CompareVersions(found[i-1].FullVersion, f.FullVersion) <= 0 {
			t.Errorf("%s comes after %s: the newest is to be first", f.FullVersion, found[i-1].FullVersion)
		}
	}
}

// testPackaged wants the packages that an engine names to be installed on this machine, and its parts to be where
// it says.
func testPackaged(t *testing.T, s Subject) {
	n := NewNode(t, s.Engine)
	if p, ok := s.Engine.(engine.Packaged); ok && strings.HasPrefix(n.Installation.Dir, "/usr/") {
		for _, name := range p.Packages() {
			out, err := exec.CommandContext(t.Context(), "dpkg-query", "-W", "-f", "${db:Status-Status}", name).Output()
			if err != nil || string(out) != "installed" {
				t.Errorf("package %s is %q (%v), want it installed", name, out, err)
			}
		}
	}
	i, ok := s.Engine.(engine.Inspector)
	if !ok {
		return
	}
	for _, part := range i.Inspect(n.Installation) {
		if _, err := os.Stat(part.File); part.Missing != (err != nil) || part.Name == "" || part.Package == "" {
			t.Errorf("%+v: the file: %v", part, err)
		}
	}
	n.Installation.Dir = "/no/such/bin"
	for _, part := range i.Inspect(n.Installation) {
		if !part.Missing {
			t.Errorf("%+v is said to be there", part)
		}
	}
}

package e2e

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// take moves a file or directory of the data directory out of it, and returns what puts it back.
func (p *platform) take(path ...string) (giveBack func()) {
	p.t.Helper()
	from := filepath.Join(append([]string{p.data}, path...)...)
	to := filepath.Join(p.t.TempDir(), "taken")
	p.mustRename(from, to)
	return func() {
		p.t.Helper()
		p.mustRename(to, from)
	}
}

func (p *platform) mustRename(from, to string) {
	p.t.Helper()
	if out, err := exec.Command("mv", "-T", from, to).CombinedOutput(); err != nil { // over file systems, too
		p.t.Fatalf("%v: %s", err, out)
	}
}

func (p *platform) wantMissing(path ...string) {
	p.t.Helper()
	name := filepath.Join(append([]string{p.data}, path...)...)
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		p.t.Errorf("%s was made in the place of the one that is missing (%v)", name, err)
	}
}

// wantKnown fails unless the state is the one that was there before: it knows the password and the organization.
func (p *platform) wantKnown(organization string) {
	p.t.Helper()
	p.token = ""
	var found struct{ Resources []struct{ Name string } }
	_, _, err := p.call("GET", "/v3/organizations?names="+organization, nil, &found)
	if err != nil || len(found.Resources) != 1 {
		p.t.Errorf("the organization is not known any more: %v %v", found, err)
	}
}

// TestStateThatIsMissing takes away what serve stands on. Nothing is made in its place, serve says what is missing,
// and it comes up when that is back.
func TestStateThatIsMissing(t *testing.T) {
	t.Parallel()
	p := start(t, "backstay")
	if _, _, err := p.call("POST", "/v3/organizations", map[string]string{"name": "kept"}, nil); err != nil {
		t.Fatal(err)
	}
	p.stop()

	for missing, taken := range map[string][][]string{
		"The sealing key " + filepath.Join(p.data, "seal.key"): {{"seal.key"}},
		"The data directory instances/state/data":              {{"instances", "state"}},
		// The record is made anew around the data.
		"The state database": {{"instances", "state"}, {"keeper", "instances", "state.json"}},
	} {
		giveBack := p.take(taken[0]...)
		for _, more := range taken[1:] {
			p.take(more...)
		}
		back := time.AfterFunc(3*time.Second, func() {
			p.wantMissing(taken[0]...)
			giveBack()
		})
		p.mustServe()
		if back.Stop() {
			t.Errorf("it serves without it: %s", missing)
		}
		if log := p.logs(); !strings.Contains(log, missing+" is missing") {
			t.Errorf("nobody is told: %s is missing\n%s", missing, log)
		}
		p.wantKnown("kept")
		p.stop()
	}
}

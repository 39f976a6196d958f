package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/testkit"
)

// TestStateIsUpgraded installs another major version of PostgreSQL beside the one that the platform's own database is of.
// The next serve takes it there, with all that it knows, and finds it there when
// the keeper has lost its record.
func TestStateIsUpgraded(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	newer := filepath.Join(testkit.Other(t, "postgres-17"), "usr/lib/postgresql/17")
	installations := movablePostgres(t)
	p := start(t, "backstay", "--postgres", installations)
	if _, _, err := p.call("POST", "/v3/organizations", map[string]string{"name": "kept"}, nil); err != nil {
		t.Fatal(err)
	}
	p.stop()
	if err := os.Symlink(newer, filepath.Join(installations, "17")); err != nil {
		t.Fatal(err)
	}
	p.mustServe()
	p.wantKnown("kept")
	if log := p.logs(); !strings.Contains(log, "the state database is upgraded") || p.stateVersion() != "17" {
		t.Errorf("the state database is of version %s\n%s", p.stateVersion(), log)
	}
	p.stop()
	if err := os.Remove(filepath.Join(p.data, "keeper", "instances", "state.json")); err != nil {
		t.Fatal(err)
	}
	p.mustServe()
	p.wantKnown("kept")
}

// stateVersion is the major version of the newest data of our own database.
func (p *platform) stateVersion() string {
	p.t.Helper()
	found, err := filepath.Glob(filepath.Join(p.data, "instances", "state", "data*", "PG_VERSION"))
	if err != nil || len(found) == 0 {
		p.t.Fatalf("there is no state database: %v", err)
	}
	newest, err := os.ReadFile(found[len(found)-1])
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.TrimSpace(string(newest))
}

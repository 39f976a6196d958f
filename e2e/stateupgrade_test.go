package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/testkit"
)

// TestStateIsUpgraded installs another major version of PostgreSQL beside the one that the platform's own database is of.
// While the pgBackRest that there is does not know it, the database stays where it can be backed up. Then the next serve
// takes it there, with all that it knows, and finds it there when the keeper has lost its record.
func TestStateIsUpgraded(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	newer := filepath.Join(testkit.Other(t, "postgres-17"), "usr/lib/postgresql/17")
	installations := movablePostgres(t)
	tools := testkit.Dir(t)
	installBackRest(t, tools, "2.45")
	p := prepare(t, "backstay", "--postgres", installations)
	p.env = append(p.env, "PATH="+tools+":"+os.Getenv("PATH"))
	p.begin()
	if _, _, err := p.call("POST", "/v3/organizations", map[string]string{"name": "kept"}, nil); err != nil {
		t.Fatal(err)
	}
	p.stop()
	if err := os.Symlink(newer, filepath.Join(installations, "17")); err != nil {
		t.Fatal(err)
	}
	p.mustServe()
	p.wantKnown("kept")
	if p.stateVersion() != "15" {
		t.Errorf("the state database went to %s, of which there are no backups", p.stateVersion())
	}
	p.stop()
	installBackRest(t, tools, "2.60.0")
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

// installBackRest puts a program there that says it is that release of pgBackRest.
func installBackRest(t *testing.T, dir, release string) {
	t.Helper()
	path := filepath.Join(dir, "pgbackrest")
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho 'pgBackRest "+release+"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
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

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/backstay/backstay/internal/testkit"
)

// TestScripts runs the guide's journeys, each on a Backstay of its own, with the genuine cf.
func TestScripts(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	cf := filepath.Join(repository, "bin")
	if _, err := exec.LookPath(filepath.Join(cf, "cf")); err != nil {
		t.Fatalf("the genuine cf is not built: %v; type: make build", err)
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(script, ".txtar"), func(t *testing.T) {
			t.Parallel()
			runScript(t, script, cf)
		})
	}
}

func runScript(t *testing.T, script, cf string) {
	installations := movablePostgres(t)
	p := start(t, "backstay", "--postgres", installations)
	testscript.Run(t, testscript.Params{
		Files:               []string{script},
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", built+":"+cf+":"+filepath.Join(repository, "scripts")+":"+os.Getenv("PATH"))
			env.Setenv("CF_HOME", env.WorkDir)
			env.Setenv("API", p.url)
			env.Setenv("DATA", p.data)
			env.Setenv("CF_USERNAME", "admin")
			env.Setenv("CF_PASSWORD", p.password)
			env.Setenv("POSTGRES", installations)
			env.Setenv("HOME", env.WorkDir)
			return nil
		},
	})
}

// movablePostgres is a directory of PostgreSQL installations, as links, so that a script can take
// one away.
func movablePostgres(t testing.TB) string {
	t.Helper()
	dir := testkit.Dir(t) // which other users can pass through
	versions, err := os.ReadDir("/usr/lib/postgresql")
	if err != nil {
		t.Fatalf("PostgreSQL is not installed: %v; type: make setup", err)
	}
	for _, v := range versions {
		if err := os.Symlink(filepath.Join("/usr/lib/postgresql", v.Name()), filepath.Join(dir, v.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

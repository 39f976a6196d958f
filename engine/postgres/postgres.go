package postgres

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/pgserver"
)

// Engine is PostgreSQL as an [engine.Engine]. The zero Engine is Debian's.
type Engine struct {
	Roots []string // hold VERSION/bin for each installed version; none: /usr/lib/postgresql
}

var (
	_ engine.Engine     = Engine{}
	_ engine.Configurer = Engine{}
	_ engine.Reloader   = Engine{}
	_ engine.Settler    = Engine{}
	_ engine.Packaged   = Engine{}
	_ engine.Inspector  = Engine{}
	_ engine.Warmer     = Engine{}
	_ engine.Bounded    = Engine{}
	_ engine.Explainer  = Engine{}
	_ engine.Describer  = Engine{}
	_ engine.Tender     = Engine{}
	_ engine.Upgrader   = Engine{}
	_ engine.Tunable    = Engine{}
	_ engine.Keepable   = Engine{}
	_ engine.Refuser    = Engine{}
	_ engine.Hosted     = Engine{}
)

// Describe returns the sentence that GOV.UK PaaS shows.
func (Engine) Describe(n engine.Node) string {
	return fmt.Sprintf("DB Instance 'backstay-%s' status is 'available'", n.Instance)
}

// Ending asks for a fast shutdown.
func (Engine) Ending(n engine.Node) engine.Ending { return pgserver.Ending(n, sharedBuffers(n.Size)) }

// Packages returns Debian's packages of the server, of the extensions that are offered, of the library that lets
// tenants create them, and of the tool that makes backups.
func (Engine) Packages() []string {
	return []string{"postgresql-15", "postgresql-15-postgis-3", "postgresql-15-pgextwlist", "pgbackrest"}
}

// Inspect looks for the library that keeps tenants to the extensions that are offered. Debian puts it where a
// session may load it without being a superuser.
func (Engine) Inspect(i engine.Installation) []engine.Part {
	library := filepath.Join(filepath.Dir(i.Dir), "lib", "plugins", "pgextwlist.so")
	_, err := os.Stat(library)
	return []engine.Part{{
		Name: "extension allow-list", File: library, Missing: err != nil, Package: "postgresql-" + i.Version + "-pgextwlist",
	}}
}

// Installations lists the versions in Roots whose programs run.
func (e Engine) Installations(ctx context.Context) ([]engine.Installation, error) {
	found := []engine.Installation{}
	for _, dir := range e.places("bin") {
		full, err := versionIn(ctx, dir)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil {
			found = append(found, engine.Installation{Product: "PostgreSQL", Version: major(full), FullVersion: full, Dir: dir})
		}
	}
	slices.SortStableFunc(found, engine.NewestFirst)
	return found, nil
}

// roots returns the directories in which versions are looked for.
func (e Engine) roots() []string {
	if len(e.Roots) == 0 {
		return []string{"/usr/lib/postgresql"}
	}
	return e.Roots
}

// places returns the directories of that name of all versions.
func (e Engine) places(name string) (dirs []string) {
	for _, root := range e.roots() {
		there, _ := filepath.Glob(filepath.Join(root, "*", name)) // of a root that is no pattern there is nothing
		dirs = append(dirs, there...)
	}
	return dirs
}

// reported matches what "postgres --version" prints: "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)".
var reported = regexp.MustCompile(`^postgres \(PostgreSQL\) ([0-9]+(?:\.[0-9]+)*)(?:\s|$)`)

// versionIn runs the programs in dir that a node needs, and returns the version they report.
func versionIn(ctx context.Context, dir string) (full string, err error) {
	if err := exec.CommandContext(ctx, filepath.Join(dir, "initdb"), "--version").Run(); err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return "", err
	}
	match := reported.FindSubmatch(out)
	if match == nil {
		return "", fmt.Errorf("%s: not a version of PostgreSQL", out)
	}
	return string(match[1]), nil
}

func major(full string) string {
	first, _, _ := strings.Cut(full, ".")
	return first
}

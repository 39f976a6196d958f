package mongodb

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/pgserver"
)

// Engine is FerretDB before PostgreSQL with DocumentDB, as an [engine.Engine].
type Engine struct {
	Roots []string // hold bin/ferretdb and lib/postgresql/VERSION/bin; none: /usr
	Front []string // the command that runs front.Main, to which the path of its configuration is added
}

var (
	_ engine.Engine      = Engine{}
	_ engine.Accompanied = Engine{}
	_ engine.Configurer  = Engine{}
	_ engine.Reloader    = Engine{}
	_ engine.Settler     = Engine{}
	_ engine.Warmer      = Engine{}
	_ engine.Bounded     = Engine{}
	_ engine.Explainer   = Engine{}
	_ engine.Describer   = Engine{}
	_ engine.Foreign     = Engine{}
)

// product is what users read in the place of a name alone: clients take it for MongoDB, and it is none.
const product = "FerretDB"

// Installations lists each PostgreSQL with DocumentDB that has FerretDB beside it, the newest first. They share a
// version as plans name it, FerretDB's, so that the newest alone is sold; what they stand on tells them apart.
func (e Engine) Installations(ctx context.Context) ([]engine.Installation, error) {
	found := []engine.Installation{}
	for _, dir := range e.places() {
		i, err := installation(ctx, dir)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil {
			found = append(found, i)
		}
	}
	slices.SortStableFunc(found, engine.NewestFirst)
	return found, nil
}

// roots returns the directories below which all is looked for.
func (e Engine) roots() []string {
	if len(e.Roots) == 0 {
		return []string{"/usr"}
	}
	return e.Roots
}

// places returns the directories that may hold PostgreSQL's programs.
func (e Engine) places() (dirs []string) {
	for _, root := range e.roots() {
		// Of a root that is no pattern there is nothing.
		there, _ := filepath.Glob(filepath.Join(root, "lib/postgresql/*/bin"))
		dirs = append(dirs, there...)
	}
	return dirs
}

// installation returns what is installed with PostgreSQL's programs in dir.
func installation(ctx context.Context, dir string) (i engine.Installation, err error) {
	gateway, err := reportOf(ctx, ferretdb(dir), reportedFerretDB)
	if err != nil {
		return i, err
	}
	server, err := reportOf(ctx, filepath.Join(dir, "postgres"), reportedPostgres)
	if err != nil {
		return i, err
	}
	extension, err := documentDB(dir)
	if err != nil {
		return i, err
	}
	if err := exec.CommandContext(ctx, filepath.Join(dir, "initdb"), "--version").Run(); err != nil {
		return i, err
	}
	major, _, _ := strings.Cut(gateway, ".")
	full := fmt.Sprintf("%s on PostgreSQL %s with DocumentDB %s", gateway, server, extension)
	return engine.Installation{Product: product, Version: major, FullVersion: full, Dir: dir}, nil
}

// ferretdb returns the program that belongs to PostgreSQL's in dir: in /usr/bin for /usr/lib/postgresql/18/bin.
func ferretdb(dir string) string { return filepath.Join(dir, "../../../../bin/ferretdb") }

// documentDB returns the version of the extension that belongs to PostgreSQL's programs in dir.
func documentDB(dir string) (string, error) {
	major := filepath.Base(filepath.Dir(dir))
	file := filepath.Join(dir, "../../../../share/postgresql", major, "extension/documentdb.control")
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	match := controlVersion.FindSubmatch(text)
	if match == nil {
		return "", fmt.Errorf("%s names no version", file)
	}
	return string(match[1]), nil
}

var (
	// "version: v2.7.0"; behind 2 the way in which it keeps data may be another one.
	reportedFerretDB = regexp.MustCompile(`(?m)^version: v(2\.[0-9]+\.[0-9]+)`)
	// "postgres (PostgreSQL) 18.6 (Debian 18.6-3)"
	reportedPostgres = regexp.MustCompile(`^postgres \(PostgreSQL\) ([0-9]+(?:\.[0-9]+)*)(?:\s|$)`)
	// "default_version = '1.0-0'"
	controlVersion = regexp.MustCompile(`(?m)^default_version\s*=\s*'([0-9.-]+)'`)
)

// reportOf returns the version that a program reports.
func reportOf(ctx context.Context, program string, reported *regexp.Regexp) (string, error) {
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return "", err
	}
	match := reported.FindSubmatch(out)
	if match == nil {
		return "", fmt.Errorf("%s is another product, or another version of it", program)
	}
	return string(match[1]), nil
}

// Needs says what an operator installs, and where it is looked for: Debian 12 has none of it.
func (e Engine) Needs() string {
	return fmt.Sprintf("FerretDB 2 (bin/ferretdb) and PostgreSQL with the extension DocumentDB "+
		"(postgresql-18-documentdb of Debian's unstable release) below %s, and pgBackRest of the same release for backups",
		strings.Join(e.roots(), " or "))
}

// Command runs PostgreSQL. The arguments hold no secret, since everybody on the machine can read them.
func (Engine) Command(n engine.Node) (engine.Process, error) {
	cmd := exec.Command(filepath.Join(n.Installation.Dir, "postgres"), "-D", n.DataDir)
	cmd.Env = pgserver.Environment
	return engine.Process{Cmd: cmd}, nil
}

// Ending asks PostgreSQL for a fast shutdown, for which it waits for nobody.
func (Engine) Ending(n engine.Node) engine.Ending {
	return pgserver.Ending(n, sharedBuffers(n.Size))
}

// Describe says what it is that serves, as its clients are told that it is MongoDB.
func (Engine) Describe(n engine.Node) string {
	return fmt.Sprintf("%s %s is available, for clients of MongoDB 7", product, n.Installation.FullVersion)
}

// Bounds adds to the plan's memory a quarter, and what the two FerretDB, the front and PostgreSQL's processes have for
// themselves.
func (Engine) Bounds(n engine.Node) engine.Bounds {
	return engine.Bounds{Memory: n.Size.Memory + n.Size.Memory/4 + 512*backstay.MB, Processes: 2*pool(n.Size) + 250}
}

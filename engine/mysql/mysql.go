package mysql

import (
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/backstay/backstay/engine"
)

// Engine is MariaDB as an [engine.Engine]. The zero Engine is Debian's.
type Engine struct {
	Root string // holds sbin with the server and bin with the installer; empty: /usr
}

var (
	_ engine.Engine    = Engine{}
	_ engine.Warmer    = Engine{}
	_ engine.Explainer = Engine{}
	_ engine.Describer = Engine{}
)

// Programs of MariaDB's.
const (
	program   = "mariadbd"
	installer = "mariadb-install-db"
)

// environment of MariaDB's programs. UMASK and UMASK_DIR are what the server makes files with: it
// does not ask the operating system. Two arenas keep what sessions have freed from piling up.
var environment = []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC", "UMASK=0600", "UMASK_DIR=0700", "MALLOC_ARENA_MAX=2"}

// Describe is GOV.UK PaaS's sentence.
func (Engine) Describe(n engine.Node) string {
	return fmt.Sprintf("DB Instance 'backstay-%s' status is 'available'", n.Instance)
}

// Installations lists the one server in Root, if it runs.
func (e Engine) Installations(ctx context.Context) ([]engine.Installation, error) {
	root := cmp.Or(e.Root, "/usr")
	dir := filepath.Join(root, "sbin")
	full, err := version(ctx, dir)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err == nil {
		_, err = exec.LookPath(filepath.Join(root, "bin", installer))
	}
	if err != nil {
		return []engine.Installation{}, nil
	}
	return []engine.Installation{{Version: minor(full), FullVersion: full, Dir: dir}}, nil
}

// reported is what "mariadbd --version" says: "mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu …".
var reported = regexp.MustCompile(`  Ver ([0-9]+\.[0-9]+(?:\.[0-9]+)*)-MariaDB\b`)

func version(ctx context.Context, dir string) (string, error) {
	out, err := exec.CommandContext(ctx, filepath.Join(dir, program), "--no-defaults", "--version").Output()
	if err != nil {
		return "", err
	}
	match := reported.FindSubmatch(out)
	if match == nil {
		return "", fmt.Errorf("%s does not report a version of MariaDB", filepath.Join(dir, program))
	}
	return string(match[1]), nil
}

// minor is the version as plans name it: what changes behind it keeps its data readable.
func minor(full string) string {
	parts := strings.SplitN(full, ".", 3)
	return strings.Join(parts[:min(len(parts), 2)], ".")
}

// Command runs the server, which reads nothing but what Prepare wrote. Nothing secret is among the
// arguments: everybody on the machine can read them.
func (Engine) Command(n engine.Node) (*exec.Cmd, error) {
	cmd := exec.Command(filepath.Join(n.Installation.Dir, program), "--defaults-file="+filepath.Join(n.DataDir, configFile))
	cmd.Env = environment
	return cmd, nil
}

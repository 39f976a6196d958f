package mysql

import (
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/backstay/backstay/engine"
)

// Engine is MariaDB, or MySQL, as an [engine.Engine]. The zero Engine is Debian's.
type Engine struct {
	Root string // holds sbin with the server and bin with its other programs; empty: /usr
}

var (
	_ engine.Engine    = Engine{}
	_ engine.Warmer    = Engine{}
	_ engine.Reloader  = Engine{}
	_ engine.Packaged  = Engine{}
	_ engine.Explainer = Engine{}
	_ engine.Describer = Engine{}
)

// environment of the servers and their programs. UMASK and UMASK_DIR are what the server makes files with: it
// does not ask the operating system. Two arenas keep what sessions have freed from piling up.
var environment = []string{
	"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC", "UMASK=0600", "UMASK_DIR=0700", "MALLOC_ARENA_MAX=2",
}

// Describe is GOV.UK PaaS's sentence.
func (Engine) Describe(n engine.Node) string {
	return fmt.Sprintf("DB Instance 'backstay-%s' status is 'available'", n.Instance)
}

// Packages are Debian's: the server, and what makes its data directories.
func (Engine) Packages() []string { return []string{"mariadb-server", "mariadb-client"} }

// Installations lists the servers in Root that run, the newest first.
func (e Engine) Installations(ctx context.Context) ([]engine.Installation, error) {
	dir := filepath.Join(cmp.Or(e.Root, "/usr"), "sbin")
	found := []engine.Installation{}
	for _, d := range dialects {
		full, err := version(ctx, filepath.Join(dir, d.program), d.reported)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		i := engine.Installation{Product: d.product, Version: minor(full), FullVersion: full, Dir: dir}
		if err == nil && d.companion != "" {
			_, err = exec.LookPath(beside(i, d.companion))
		}
		if err == nil {
			found = append(found, i)
		}
	}
	return found, nil
}

func version(ctx context.Context, program string, reported *regexp.Regexp) (string, error) {
	out, err := exec.CommandContext(ctx, program, "--no-defaults", "--version").Output()
	if err != nil {
		return "", err
	}
	match := reported.FindSubmatch(out)
	if match == nil {
		return "", fmt.Errorf("%s is another product", program)
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
func (Engine) Command(n engine.Node) (engine.Process, error) {
	program := filepath.Join(n.Installation.Dir, dialectOf(n.Installation).program)
	cmd := exec.Command(program, "--defaults-file="+filepath.Join(n.DataDir, configFile))
	cmd.Env = environment
	return engine.Process{Cmd: cmd}, nil
}

// Ending: SIGTERM turns clients out, and what is not on the disk of the buffer pool is written.
func (Engine) Ending(n engine.Node) engine.Ending {
	return engine.Ending{Signal: syscall.SIGTERM, Grace: 20*time.Second + engine.Flushing(bufferPool(n.Size))}
}

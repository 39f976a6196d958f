package mysql

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/backstay/backstay/engine"
)

// Engine is MariaDB, or MySQL, as an [engine.Engine]. The zero Engine is Debian's.
type Engine struct {
	Roots    []string // hold sbin with the server and bin with its other programs; none: /usr
	Zoneinfo string   // holds the machine's time zones; empty: /usr/share/zoneinfo
}

var (
	_ engine.Engine    = Engine{}
	_ engine.Warmer    = Engine{}
	_ engine.Beginner  = Engine{}
	_ engine.Reloader  = Engine{}
	_ engine.Settler   = Engine{}
	_ engine.Packaged  = Engine{}
	_ engine.Bounded   = Engine{}
	_ engine.Explainer = Engine{}
	_ engine.Describer = Engine{}
	_ engine.Tender    = Engine{}
	_ engine.Upgrader  = Engine{}
	_ engine.Tunable   = Engine{}
	_ engine.Keepable  = Engine{}
	_ engine.Returner  = Engine{}
	_ engine.Refuser   = Engine{}
)

// environment is that of the servers and their programs. UMASK and UMASK_DIR are the modes with which the server
// makes files, whatever the process's umask is. MALLOC_ARENA_MAX keeps memory that sessions have freed from piling up.
var environment = []string{
	"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC", "UMASK=0600", "UMASK_DIR=0700", "MALLOC_ARENA_MAX=2",
}

// Describe returns the sentence that GOV.UK PaaS shows.
func (Engine) Describe(n engine.Node) string {
	return fmt.Sprintf("DB Instance 'backstay-%s' status is 'available'", n.Instance)
}

// Essential names the system tablespace. Where it and the redo log are missing, MariaDB makes both anew and serves, and
// no table can be read.
func (Engine) Essential(engine.Node) []string { return []string{"ibdata1"} }

// Packages returns Debian's packages of the server, of the programs that make its data directories, and of the time
// zones in them.
func (Engine) Packages() []string {
	return []string{"mariadb-server", "mariadb-client", "mariadb-backup", "tzdata"}
}

// Installations lists the servers in Roots that run, MariaDB first, and the newest of each first.
func (e Engine) Installations(ctx context.Context) ([]engine.Installation, error) {
	found := []engine.Installation{}
	for _, d := range dialects {
		var those []engine.Installation
		for _, root := range e.roots() {
			i, err := d.installation(ctx, filepath.Join(root, "sbin"))
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err == nil {
				those = append(those, i)
			}
		}
		slices.SortStableFunc(those, engine.NewestFirst)
		found = append(found, those...)
	}
	return found, nil
}

// roots returns the directories in which servers are looked for.
func (e Engine) roots() []string {
	if len(e.Roots) == 0 {
		return []string{"/usr"}
	}
	return e.Roots
}

// installation returns the server in dir, or why it cannot be used.
func (d dialect) installation(ctx context.Context, dir string) (engine.Installation, error) {
	full, err := version(ctx, filepath.Join(dir, d.program), d.reported)
	i := engine.Installation{Product: d.product, Version: minor(full), FullVersion: full, Dir: dir}
	if err == nil && d.companion != "" {
		_, err = exec.LookPath(beside(i, d.companion))
	}
	return i, err
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

// minor returns the version as plans name it, "10.11" of "10.11.19". Versions that differ only behind that read each
// other's data.
func minor(full string) string {
	parts := strings.SplitN(full, ".", 3)
	return strings.Join(parts[:min(len(parts), 2)], ".")
}

// Command runs the server with the configuration that Prepare wrote, and no other. The arguments hold no secret,
// since everybody on the machine can read them.
func (Engine) Command(n engine.Node) (engine.Process, error) {
	program := filepath.Join(n.Installation.Dir, dialectOf(n.Installation).program)
	cmd := exec.Command(program, "--defaults-file="+filepath.Join(n.DataDir, configFile))
	cmd.Env = environment
	return engine.Process{Cmd: cmd}, nil
}

// Ending asks the server to disconnect its clients and to write the changed pages of the buffer pool.
//
// Before it writes those it ends its log in order, and where the disk has no room for that, it waits until there is:
// it is killed at once instead of in the end, and recovers from its redo log.
func (Engine) Ending(n engine.Node) engine.Ending {
	if !engine.HasRoom(n.DataDir, mb) {
		return engine.Ending{Signal: syscall.SIGKILL, Grace: 20 * time.Second}
	}
	return engine.Ending{Signal: syscall.SIGTERM, Grace: 20*time.Second + engine.Flushing(bufferPool(n.Size))}
}

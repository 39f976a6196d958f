package redis

import (
	"context"
	"encoding/base32"
	"fmt"
	"hash/fnv"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// Engine is Redis, or Valkey, as an [engine.Engine]. The zero Engine is Debian's.
type Engine struct {
	Dirs     []string      // hold redis-server or valkey-server; none: /usr/bin
	Patience time.Duration // that Tend has with a server that answers nobody; 0: hangLimit
}

var (
	_ engine.Archiver     = Engine{}
	_ engine.Cloner       = Engine{}
	_ engine.Engine       = Engine{}
	_ engine.Beginner     = Engine{}
	_ engine.Configurer   = Engine{}
	_ engine.Bounded      = Engine{}
	_ engine.Explainer    = Engine{}
	_ engine.Reloader     = Engine{}
	_ engine.Packaged     = Engine{}
	_ engine.Describer    = Engine{}
	_ engine.Tender       = Engine{}
	_ engine.Tunable      = Engine{}
	_ engine.Upgrader     = Engine{}
	_ engine.Keepable     = Engine{}
	_ engine.Refuser      = Engine{}
	_ engine.Replicator   = Engine{}
	_ engine.Asynchronous = Engine{}
	_ engine.Mirrorer     = Engine{}
)

// product is one of the servers that speak Redis, with all that differs between them here.
type product struct {
	name, program string
	reported      *regexp.Regexp // its version, in what --version prints
	readsRedis    string         // the newest version of Redis whose data it reads, where it is not Redis
}

var products = []product{
	// "Redis server v=7.0.15 sha=00000000:0 …"
	{"Redis", "redis-server", regexp.MustCompile(`^Redis server v=([0-9]+\.[0-9]+(?:\.[0-9]+)*) `), ""},
	// "Valkey server v=8.0.1 sha=00000000:0 …"
	{"Valkey", "valkey-server", regexp.MustCompile(`^Valkey server v=([0-9]+\.[0-9]+(?:\.[0-9]+)*) `), "7.2"},
}

// productOf returns the product of an installation. Installations that were recorded by versions that knew Redis
// alone name none.
func productOf(i engine.Installation) product {
	for _, p := range products {
		if p.name == i.Product {
			return p
		}
	}
	return products[0]
}

// Packages returns Debian's package.
func (Engine) Packages() []string { return []string{"redis-server"} }

// Installations lists the servers in Dirs that run, the newest first: in each of Dirs Redis, or Valkey where there is
// no Redis.
func (e Engine) Installations(ctx context.Context) ([]engine.Installation, error) {
	found := []engine.Installation{}
	for _, dir := range e.dirs() {
		for _, p := range products {
			full, err := p.version(ctx, dir)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err == nil {
				i := engine.Installation{Product: p.name, Version: minor(full), FullVersion: full, Dir: dir}
				found = append(found, i)
				break
			}
		}
	}
	slices.SortStableFunc(found, engine.NewestFirst)
	return found, nil
}

// dirs returns the directories in which servers are looked for.
func (e Engine) dirs() []string {
	if len(e.Dirs) == 0 {
		return []string{"/usr/bin"}
	}
	return e.Dirs
}

func (p product) version(ctx context.Context, dir string) (string, error) {
	out, err := exec.CommandContext(ctx, filepath.Join(dir, p.program), "--version").Output()
	if err != nil {
		return "", err
	}
	match := p.reported.FindSubmatch(out)
	if match == nil {
		return "", fmt.Errorf("%s is another product", filepath.Join(dir, p.program))
	}
	return string(match[1]), nil
}

// minor returns the version as plans name it, "7.0" of "7.0.15". Versions that differ only behind that read each
// other's data.
func minor(full string) string {
	parts := strings.SplitN(full, ".", 3)
	return parts[0] + "." + parts[1]
}

// Command runs the server. The arguments hold no secret, since everybody on the machine can read them.
func (Engine) Command(n engine.Node) (engine.Process, error) {
	program := filepath.Join(n.Installation.Dir, productOf(n.Installation).program)
	cmd := exec.Command(program, filepath.Join(n.DataDir, configFile))
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"}
	return engine.Process{Cmd: cmd}, nil
}

// Ending asks the server to disconnect its clients and to sync the append-only file, of which only the last second is
// not on the disk.
func (Engine) Ending(engine.Node) engine.Ending {
	return engine.Ending{Signal: syscall.SIGTERM, Grace: 20 * time.Second}
}

// Describe returns the lines that GOV.UK PaaS shows, without those that do not apply here. They are indented so that
// they line up behind the word "message" that the cf command prints.
func (Engine) Describe(n engine.Node) string {
	s, err := parseSettings(n)
	if err != nil {
		return ""
	}
	block := []string{"---"}
	for _, row := range [][2]string{
		{"status", "available"},
		{"cluster id", clusterID(n.Instance)},
		{"engine version", n.Installation.FullVersion},
		{"maxmemory policy", s.MaxmemoryPolicy},
	} {
		block = append(block, fmt.Sprintf("%-20s : %s", row[0], row[1]))
	}
	return strings.Join(block, "\n"+strings.Repeat(" ", len("   message:   ")))
}

// clusterID returns a short name for an instance, of the form that GOV.UK PaaS shows.
func clusterID(id backstay.InstanceID) string {
	h := fnv.New64a()
	h.Write([]byte(id))
	return "cf-" + strings.ToLower(strings.TrimRight(base32.StdEncoding.EncodeToString(h.Sum(nil)), "="))
}

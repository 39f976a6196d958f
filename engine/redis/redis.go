package redis

import (
	"cmp"
	"context"
	"encoding/base32"
	"fmt"
	"hash/fnv"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// Engine is Redis, or Valkey, as an [engine.Engine]. The zero Engine is Debian's.
type Engine struct {
	Dir      string        // holds redis-server or valkey-server; empty: /usr/bin
	Patience time.Duration // that Tend has with a server that answers nobody; 0: hangLimit
}

var (
	_ engine.Engine     = Engine{}
	_ engine.Configurer = Engine{}
	_ engine.Explainer  = Engine{}
	_ engine.Reloader   = Engine{}
	_ engine.Packaged   = Engine{}
	_ engine.Describer  = Engine{}
	_ engine.Tender     = Engine{}
)

// product is one of the servers that speak Redis. They differ in nothing else that matters here.
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

// productOf an installation. Those that were recorded before there was a choice are of Redis.
func productOf(i engine.Installation) product {
	for _, p := range products {
		if p.name == i.Product {
			return p
		}
	}
	return products[0]
}

// Packages are Debian's.
func (Engine) Packages() []string { return []string{"redis-server"} }

// Installations lists Redis, or Valkey where Dir has that and not Redis, if it runs.
func (e Engine) Installations(ctx context.Context) ([]engine.Installation, error) {
	dir := cmp.Or(e.Dir, "/usr/bin")
	for _, p := range products {
		full, err := p.version(ctx, dir)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil {
			return []engine.Installation{{Product: p.name, Version: minor(full), FullVersion: full, Dir: dir}}, nil
		}
	}
	return []engine.Installation{}, nil
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

// minor is the version as plans name it: what changes behind it keeps its data readable.
func minor(full string) string {
	parts := strings.SplitN(full, ".", 3)
	return parts[0] + "." + parts[1]
}

// Command runs the server. Nothing secret is among the arguments: everybody on the machine can read
// them.
func (Engine) Command(n engine.Node) (engine.Process, error) {
	program := filepath.Join(n.Installation.Dir, productOf(n.Installation).program)
	cmd := exec.Command(program, filepath.Join(n.DataDir, configFile))
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"}
	return engine.Process{Cmd: cmd}, nil
}

// Ending: SIGTERM turns clients out. Only what was written within the last second is not on the disk.
func (Engine) Ending(engine.Node) engine.Ending {
	return engine.Ending{Signal: syscall.SIGTERM, Grace: 20 * time.Second}
}

// Describe is the block of GOV.UK PaaS, with the lines that are true here. They line up behind the
// word "message" of the cf command.
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

// clusterID is a short name for an instance, as that of GOV.UK PaaS was made.
func clusterID(id backstay.InstanceID) string {
	h := fnv.New64a()
	h.Write([]byte(id))
	return "cf-" + strings.ToLower(strings.TrimRight(base32.StdEncoding.EncodeToString(h.Sum(nil)), "="))
}

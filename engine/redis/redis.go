package redis

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"encoding/base32"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// Engine is Redis as an [engine.Engine]. The zero Engine is Debian's.
type Engine struct {
	Dir string // holds redis-server; empty: /usr/bin
}

var (
	_ engine.Engine    = Engine{}
	_ engine.Explainer = Engine{}
	_ engine.Describer = Engine{}
)

const program = "redis-server"

// Installations lists the one server in Dir, if it runs.
func (e Engine) Installations(ctx context.Context) ([]engine.Installation, error) {
	dir := cmp.Or(e.Dir, "/usr/bin")
	full, err := version(ctx, dir)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return []engine.Installation{}, nil
	}
	return []engine.Installation{{Version: minor(full), FullVersion: full, Dir: dir}}, nil
}

// reported is what "redis-server --version" says: "Redis server v=7.0.15 sha=00000000:0 …".
var reported = regexp.MustCompile(`^Redis server v=([0-9]+\.[0-9]+(?:\.[0-9]+)*) `)

func version(ctx context.Context, dir string) (string, error) {
	out, err := exec.CommandContext(ctx, filepath.Join(dir, program), "--version").Output()
	if err != nil {
		return "", err
	}
	match := reported.FindSubmatch(out)
	if match == nil {
		return "", fmt.Errorf("%s does not report a version of Redis", filepath.Join(dir, program))
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
func (Engine) Command(n engine.Node) (*exec.Cmd, error) {
	cmd := exec.Command(filepath.Join(n.Installation.Dir, program), filepath.Join(n.DataDir, configFile))
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"}
	return cmd, nil
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

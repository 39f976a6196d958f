package e2e

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/backstay/backstay/cgroup"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/volume"
)

// drawn are journeys of each line of which each run draws some: those that are much the same with each engine, and long
// ones, of whose steps others take the most.
var drawn = [][]string{
	{"backups-mysql", "backups-postgres", "backups-redis"},
	{"conduit-mysql", "conduit-postgres", "conduit-redis"},
	{"failover", "failover-mysql", "failover-redis"},
	{"encrypted", "copy", "backups-operators", "restore-waits", "wordpress"},
	{"minor", "major", "replica", "replicas", "failover-two-disks"},
	{"storage-used-up", "storage-watched", "endless", "broken-engine", "drivers"},
}

// TestScripts runs the guide's journeys, each on a Backstay of its own, with the genuine cf.
func TestScripts(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	scripts = slices.DeleteFunc(scripts, func(name string) bool { return strings.HasPrefix(name, "kubernetes-") })
	for _, journeys := range drawn {
		tried := testkit.Drawn(t, journeys)
		scripts = slices.DeleteFunc(scripts, func(script string) bool {
			name := strings.TrimSuffix(script, ".txtar")
			return slices.Contains(journeys, name) && !slices.Contains(tried, name)
		})
	}
	cf := filepath.Join(repository, "bin")
	if _, err := exec.LookPath(filepath.Join(cf, "cf")); err != nil {
		t.Fatalf("the genuine cf is not built: %v; type: make build", err)
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(script, ".txtar"), func(t *testing.T) {
			t.Parallel()
			runScript(t, script, cf, place{})
		})
	}
}

// place is where the instances of a script live, if not on this machine.
type place struct {
	programs string            // a directory of programs that come before those of this machine
	client   *http.Client      // that reaches the API
	settings []setting         // of serve, and of commands of its operator
	env      map[string]string // for the script
	patience time.Duration
	begin    func(t *testing.T, flags []string) sides // starts it; nil: as one Backstay
}

// sides are where a script's services are asked for and where they come from: one Backstay, or two.
type sides struct {
	market, broker *platform
	name           string // of the broker, as the market knows it
	known          string // a shell script that tells by what id the broker knows what the market calls $1
}

// oneBackstay is both sides.
func oneBackstay(p *platform) sides {
	return sides{market: p, broker: p, name: "backstay", known: `echo "$1"`}
}

// setting is one of serve.
type setting struct{ name, value string }

func runScript(t *testing.T, script, cf string, at place) {
	needsSpring(t, script)
	installations := movablePostgres(t)
	addPostgres(t, script, installations)
	upgrade := twoBuilds(t, script)
	if upgrade.machine != "" {
		installations = filepath.Join(upgrade.machine, "usr", "lib", "postgresql")
	}
	standbys, beside := testkit.Dir(t), testkit.Dir(t)
	flags := []string{"--postgres", installations}
	for _, s := range at.settings {
		flags = append(flags, "--"+s.name, s.value)
	}
	flags = append(flags, serveFlags(t, script, standbys)...)
	flags = append(flags, mongodbFlags(t, script, beside)...)
	if search := opensearchFlags(t, script); search != nil {
		flags = append(flags, search...)
		at.patience = cmp.Or(at.patience, searchPatience)
	}
	if at.begin == nil {
		at.begin = func(t *testing.T, flags []string) sides { return oneBackstay(startAt(t, at, flags...)) }
	}
	of := at.begin(t, flags)
	p, tools := of.market, testkit.Dir(t)
	if err := os.WriteFile(filepath.Join(tools, "known"), []byte("#!/bin/sh\n"+of.known+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	port, _ := testkit.Ports(t, 1)
	testscript.RunT(inTurn{t}, testscript.Params{
		Files:               []string{script},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"await":  await,
			"gone":   gone,
			"broker": (&brokersElsewhere{t, map[string]*renamed{}}).command,
			"serve":  func(ts *testscript.TestScript, neg bool, args []string) { of.serveWith(ts, neg, args) },
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "kubernetes":
				return at.programs != "", nil
			case "behind": // services come from another Backstay
				return of.market != of.broker, nil
			case "limits":
				groups, err := cgroup.Open(fmt.Sprintf("e2e-%d", os.Getpid()))
				return err == nil && slices.Contains(groups.Controls(), "memory"), nil
			}
			try := filepath.Join(of.broker.data, "try")
			images := volume.Images{Root: try, Mounts: filepath.Join(try, "mounts")}
			encrypts := func(ctx context.Context) error { _, why := images.Encryption(ctx); return why }
			can := map[string]func(context.Context) error{"volumes": images.Try, "encrypts": encrypts}[name]
			if can == nil {
				return false, fmt.Errorf("there is no condition %q", name)
			}
			return testkit.Walled() && can(t.Context()) == nil, nil
		},
		Setup: func(env *testscript.Env) error {
			path := strings.Join([]string{built, tools, cf, filepath.Join(repository, "scripts"), os.Getenv("PATH")}, ":")
			if at.programs != "" {
				path = at.programs + ":" + path
			}
			env.Setenv("PATH", path)
			env.Setenv("PATIENCE", cmp.Or(at.patience, patience).String())
			env.Setenv("CF_HOME", env.WorkDir)
			env.Setenv("CF_PLUGIN_HOME", env.WorkDir)
			env.Setenv("API", p.url)
			env.Setenv("DATA", of.broker.data)
			env.Setenv("MARKET_DATA", p.data)
			env.Setenv("BROKER", of.name)
			env.Setenv("CONFIG", configFile(t, of.broker.data, at.settings)) // for commands of the operator
			env.Setenv("HOST", "127.0.0.1")                                  // of the instances
			env.Setenv("STANDBYS", standbys)
			env.Setenv("BESIDE", beside) // where another MongoDB may be installed
			env.Setenv("CF_USERNAME", "admin")
			env.Setenv("CF_PASSWORD", p.password)
			env.Setenv("POSTGRES", installations)
			env.Setenv("MACHINE", upgrade.machine)
			env.Setenv("NEWER", upgrade.newer)
			env.Setenv("OLDER", fullVersion(upgrade.older))
			env.Setenv("NEW", fullVersion(upgrade.newer))
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("PORT", strconv.Itoa(port)) // for a server of the script's own
			env.Setenv("PASSWORD", rand.Text())    // for whom a script makes up
			env.Setenv("TESTDATA", testdata)
			env.Setenv("CLIENTS", filepath.Join(cf, "clients"))
			env.Setenv("MONGODB_CLIENTS", filepath.Join(os.Getenv(mongodbVariable), "clients"))
			env.Setenv("OPENSEARCH_CLIENTS", filepath.Join(os.Getenv(opensearchVariable), "clients"))
			for name, value := range at.env {
				env.Setenv(name, value)
			}
			return nil
		},
	})
}

// configFile is the settings as an operator's file has them.
func configFile(t *testing.T, data string, all []setting) string {
	t.Helper()
	text := fmt.Sprintf("data: %q\n", data)
	for _, s := range all {
		text += fmt.Sprintf("%s: %q\n", s.name, s.value)
	}
	file := filepath.Join(testkit.Dir(t), "backstay.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// inTurn runs a script within the test that has started its platform. By itself testscript would let the script wait in
// line, and all platforms of all scripts would run until the last has had its turn.
type inTurn struct{ *testing.T }

// Parallel does nothing: the test itself is parallel.
func (inTurn) Parallel() {}

func (i inTurn) Run(name string, script func(testscript.T)) {
	i.T.Run(name, func(t *testing.T) { script(inTurn{t}) })
}

func (inTurn) Verbose() bool { return testing.Verbose() }

// serveFlags are what a script's line "# serve: FLAGS" says. ONE-PORT stands for a range of one, and ANOTHER-DISK for the
// directory of standbys.
func serveFlags(t *testing.T, script, standbys string) []string {
	t.Helper()
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "# serve: ")
	if !ok {
		return nil
	}
	line, _, _ := strings.Cut(rest, "\n")
	if strings.Contains(line, "ONE-PORT") {
		port, _ := testkit.Ports(t, 1)
		line = strings.ReplaceAll(line, "ONE-PORT", fmt.Sprintf("%d-%d", port, port))
	}
	return strings.Fields(strings.ReplaceAll(line, "ANOTHER-DISK", standbys))
}

// await waits until "cf service NAME" says what a regular expression matches, or fails in the way it
// matches: await NAME REGEXP. It asks often: cf itself would wait for seconds.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await NAME REGEXP")
	}
	wanted := regexp.MustCompile(args[1])
	limit, err := time.ParseDuration(ts.Getenv("PATIENCE"))
	ts.Check(err)
	var said []byte
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		cmd := exec.Command("env", "cf", "service", args[0]) // which looks for it where the script does
		cmd.Env = append(os.Environ(), "CF_HOME="+ts.Getenv("CF_HOME"), "PATH="+ts.Getenv("PATH"))
		if said, _ = cmd.CombinedOutput(); wanted.Match(said) {
			return
		}
	}
	ts.Fatalf("cf service %s does not come to say %q:\n%s", args[0], args[1], said)
}

// serveWith kills the control planes and starts them again, with more flags: serve FLAG...
func (s sides) serveWith(ts *testscript.TestScript, neg bool, flags []string) {
	if neg {
		ts.Fatalf("usage: serve FLAG...")
	}
	for _, p := range slices.Compact([]*platform{s.broker, s.market}) {
		p.kill()
		p.args = append(p.args, flags...)
		p.mustServe()
	}
}

// gone waits until an instance has no more service key of a name: gone INSTANCE KEY.
func gone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: gone INSTANCE KEY")
	}
	var said []byte
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		cmd := exec.Command("env", "cf", "service-keys", args[0])
		cmd.Env = append(os.Environ(), "CF_HOME="+ts.Getenv("CF_HOME"), "PATH="+ts.Getenv("PATH"))
		var err error
		if said, err = cmd.CombinedOutput(); err == nil && !strings.Contains(string(said), args[1]) {
			return
		}
	}
	ts.Fatalf("%s keeps its key %s:\n%s", args[0], args[1], said)
}

// addPostgres adds the version of PostgreSQL that a script's line "# needs postgres-17" names to the installations. The
// script is skipped where that is not there.
func addPostgres(t *testing.T, script, installations string) {
	t.Helper()
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "# needs postgres-")
	if !ok {
		return
	}
	version, _, _ := strings.Cut(rest, "\n")
	from := filepath.Join(testkit.Other(t, "postgres-"+version), "usr/lib/postgresql", version)
	if err := os.Symlink(from, filepath.Join(installations, version)); err != nil {
		t.Fatal(err)
	}
}

// upgrade is a machine with the older one of two builds of PostgreSQL, each where scripts/other-builds has unpacked it.
type upgrade struct{ machine, older, newer string }

// twoBuilds makes the machine that a script's line "# needs two builds of postgres" asks for.
func twoBuilds(t *testing.T, script string) (u upgrade) {
	t.Helper()
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "# needs two builds of postgres\n") {
		return u
	}
	roots := testkit.Builds(t, "postgres")
	u = upgrade{machine: testkit.Dir(t), older: roots[0], newer: roots[len(roots)-1]}
	testkit.Install(t, u.older, filepath.Join(u.machine, "usr"))
	return u
}

// fullVersion is that of a directory of scripts/other-builds.
func fullVersion(root string) string {
	_, full, _ := strings.Cut(filepath.Base(root), "-")
	return full
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

package opensearch

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/opensearch/front"
)

// Engine is OpenSearch, as an [engine.Engine].
type Engine struct {
	Homes []string // the directories into which it was unpacked; none: /usr/share/opensearch
	Front []string // the command that runs front.Main, to which the path of its configuration is added
}

var (
	_ engine.Engine      = Engine{}
	_ engine.Accompanied = Engine{}
	_ engine.Configurer  = Engine{}
	_ engine.Reloader    = Engine{}
	_ engine.Bounded     = Engine{}
	_ engine.Explainer   = Engine{}
	_ engine.Describer   = Engine{}
	_ engine.Foreign     = Engine{}
	_ engine.Slow        = Engine{}
)

const product = "OpenSearch"

// Installations lists each OpenSearch 2 that has its security plugin, the newest first, where there is a Java for it.
func (e Engine) Installations(ctx context.Context) ([]engine.Installation, error) {
	found := []engine.Installation{}
	for _, dir := range e.homes() {
		full, err := version(dir)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			continue
		}
		if _, err := exec.LookPath(java(dir)); err == nil {
			major, _, _ := strings.Cut(full, ".")
			found = append(found, engine.Installation{Product: product, Version: major, FullVersion: full, Dir: dir})
		}
	}
	slices.SortStableFunc(found, engine.NewestFirst)
	return found, nil
}

// forVersion is what a plugin says of the OpenSearch that it is for: this one, or it would not start.
var forVersion = regexp.MustCompile(`^opensearch\.version=(2\.[0-9]+\.[0-9]+)$`)

// version returns that of the OpenSearch in a directory. To ask it would take a Java machine, and seconds.
func version(dir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, "plugins", "opensearch-security", "plugin-descriptor.properties"))
	if err != nil {
		return "", err
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		match := forVersion.FindStringSubmatch(strings.TrimSpace(lines.Text()))
		if match == nil {
			continue
		}
		_, err := os.Stat(filepath.Join(dir, "lib", "opensearch-"+match[1]+".jar"))
		return match[1], err
	}
	return "", fmt.Errorf("%s holds no OpenSearch 2 with its security plugin", dir)
}

// java is the program that runs OpenSearch: its own, where it brings one, or the distribution's.
func java(dir string) string {
	own := filepath.Join(dir, "jdk", "bin", "java")
	if _, err := os.Stat(own); err == nil {
		return own
	}
	return "/usr/bin/java"
}

// homes returns the directories in which OpenSearch is looked for.
func (e Engine) homes() []string {
	if len(e.Homes) == 0 {
		return []string{"/usr/share/opensearch"}
	}
	return e.Homes
}

// Needs says what an operator installs, and where it is looked for: Debian 12 has only Java of it.
func (e Engine) Needs() string {
	return fmt.Sprintf("OpenSearch 2 with its security plugin (%s) and Java 17 (openjdk-17-jre-headless)",
		strings.Join(e.homes(), " or "))
}

// environment is that of a node's processes.
var environment = []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"}

// start copies the configuration to where the server reads it, and becomes the server, in the directory in which it was
// started: the keeper knows a node's processes by that. What was there may be of an earlier start, and what a clone has
// left that was broken off by the server's end is nobody's.
const start = `(cd "$1" && rm -rf config tmp logs && mkdir config tmp logs && ` +
	`cp -R "$2/` + configDir + `/." config && cp "$2/` + frontFile + `" . && ` +
	`rm -rf "$2/` + snapshotDir + `/` + cloneShelf + `" && ` +
	`cd config && cat ` + operatorCAFile + ` ` + authorityFile + ` >` + knownFile + `) && ` +
	`echo $$ >"$1/` + front.ProcessID + `" && exec "$0" "@$1/config/` + javaFile + `"`

// Command runs OpenSearch. The arguments hold no secret, since everybody on the machine can read them.
func (Engine) Command(n engine.Node) (engine.Process, error) {
	program := java(n.Installation.Dir)
	cmd := exec.Command("/bin/sh", "-c", start, program, n.RunDir, n.DataDir)
	cmd.Env = environment
	return engine.Process{Cmd: cmd, Program: program}, nil
}

// Companions are the front.
func (e Engine) Companions(n engine.Node) ([]engine.Companion, error) {
	if len(e.Front) == 0 {
		return nil, errors.New("the engine was not told how its front is run")
	}
	cmd := exec.Command(e.Front[0], slices.Concat(e.Front[1:], []string{filepath.Join(n.DataDir, frontFile)})...)
	cmd.Env = environment
	return []engine.Companion{{Name: "front", Process: engine.Process{Cmd: cmd}}}, nil
}

// Patience is for a Java machine among others that want the processor: alone it takes ten seconds.
func (Engine) Patience() time.Duration { return 5 * time.Minute }

// javaEnded is how a Java machine exits that a SIGTERM has ended.
const javaEnded = 128 + int(syscall.SIGTERM)

// Ending asks the server to end: it waits for no client. What was acknowledged is on the disk.
func (Engine) Ending(engine.Node) engine.Ending {
	return engine.Ending{Signal: syscall.SIGTERM, Grace: 30 * time.Second, Status: javaEnded}
}

// Describe says what it is that serves: clients may take it for Elasticsearch.
func (Engine) Describe(n engine.Node) string {
	return fmt.Sprintf("%s %s is available, for clients of OpenSearch, and of Elasticsearch up to 7.13", product,
		n.Installation.FullVersion)
}

// Bounds adds to the plan's memory what a Java machine takes beside its heap, which is half of that, and the front.
func (Engine) Bounds(n engine.Node) engine.Bounds {
	return engine.Bounds{Memory: n.Size.Memory + n.Size.Memory/2 + 512*backstay.MB, Processes: 2000}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/clientenv"
)

var runUsage = `Usage: backstay run [--data DIR] APP -- COMMAND [ARGUMENT...]

Runs a command on this machine with the environment that APP has in the space that cf targets:
VCAP_SERVICES, VCAP_APPLICATION, DATABASE_URL and the app's own variables. Whom the credentials name as their
authority is trusted besides the system's: SSL_CERT_FILE, SSL_CERT_DIR, NODE_EXTRA_CA_CERTS, REQUESTS_CA_BUNDLE,
PGSSLROOTCERT and, for Java, JAVA_TOOL_OPTIONS say so where you or the app have not set them. A VCAP_SERVICES
above 128 KB is in the file that VCAP_SERVICES_FILE_PATH names instead.

` + dataUsage

// runApp ends by becoming the command, so its input, signals and exit code are all the command's
// own. The environment is the only way that secrets take.
func runApp(ctx context.Context, c *cli, args []string) error {
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	data := c.dataFlags(flags)
	rest, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(rest) < 3 || rest[1] != "--" {
		return usageError("run wants an app, two dashes and a command, as in: backstay run my-app -- env")
	}
	dir, err := data()
	if err != nil {
		return err
	}
	app, argv := rest[0], rest[2:]
	program, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	cf := c.cfCLI(dir)
	variables, err := appVariables(ctx, cf, app)
	if err != nil {
		return err
	}
	if err := addTrust(variables, filepath.Join(cf.home, ".cf", "trust"), c.env); err != nil {
		return err
	}
	if err := fitEnvironment(variables); err != nil {
		return err
	}
	return syscall.Exec(program, withoutOptionFiles(argv), clientenv.Replace(os.Environ(), withoutFiles(variables)))
}

// absentFile is a path at which nothing can be.
const absentFile = os.DevNull + "/absent"

// withoutFiles returns an app's variables with those that keep libraries and clients from files of their user
// that name a server, which no app has. What the app sets of them itself stays.
func withoutFiles(variables map[string]string) map[string]string {
	all := clientenv.WithoutFiles(absentFile)
	maps.Copy(all, variables)
	return all
}

// withoutOptionFiles returns a command that reads no option file but those it names itself: for a client of
// MySQL and MariaDB, ~/.my.cnf wins over all but arguments.
func withoutOptionFiles(argv []string) []string {
	if clientenv.Kind(argv[0]) != "mysql" {
		return argv
	}
	defaults := "--no-defaults"
	file, rest := clientenv.CutOptionFile(argv[1:])
	if file != "" {
		defaults = "--defaults-file=" + file
	}
	return append([]string{argv[0], defaults}, rest...)
}

// cfCLI is the genuine cf with the login it keeps in home.
type cfCLI struct {
	program string
	home    string
}

// cfCLI finds cf beside this binary, else on the PATH, and its login in CF_HOME, else in dir.
func (c *cli) cfCLI(dir dataDir) cfCLI {
	cf := cfCLI{program: "cf", home: c.env("CF_HOME")}
	if cf.home == "" {
		cf.home = dir.cfHome()
	}
	if binary, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(binary), "cf")
		if _, err := os.Stat(beside); err == nil {
			cf.program = beside
		}
	}
	return cf
}

// get reads path of the targeted API into v.
func (cf cfCLI) get(ctx context.Context, path string, v any) error {
	body, err := cf.curl(ctx, path)
	if err == nil && json.Unmarshal(body, v) != nil {
		err = errNoAnswer()
	}
	return err
}

// send has the targeted API change something. What it answers to that is a refusal, or no matter.
func (cf cfCLI) send(ctx context.Context, method, path string, body any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	_, err = cf.curl(ctx, path, "-X", method, "-d", string(encoded))
	return err
}

func errNoAnswer() error {
	return advise(errors.New("the API that cf targets did not answer"), "cf target")
}

// curl returns the answer of "cf curl" with these arguments. One that is a refusal is its error.
func (cf cfCLI) curl(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, cf.program, append([]string{"curl"}, args...)...)
	cmd.Env = append(os.Environ(), "CF_HOME="+cf.home, "CF_TRACE=false", "CF_COLOR=false")
	var said bytes.Buffer
	cmd.Stderr = &said
	body, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, advise(errors.New("the cf command is not installed"), "make bin/cf")
	}
	if err != nil {
		return nil, advise(fmt.Errorf("cf curl: %w: %s", err, bytes.TrimSpace(said.Bytes())), "cf login")
	}
	var refusal struct {
		Errors []struct{ Detail string } `json:"errors"`
	}
	if len(bytes.TrimSpace(body)) > 0 && json.Unmarshal(body, &refusal) != nil {
		return nil, errNoAnswer()
	}
	if len(refusal.Errors) > 0 {
		return nil, advise(errors.New(refusal.Errors[0].Detail), "cf target")
	}
	return body, nil
}

// space returns the id of the targeted space. The CLI has no command that prints it.
func (cf cfCLI) space() (string, error) {
	text, err := os.ReadFile(filepath.Join(cf.home, ".cf", "config.json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	var config struct{ SpaceFields struct{ GUID string } }
	if err == nil {
		if err := json.Unmarshal(text, &config); err != nil {
			return "", fmt.Errorf("read the configuration of cf in %s: %w", cf.home, err)
		}
	}
	if config.SpaceFields.GUID == "" {
		return "", advise(errors.New("no space is targeted"), "cf target -o ORG -s SPACE")
	}
	return config.SpaceFields.GUID, nil
}

// escapedName is a name as a list's filter takes it. A comma separates names, so one in a name is encoded twice.
func escapedName(name string) string { return url.QueryEscape(strings.ReplaceAll(name, ",", "%2C")) }

// appVariables returns the environment of an app in the targeted space.
func appVariables(ctx context.Context, cf cfCLI, app string) (map[string]string, error) {
	space, err := cf.space()
	if err != nil {
		return nil, err
	}
	found, err := firstOf[struct{ GUID string }](ctx, cf,
		"/v3/apps?names="+escapedName(app)+"&space_guids="+url.QueryEscape(space))
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, advise(backstay.Errorf(backstay.NotFound, "App %q is not in the targeted space.", app), "cf apps")
	}
	var env appEnvironment
	if err := cf.get(ctx, "/v3/apps/"+found.GUID+"/env", &env); err != nil {
		return nil, err
	}
	return env.variables()
}

// appEnvironment is the answer to GET /v3/apps/:guid/env.
type appEnvironment struct {
	Running     map[string]json.RawMessage `json:"running_env_json"`
	User        map[string]json.RawMessage `json:"environment_variables"`
	System      map[string]json.RawMessage `json:"system_env_json"`
	Application map[string]json.RawMessage `json:"application_env_json"`
}

// variables is what an app would find in its environment: strings as they are, all else as JSON. The
// platform's own win over the user's.
func (e appEnvironment) variables() (map[string]string, error) {
	all := map[string]string{}
	for _, group := range []map[string]json.RawMessage{e.Running, e.User, e.System, e.Application} {
		for name, value := range group {
			var text string
			if json.Unmarshal(value, &text) == nil {
				all[name] = text
				continue
			}
			var compact bytes.Buffer
			if err := json.Compact(&compact, value); err != nil {
				return nil, fmt.Errorf("read variable %s: %w", name, err)
			}
			all[name] = compact.String()
		}
	}
	return all, nil
}

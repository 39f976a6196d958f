package main

import (
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/backstay/backstay"
)

const usage = `cf conduit [OPTIONS] SERVICE_INSTANCE [SERVICE_INSTANCE...] [-- PROGRAM [ARGUMENT...]]

   PROGRAM can be anything: psql, pg_dump, pg_restore, mysql, mysqldump, redis-cli and mongosh find the
   first service of their type by themselves, any other finds VCAP_SERVICES, DATABASE_URL and
   ELASTICSEARCH_URL. Without a PROGRAM conduit prints what to connect to and waits.

OPTIONS:
   -o, --org ORG                   organization, if not the targeted one
   -s, --space SPACE               space, if not the targeted one
   -p, --local-port PORT           first local port; without this, the first free one from 7081 on
   -c, --bind-parameters JSON      parameters of the temporary bindings, as '{"read_only": true}'
   -n, --app-name APP              with --existing-app: whose bindings to use; else the name of the keys
   -e, --existing-app              use the credentials of an app that is bound already
       --cipher-suites NAMES       TLS 1.2 cipher suites where conduit speaks TLS (or CF_CONDUIT_CIPHERSUITES)
       --minimum-tls-version V     TLS12 or TLS13 (or CF_CONDUIT_MIN_TLS_VERSION)
       --no-interactive            show no progress
       --verbose                   say what is going on

   What is made is deleted at the end: --no-delete of other conduits is not needed.`

const (
	defaultPort = 7081
	keyPrefix   = "conduit-"
)

// options are a command line that has been understood.
type options struct {
	org, space     string
	port           int // 0: the first free one
	parameters     json.RawMessage
	app            string
	existing       bool
	verbose, quiet bool
	tls            *tls.Config
	services       []string
	program        []string // with its arguments
}

func parse(args []string) (o options, err error) {
	if i := slices.Index(args, "--"); i >= 0 {
		args, o.program = args[:i], args[i+1:]
	}
	fs := flag.NewFlagSet("conduit", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	var parameters, suites, minimum string
	var keep bool
	for _, f := range []struct {
		to           *string
		long, short  string
		defaultValue string
	}{
		{&o.org, "org", "o", ""}, {&o.space, "space", "s", ""}, {&o.app, "app-name", "n", ""},
		{&parameters, "bind-parameters", "c", "{}"},
		{&suites, "cipher-suites", "", os.Getenv("CF_CONDUIT_CIPHERSUITES")},
		{&minimum, "minimum-tls-version", "", os.Getenv("CF_CONDUIT_MIN_TLS_VERSION")},
	} {
		fs.StringVar(f.to, f.long, f.defaultValue, "")
		if f.short != "" {
			fs.StringVar(f.to, f.short, f.defaultValue, "")
		}
	}
	fs.IntVar(&o.port, "local-port", 0, "")
	fs.IntVar(&o.port, "p", 0, "")
	fs.BoolVar(&o.existing, "existing-app", false, "")
	fs.BoolVar(&o.existing, "e", false, "")
	fs.BoolVar(&keep, "no-delete", false, "")
	fs.BoolVar(&keep, "k", false, "")
	fs.BoolVar(&o.verbose, "verbose", false, "")
	fs.BoolVar(&o.quiet, "no-interactive", false, "")
	for args = append([]string{}, args...); ; { // options may stand between the services
		if err := fs.Parse(args); err != nil {
			return o, err
		}
		if fs.NArg() == 0 {
			break
		}
		o.services, args = append(o.services, fs.Arg(0)), fs.Args()[1:]
	}
	if keep {
		fmt.Fprintln(os.Stderr,
			"conduit: --no-delete is not needed: there is no app to keep, and credentials are made in a moment.")
	}
	if err := o.check(parameters); err != nil {
		return o, err
	}
	return o, o.secure(suites, minimum)
}

func (o *options) check(parameters string) error {
	var object map[string]any
	if err := json.Unmarshal([]byte(parameters), &object); err != nil {
		return backstay.Errorf(backstay.Invalid, "Could not parse bind parameters as JSON: %v", err)
	}
	if len(object) > 0 {
		o.parameters = json.RawMessage(parameters)
	}
	switch {
	case len(o.services) == 0:
		return fmt.Errorf("requires at least one SERVICE_INSTANCE argument to be specified")
	case o.existing && o.app == "":
		return fmt.Errorf("must specify --app-name of existing app to reuse")
	case o.existing && o.parameters != nil:
		return fmt.Errorf("--bind-parameters are for bindings that conduit makes; those of app %s are made already", o.app)
	case o.port < 0 || o.port > 65535:
		return fmt.Errorf("--local-port %d is no port", o.port)
	}
	return nil
}

// secure reads what TLS that conduit itself speaks must be like.
func (o *options) secure(suites, minimum string) error {
	versions := map[string]uint16{"": tls.VersionTLS12, "TLS12": tls.VersionTLS12, "TLS13": tls.VersionTLS13}
	var ok bool
	o.tls = &tls.Config{}
	if o.tls.MinVersion, ok = versions[minimum]; !ok {
		return fmt.Errorf("invalid minimum TLS version: %s, valid ones are TLS12 and TLS13", minimum)
	}
	known := map[string]uint16{}
	var names []string
	for _, s := range tls.CipherSuites() {
		known[s.Name] = s.ID
		names = append(names, s.Name)
	}
	for name := range strings.SplitSeq(suites, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		id, ok := known[name]
		if !ok {
			return fmt.Errorf("invalid cipher suite: %s, valid names include %s", name, strings.Join(names, ", "))
		}
		o.tls.CipherSuites = append(o.tls.CipherSuites, id)
	}
	return nil
}

// lookUp finds the program before anything is made for it.
func (o *options) lookUp() (path string, err error) {
	if len(o.program) == 0 {
		return "", nil
	}
	if path, err = exec.LookPath(o.program[0]); err != nil {
		return "", fmt.Errorf("cannot find '%s' in PATH", o.program[0])
	}
	return path, nil
}

// name is the program's as its users know it.
func (o *options) name() string {
	return strings.TrimSuffix(filepath.Base(o.program[0]), ".exe")
}

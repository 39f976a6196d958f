package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
)

// cli is the world as a command sees it.
type cli struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            func(string) string
	root           bool   // whether we are the superuser
	doctor         string // the command that examines what this one was given; empty: it was given nothing
}

// command is one word after "backstay".
type command struct {
	name    string
	summary string // a line of "backstay help"; empty: it has none there
	usage   string // all of "backstay help NAME"
	run     func(ctx context.Context, c *cli, args []string) error
}

// run does what args ask for and returns the exit code: 0, 1 when it failed, 2 when it was misused.
func (c *cli) run(ctx context.Context, args []string) int {
	if len(args) == 0 {
		fmt.Fprint(c.stderr, overview())
		return 2
	}
	name, args := args[0], args[1:]
	if name == "-h" || name == "-help" || name == "--help" {
		name = "help"
	}
	cmd, ok := lookup(name)
	if !ok {
		return c.report(usagef("There is no command %q.", name), "help")
	}
	err := cmd.run(ctx, c, args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(c.stdout, cmd.usage)
		return 0
	}
	return c.report(err, "help "+name)
}

// report tells the user of err, always with something to type next, and returns the exit code.
func (c *cli) report(err error, helpful string) int {
	var misuse usageError
	var advised *advisedError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &misuse):
		fmt.Fprintf(c.stderr, "backstay: %s\nType: backstay %s\n", misuse, helpful)
		return 2
	case errors.As(err, &advised):
		fmt.Fprintf(c.stderr, "backstay: %v\nType: %s\n", err, advised.command)
	default:
		fmt.Fprintf(c.stderr, "backstay: %v\nType: %s\n", err, cmp.Or(c.doctor, "backstay doctor"))
	}
	return 1
}

// usageError is a command line that cannot be understood.
type usageError string

func (e usageError) Error() string { return string(e) }

func usagef(format string, args ...any) error { return usageError(fmt.Sprintf(format, args...)) }

// advisedError is a failure with the command that helps against it.
type advisedError struct {
	error
	command string
}

func (e *advisedError) Unwrap() error { return e.error }

func advise(err error, format string, args ...any) error {
	return &advisedError{err, fmt.Sprintf(format, args...)}
}

// parse reads args into fs and hands back what follows the flags.
func parse(fs *flag.FlagSet, args []string) ([]string, error) {
	fs.SetOutput(io.Discard)
	err := fs.Parse(args)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		return nil, usagef("%s.", strings.TrimSuffix(err.Error(), "."))
	}
	return fs.Args(), err
}

// parseAll is parse for a command without operands.
func parseAll(fs *flag.FlagSet, args []string) error {
	rest, err := parse(fs, args)
	if err == nil && len(rest) > 0 {
		return usagef("%s takes no argument %q.", fs.Name(), rest[0])
	}
	return err
}

// parseOperands is parse for a command with as many operands as names says, before and after flags.
func parseOperands(fs *flag.FlagSet, args []string, names ...string) ([]string, error) {
	operands, err := parseAnywhere(fs, args)
	if err != nil {
		return nil, err
	}
	if len(operands) != len(names) {
		return nil, usagef("%s.", strings.TrimSpace(fs.Name()+" takes "+cmp.Or(strings.Join(names, " and "), "no argument")))
	}
	return operands, nil
}

// parseOptional is parseOperands for a command that may be given one operand. It is empty if that is not there.
func parseOptional(fs *flag.FlagSet, args []string, name string) (string, error) {
	operands, err := parseAnywhere(fs, args)
	if err != nil || len(operands) == 0 {
		return "", err
	}
	if len(operands) > 1 {
		return "", usagef("%s takes %s, or no argument.", fs.Name(), name)
	}
	return operands[0], nil
}

// parseAnywhere is parse for operands that stand before, between and after flags.
func parseAnywhere(fs *flag.FlagSet, args []string) (operands []string, err error) {
	for {
		rest, err := parse(fs, args)
		if err != nil || len(rest) == 0 {
			return operands, err
		}
		operands, args = append(operands, rest[0]), rest[1:]
	}
}

func lookup(name string) (command, bool) {
	for _, cmd := range commands() {
		if cmd.name == name {
			return cmd, true
		}
	}
	return command{}, false
}

func overview() string {
	var b strings.Builder
	b.WriteString("Backstay gives a team its backing services through the cf command.\n\nUsage: backstay COMMAND\n\n")
	for _, cmd := range commands() {
		if cmd.summary != "" {
			fmt.Fprintf(&b, "  %-19s %s\n", cmd.name, cmd.summary)
		}
	}
	b.WriteString("\n\"backstay help COMMAND\" says more.\n")
	return b.String()
}

const helpUsage = `Usage: backstay help [COMMAND]
`

func help(_ context.Context, c *cli, args []string) error {
	rest, err := parse(flag.NewFlagSet("help", flag.ContinueOnError), args)
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		fmt.Fprint(c.stdout, overview())
		return nil
	}
	cmd, ok := lookup(rest[0])
	if !ok {
		return usagef("There is no command %q.", rest[0])
	}
	fmt.Fprint(c.stdout, cmd.usage)
	return nil
}

const versionUsage = `Usage: backstay version
`

// version is set by the linker when a release is built.
var version string

func printVersion(_ context.Context, c *cli, args []string) error {
	if err := parseAll(flag.NewFlagSet("version", flag.ContinueOnError), args); err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "backstay %s (%s %s/%s)\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

// buildVersion is the version that was linked in, else the one that the go command knows.
func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && version == "" {
		return info.Main.Version
	}
	return version
}

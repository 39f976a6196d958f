// Command cf-conduit is the plugin behind "cf conduit": it brings service instances to ports of this
// machine, through a tunnel of Backstay's API, and runs a program that uses them. What it is lent for
// that it gives back at the end; what it cannot give back, ends by itself.
//
// It stands on the cf command for who is logged in where, and on the tunnel room for all that crosses
// the network. It needs no app, and no rights but to bind the service.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"code.cloudfoundry.org/cli/v8/plugin"

	"github.com/backstay/backstay/plugins"
)

// version is set by the linker when a release is built.
var version string

func main() { plugin.Start(conduit{}) }

// conduit is what the cf command sees of us.
type conduit struct{}

// GetMetadata tells the cf command which commands we bring.
func (conduit) GetMetadata() plugin.PluginMetadata {
	numbers := strings.Split(plugins.Semantic(version), ".")
	number := func(i int) int { n, _ := strconv.Atoi(numbers[i]); return n }
	return plugin.PluginMetadata{
		Name:    "conduit",
		Version: plugin.VersionType{Major: number(0), Minor: number(1), Build: number(2)},
		Commands: []plugin.Command{{
			Name: "conduit", HelpText: "Connect to service instances from your own machine",
			UsageDetails: plugin.Usage{Usage: usage},
		}},
	}
}

// Run is "cf conduit". The cf command turns every failure into exit code 1, so the true one is said.
func (conduit) Run(cf plugin.CliConnection, args []string) {
	if len(args) == 0 || args[0] != "conduit" { // CLI-MESSAGE-UNINSTALL: there is nothing to take back
		return
	}
	err := run(cf, args[1:])
	var failed programError
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Println("NAME:\n   conduit - Connect to service instances from your own machine\n\nUSAGE:\n   " + usage)
	case errors.As(err, &failed):
		fmt.Fprintln(os.Stderr, "conduit:", err)
		os.Exit(failed.code)
	case err != nil:
		fmt.Fprintln(os.Stderr, "conduit:", err)
		os.Exit(1)
	}
}

func run(cf plugin.CliConnection, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	program, err := o.lookUp()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), endSignals...)
	defer stop()
	ctx, orphaned := context.WithCancel(ctx)
	defer orphaned()
	go awaitOrphaned(ctx, orphaned)
	s, err := open(ctx, cf, o)
	if err != nil && ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if err != nil {
		return err
	}
	defer s.close()
	if program == "" {
		return s.wait(ctx)
	}
	return s.run(program)
}

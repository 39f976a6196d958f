package main

import (
	"context"
	"flag"
	"log/slog"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/keeper"
)

const keepUsage = `Usage: backstay keep [FLAGS]

Keeps the databases of one machine: starts them, restarts those that die, and tells "backstay
serve" how they are. serve starts it by itself and it outlives serve; the databases outlive both.

` + dataUsage + keeperUsage

const keeperUsage = `  --endpoint-host HOST      the name or address of this machine that credentials give to apps
                            (default 127.0.0.1)
  --endpoint-listen ADDR    the address that databases listen on (default 127.0.0.1)
  --ports FIRST-LAST        the ports that databases get (default 20000-29999)
  --min-free SIZE           disk space that a new database must leave free (default 1GB)
  --postgres DIR            where PostgreSQL versions are installed (default /usr/lib/postgresql)
These take effect when the keeper starts: after a change, "backstay stop" once.
`

// keeperFlags are what the data plane can be told. They are flags of serve too, which hands them on.
type keeperFlags struct {
	host, listen, ports string
	minFree             backstay.Bytes
	postgres            string
}

func (k *keeperFlags) add(fs *flag.FlagSet) {
	fs.StringVar(&k.host, "endpoint-host", "127.0.0.1", "")
	fs.StringVar(&k.listen, "endpoint-listen", "127.0.0.1", "")
	fs.StringVar(&k.ports, "ports", "20000-29999", "")
	fs.TextVar(&k.minFree, "min-free", backstay.GB, "")
	fs.StringVar(&k.postgres, "postgres", "/usr/lib/postgresql", "")
}

// args is the command line that says the same again.
func (k *keeperFlags) args(d dataDir) []string {
	return []string{"keep", "--data", string(d), "--endpoint-host", k.host, "--endpoint-listen", k.listen,
		"--ports", k.ports, "--min-free", k.minFree.String(), "--postgres", k.postgres}
}

func keep(ctx context.Context, c *cli, args []string) error {
	fs := flag.NewFlagSet("keep", flag.ContinueOnError)
	dir := c.dataFlag(fs)
	var k keeperFlags
	k.add(fs)
	if err := parseAll(fs, args); err != nil {
		return err
	}
	data, err := dir()
	if err != nil {
		return err
	}
	ports, err := keeper.ParsePortRange(k.ports)
	if err != nil {
		return usagef("--ports: %v.", err)
	}
	executable, err := process.Executable()
	if err != nil {
		return err
	}
	return keeper.Run(ctx, keeper.Config{
		DataDir: string(data), Engines: engines(k.postgres), Host: k.host, Listen: []string{k.listen},
		Ports: ports, MinFree: k.minFree, Version: buildVersion(), Executable: executable,
		Log: slog.New(slog.NewTextHandler(c.stderr, nil)),
	})
}

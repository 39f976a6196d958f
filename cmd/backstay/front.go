package main

import (
	"context"
	"flag"
	"os"

	"github.com/backstay/backstay/endpoint/front"
)

const frontUsage = `Usage: backstay front --dir DIR --listen ADDRESS:PORT,... --connections N --patience TIME
                      --build NAME

Holds the endpoint of one instance before its nodes. The keeper starts it by itself and tells it by a
socket in DIR where connections go; it outlives the keeper. Where another one serves in DIR, this one
takes over from it, with all connections. It does not run as root.
`

func runFront(ctx context.Context, c *cli, args []string) error {
	if len(args) == 1 && (args[0] == "-h" || args[0] == "-help" || args[0] == "--help") {
		return flag.ErrHelp
	}
	return front.Main(ctx, args, os.Stdout, c.stderr)
}

package main

import (
	"context"
	"flag"
	"os"

	"github.com/backstay/backstay/engine/mongodb/front"
)

// mongodbFront is a companion of each node of MongoDB.
const mongodbFront = "mongodb-front"

const mongodbFrontUsage = `Usage: backstay mongodb-front FILE

Ends TLS before the FerretDB of one instance, and leads each user to the one of its right, as FILE says.
The keeper starts it by itself. It does not run as root.
`

// ourProgram is the path by which a shell runs us again. Where our file was replaced since, that is the new one.
func ourProgram() string {
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

func runMongoDBFront(ctx context.Context, c *cli, args []string) error {
	if len(args) == 1 && (args[0] == "-h" || args[0] == "-help" || args[0] == "--help") {
		return flag.ErrHelp
	}
	return front.Main(ctx, args, c.stderr)
}

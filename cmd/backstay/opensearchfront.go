package main

import (
	"context"
	"flag"

	"github.com/backstay/backstay/engine/opensearch/front"
)

// opensearchFront is a companion of each node of OpenSearch.
const opensearchFront = "opensearch-front"

const opensearchFrontUsage = `Usage: backstay opensearch-front FILE

Ends TLS before the OpenSearch of one instance, and keeps to the connections of its plan, as FILE says.
The keeper starts it by itself. It does not run as root.
`

func runOpenSearchFront(ctx context.Context, c *cli, args []string) error {
	if len(args) == 1 && (args[0] == "-h" || args[0] == "-help" || args[0] == "--help") {
		return flag.ErrHelp
	}
	return front.Main(ctx, args, c.stderr)
}

package mongodb

import (
	"context"
	"encoding/json"
	"os"
	"slices"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/mongodb/front"
)

// Reload writes the configuration and has PostgreSQL read it again; the front reads its own, and the certificate,
// whenever somebody connects. A node that is to listen elsewhere, or whose FerretDB is to have more sessions, needs a
// restart.
func (e Engine) Reload(ctx context.Context, n engine.Node) (restart bool, err error) {
	moved, err := moves(n)
	if err != nil {
		return false, err
	}
	restart, err = e.server(n.Installation).Reconfigure(ctx, n)
	if err != nil {
		return false, inWords(err)
	}
	return restart || moved, e.Configure(ctx, n)
}

// moves tells whether the node is to listen elsewhere than the front does.
func moves(n engine.Node) (bool, error) {
	clients := n.Port(engine.ClientPort)
	root, err := os.OpenRoot(n.DataDir)
	if err != nil {
		return false, err
	}
	defer root.Close()
	text, err := root.ReadFile(frontFile)
	if err != nil {
		return len(clients.Listen) > 0, nil // there is none, or none that can be read
	}
	var has front.Config
	if err := json.Unmarshal(text, &has); err != nil {
		return true, nil
	}
	return !slices.Equal(has.Listen, frontConfig(n, clients).Listen), nil
}

package mongodb

import (
	"context"

	"github.com/backstay/backstay/engine"
)

// Reload writes the configuration and has PostgreSQL read it again, which tells what only a restart can change: that
// the node listens elsewhere too. The front reads its own, and the certificate, whenever somebody connects.
func (e Engine) Reload(ctx context.Context, n engine.Node) (restart bool, err error) {
	if restart, err = e.server(n.Installation).Reconfigure(ctx, n); err != nil {
		return false, inWords(err)
	}
	return restart, e.Configure(ctx, n)
}

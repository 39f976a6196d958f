package postgres

import (
	"context"

	"github.com/backstay/backstay/engine"
)

// Reload writes the configuration and has the server read it again, with the certificate. The server itself tells
// which settings it could not change while it runs, such as the size of its shared memory.
func (e Engine) Reload(ctx context.Context, n engine.Node) (restart bool, err error) {
	if restart, err = server(n.Installation).Reconfigure(ctx, n); err != nil {
		return false, err
	}
	return restart, e.Configure(ctx, n)
}

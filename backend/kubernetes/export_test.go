package kubernetes

import "context"

// Sweep removes what removed instances have left that is kept no longer.
func (b *Backend) Sweep(ctx context.Context) error { return b.sweepLeft(ctx) }

package broker

import (
	"context"
	"fmt"
)

// restoreUsers makes the users of all bindings again in an instance that has returned to data from before an upgrade,
// or to a restore point: those that were made since are not in it. Users that were dropped since are the backend's to
// drop again.
func (b *Broker) restoreUsers(ctx context.Context, in Instance, op Operation) error {
	spec, err := b.wantedSpec(in, op)
	if err != nil {
		return err
	}
	if restores, err := b.restores(in, spec); err != nil || !spec.RollBack && !restores {
		return err
	}
	return b.remakeUsers(ctx, in)
}

// remakeUsers makes the users of all bindings of an instance again, each with the password that it has.
func (b *Broker) remakeUsers(ctx context.Context, in Instance) error {
	bindings, err := b.Store.Bindings(ctx, in.ID)
	if err != nil {
		return err
	}
	for _, kept := range bindings {
		if _, err := b.createUser(ctx, in, kept); err != nil {
			return fmt.Errorf("restore the user of binding %s: %w", kept.ID, err)
		}
	}
	return nil
}

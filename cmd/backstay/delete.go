package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

var deleteUsage = `Usage: backstay delete --without-backup INSTANCE [--data DIR]
       backstay delete --backups INSTANCE [--data DIR]

--without-backup ends the wait of a service instance that its users have deleted, and whose last backup cannot be
taken, as when the repository is away: its data is gone then, and earlier backups stay as long as they would have.

--backups removes the backups of an instance that was deleted before they would go by themselves. There is no way back.

INSTANCE is a guid, as "backstay backups" shows it.

` + clusterUsage + "\n" + dataUsage

func deleteForGood(ctx context.Context, c *cli, args []string) error {
	fs := flag.NewFlagSet("delete", flag.ContinueOnError)
	withoutBackup, backups := fs.Bool("without-backup", false, ""), fs.Bool("backups", false, "")
	id, instances, err := c.parseInstance(ctx, fs, args)
	if err != nil {
		return err
	}
	if *withoutBackup == *backups {
		return usagef("delete wants either --without-backup or --backups.")
	}
	if *backups {
		return c.forgetBackups(ctx, instances, id)
	}
	return c.endWithoutBackup(ctx, instances, id)
}

// endWithoutBackup ends an instance that waits for its last backup: what the ledger keeps of it is written down by
// then. To delete any other instance is for its users.
func (c *cli) endWithoutBackup(ctx context.Context, instances instancePlace, id backstay.InstanceID) error {
	s, err := instances.Await(ctx, id, 0)
	if err != nil {
		return backupsAdvised(err)
	}
	if s.Phase != backend.Removing {
		return advise(backstay.Errorf(backstay.Invalid, "Service instance %s is not being deleted.", id),
			"cf delete-service NAME, and this again if it waits")
	}
	if err := instances.Discard(ctx, id); err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "Service instance %s goes without a last backup.\n", id)
	return nil
}

func (c *cli) forgetBackups(ctx context.Context, archive backend.Archive, id backstay.InstanceID) error {
	kept, err := archive.Backups(ctx, id)
	if err != nil {
		return backupsAdvised(err)
	}
	if kept.Removed.IsZero() {
		return advise(backstay.Errorf(backstay.Invalid, "Service instance %s was not deleted: its backups stay.", id),
			"backstay backups %s", id)
	}
	if err := archive.Forget(ctx, id); err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "Nothing is kept of service instance %s any more.\n", id)
	return nil
}

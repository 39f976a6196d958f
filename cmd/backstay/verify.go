package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

var verifyUsage = `Usage: backstay verify INSTANCE [FLAGS]

Reads all backups of a service instance and the archive between them now, and compares the checksums. Then it restores
the newest one into a scratch place, starts it there, checks it, throws it away, and says how long that took. What it
finds damaged is not restored any more, and told: by "backstay backups", and to users; then it fails, though the newest
backup may be whole. It is done for each instance once a day without being asked. The instance itself is not touched.
INSTANCE is a guid, as "backstay backups" shows it; "state" is the platform's own database.

Of an instance on Kubernetes the newest backup is restored, into a Cluster of its own, and the others are not read. It
is not done without being asked.

` + clusterUsage + "\n" + dataUsage

func verify(ctx context.Context, c *cli, args []string) error {
	fs := flag.NewFlagSet("verify", flag.ContinueOnError)
	id, instances, err := c.parseInstance(ctx, fs, args)
	if err != nil {
		return err
	}
	proof, err := instances.Prove(ctx, id)
	if backstay.KindOf(err) == backstay.NotFound {
		return backupsAdvised(err)
	}
	if err == nil && proof.Reason != "" {
		err = backstay.Errorf(backstay.Invalid, "%s", proof.Reason)
	}
	if err != nil {
		return advise(fmt.Errorf("the newest backup of %s is not proved: %w", id, err), "backstay backups %s", id)
	}
	fmt.Fprintf(c.stdout, "Backup %s was restored, started and checked; it took %s.\n", proof.Backup,
		proof.Took.Round(time.Millisecond))
	kept, err := instances.Backups(ctx, id)
	if err != nil {
		return err
	}
	for _, trouble := range kept.Troubles {
		fmt.Fprintln(c.stdout, trouble.Sentence)
	}
	if kept.Has(backend.DamageTrouble) {
		return advise(backstay.Errorf(backstay.Invalid, "What is kept of %s is damaged.", id), "backstay backups %s", id)
	}
	return nil
}

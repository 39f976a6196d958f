package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper"
)

var backupPlatformUsage = `Usage: backstay backup-platform [FLAGS]

Backs up the platform's own database into the repository now, and returns when that is whole: all users,
organizations, instances and bindings, with their secrets sealed. It is done each night without being asked, and what
happens in between is archived.

The sealing key, DATA/seal.key or what --seal-key names, is not in the repository, and must be kept apart from it:
whoever has both has everything, and without it nothing in the repository can be read. So must the file that --config
names, and the files that it names.

` + configFlagUsage + new(cli).table().Help(dataSetting, sealKeySetting)

func backupPlatform(ctx context.Context, c *cli, args []string) error {
	fs := flag.NewFlagSet("backup-platform", flag.ContinueOnError)
	read := c.configFlags(fs, dataSetting, sealKeySetting)
	if err := parseAll(fs, args); err != nil {
		return err
	}
	cfg, err := read()
	if err != nil {
		return err
	}
	dir := cfg.data
	_, keys, err := cfg.openKeys(ctx)
	if err != nil {
		return err
	}
	taken, err := backUpState(ctx, dir, local.New(dir.keeperSocket()), keys)
	if err != nil {
		return advise(fmt.Errorf("back up the platform: %w", err), "backstay backups %s", stateInstance)
	}
	fmt.Fprintf(c.stdout, "Backup %s of the platform is whole: %s, of which %s are stored; it took %s.\n"+
		"The sealing key %s is not in it: keep a copy apart from the repository.\n", taken.ID, taken.Data.Rounded(),
		taken.Stored.Rounded(), taken.Ended.Sub(taken.Began).Round(time.Millisecond), cfg.SealKey)
	return nil
}

// backUpState has the keeper take a backup of our own database, and returns that.
func backUpState(
	ctx context.Context, dir dataDir, instances *local.Backend, keys seal.Ring,
) (taken backstay.Backup, err error) {
	spec, err := keeper.Wanted(string(dir), keys.Records, stateInstance)
	if err == nil {
		err = stateCanBeBackedUp(ctx, instances, spec.Version)
	}
	if err != nil {
		return taken, err
	}
	wanted, err := changeState(ctx, dir, keys, instances, func(s *backend.Spec) {
		s.Backup, s.Backups = statePolicy(keys.State), s.Backups+1
	})
	if err != nil {
		return taken, err
	}
	var kept backend.Backups
	err = wait.Until(ctx, wait.Every(200*time.Millisecond), func() (again bool, err error) {
		kept, err = instances.Backups(ctx, stateInstance)
		return backstay.KindOf(err) == backstay.NotFound || err == nil && kept.Asked < wanted.Backups, err
	})
	switch {
	case err != nil:
		return taken, err
	case kept.Failed != "":
		return taken, backstay.Errorf(backstay.Unavailable, "%s It is tried again by itself.", kept.Failed)
	case len(kept.List) == 0: // as where the policy has removed it already: a clock that is wrong can bring that about
		return taken, errors.New("the backup is not among those that are kept")
	}
	return kept.List[len(kept.List)-1], nil
}

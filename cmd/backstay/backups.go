package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/state"
)

var backupsUsage = `Usage: backstay backups [INSTANCE] [FLAGS]

Lists what is kept of each service instance in the repository, of deleted ones too: how many backups and of what
size, which moments can be restored, when a restore was last proved, and what is in the way of the next backup. With
the guid of an instance ("cf service NAME --guid" shows it), it lists the backups of that one; "state" is the
platform's own database.

All times are UTC. It works also while "backstay serve" does not run, without names then.

` + clusterUsage + `

` + stateUsage

func showBackups(ctx context.Context, c *cli, args []string) error {
	fs := flag.NewFlagSet("backups", flag.ContinueOnError)
	read := c.configFlags(fs, append(clusterNames(), dataSetting, databaseSetting)...)
	id, err := parseOptional(fs, args, "the guid of a service instance")
	if err != nil {
		return err
	}
	cfg, err := read()
	if err != nil {
		return err
	}
	all, _ := c.places(ctx, cfg)
	if id == "" {
		kept, missing := all.backups(ctx)
		if len(kept) == 0 && missing != nil {
			return missing
		}
		return cmp.Or(writeBackupsTable(c.stdout, kept, c.instanceNames(ctx, cfg)), missing)
	}
	kept, err := all.of(ctx, backstay.InstanceID(id)).Backups(ctx, backstay.InstanceID(id))
	if err != nil {
		return backupsAdvised(err)
	}
	return writeBackups(c.stdout, kept, c.instanceNames(ctx, cfg)[kept.Instance])
}

// backupsAdvised sends whoever named an instance of which nothing is kept to the list of the others.
func backupsAdvised(err error) error {
	if backstay.KindOf(err) == backstay.NotFound {
		return advise(err, "backstay backups")
	}
	return err
}

// instanceNames returns the names of all instances, and of the deleted ones that the ledger remembers, by their ids.
// Where the state database cannot be asked, only the platform itself has a name: the list of backups is worth more
// than the names in it.
func (c *cli) instanceNames(ctx context.Context, cfg *config) map[backstay.InstanceID]string {
	names := map[backstay.InstanceID]string{stateInstance: "(the platform itself)"}
	store, err := c.openRunning(ctx, cfg)
	if err != nil {
		return names
	}
	defer store.Close()
	deleted, err := store.Broker().Archives(ctx)
	if err != nil {
		return names
	}
	for _, archive := range deleted {
		names[archive.ID] = strings.TrimSpace(archive.Name + " (deleted)")
	}
	instances, err := store.Instances(ctx, market.InstanceFilter{})
	if err != nil {
		return names
	}
	for _, instance := range instances.Items {
		names[instance.ID] = instance.Name
	}
	nameThoseOfClients(ctx, store, names)
	return names
}

// nameThoseOfClients adds the names that the instances of other platforms had when they were made.
func nameThoseOfClients(ctx context.Context, store *state.Store, names map[backstay.InstanceID]string) {
	clients, err := store.Tenants().Tenants(ctx, time.Now())
	if err != nil {
		return
	}
	for _, client := range clients {
		claims, err := store.Tenants().Claims(ctx, client.ID, time.Now())
		if err != nil {
			return
		}
		for _, claim := range claims {
			if in, err := store.Broker().Instance(ctx, claim.InstanceID); err == nil && in.Name != "" {
				names[in.ID] = in.Name
			}
		}
	}
}

// writeBackupsTable writes a line for each instance, and below them what is in the way of backups.
func writeBackupsTable(to io.Writer, all []backend.Backups, names map[backstay.InstanceID]string) error {
	if len(all) == 0 {
		fmt.Fprintln(to, "No backups are kept.")
		return nil
	}
	w := tabwriter.NewWriter(to, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "instance\tname\tservice\tbackups\tstored\tlast backup\trestorable\tproved")
	for _, kept := range all {
		fmt.Fprintf(w, "%s\t%s\t%s %s\t%s\t%s\t%s\t%s\t%s\n", kept.Instance, backupsName(kept, names[kept.Instance]),
			kept.Engine, kept.Version, counted(kept.List), storedBytes(kept.List).Rounded(), lastBackup(kept), restorable(kept),
			proved(kept.Proof))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, kept := range all {
		if kept.Trouble() != "" {
			fmt.Fprintf(to, "\n%s: %s\n", kept.Instance, kept.Trouble())
		}
	}
	return nil
}

// writeBackups writes all that is known of the backups of the instance of that name.
func writeBackups(to io.Writer, kept backend.Backups, name string) error {
	w := tabwriter.NewWriter(to, 0, 0, 3, ' ', 0)
	fmt.Fprintf(w, "instance:\t%s\nname:\t%s\nservice:\t%s %s\nrestorable:\t%s\n",
		kept.Instance, backupsName(kept, name), kept.Engine, kept.Version, restorable(kept))
	for _, gap := range backup.Gaps(kept) {
		fmt.Fprintf(w, "not restorable:\t%s to %s\n", moment(gap.From), moment(gap.Until))
	}
	fmt.Fprintf(w, "proved restore:\t%s\n", proved(kept.Proof))
	if !kept.Until.IsZero() {
		fmt.Fprintf(w, "kept until:\t%s\n", moment(kept.Until))
	}
	if kept.Running {
		fmt.Fprintln(w, "now:\ta backup is being taken")
	}
	if kept.Trouble() != "" {
		fmt.Fprintf(w, "trouble:\t%s\n", kept.Trouble())
	}
	if len(kept.List) > 0 {
		fmt.Fprintln(w, "\nbackup\tbegan\ttook\tdata\tstored\tversion")
	}
	for _, backup := range kept.List {
		version := backup.Version
		if backup.Final {
			version += " (the last one)"
		}
		if backup.Damaged != "" {
			version += " DAMAGED: " + backup.Damaged
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", backup.ID, moment(backup.Began),
			backup.Ended.Sub(backup.Began).Round(time.Second), backup.Data.Rounded(), backup.Stored.Rounded(), version)
	}
	return w.Flush()
}

// backupsName is what a list calls an instance whose name in the state database is the given one, empty if unknown.
func backupsName(kept backend.Backups, name string) string {
	if kept.Removed.IsZero() {
		return cmp.Or(name, "-")
	}
	return cmp.Or(name, "(deleted)")
}

// counted says how many backups there are, and how many of these are of no use.
func counted(list []backstay.Backup) string {
	if damaged := len(list) - len(backup.Whole(list)); damaged > 0 {
		return fmt.Sprintf("%d (%d damaged)", len(list), damaged)
	}
	return strconv.Itoa(len(list))
}

func storedBytes(list []backstay.Backup) (sum backstay.Bytes) {
	for _, backup := range list {
		sum += backup.Stored
	}
	return sum
}

// lastBackup says when the newest backup ended that is whole.
func lastBackup(kept backend.Backups) string {
	whole := backup.Whole(kept.List)
	if len(whole) == 0 {
		return "none yet"
	}
	return moment(whole[len(whole)-1].Ended)
}

// restorable says which moments an instance can be returned to.
func restorable(kept backend.Backups) string {
	switch {
	case !kept.Earliest.IsZero():
		return moment(kept.Earliest) + " to " + moment(kept.Latest)
	case len(backup.Whole(kept.List)) > 0:
		return "each backup"
	}
	return "nothing"
}

// proved says how the last restore that was tried went.
func proved(last backend.Proof) string {
	switch {
	case last.At.IsZero():
		return "never"
	case last.Reason != "":
		return moment(last.At) + " FAILED: " + last.Reason
	}
	return fmt.Sprintf("%s, took %s", moment(last.At), last.Took.Round(time.Second))
}

// moment writes a time in the form in which flags, and the parameters of tenants, take it.
func moment(t time.Time) string { return t.UTC().Format(time.DateTime) }

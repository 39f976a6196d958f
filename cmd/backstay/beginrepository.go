package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/repository"
)

var beginRepositoryUsage = `Usage: backstay begin-repository [FLAGS]

Has this Backstay keep its backups from now on in the repository that the flags, or the --config, name, though it is
not the one that they have been in: a new directory or bucket, or one that another Backstay has begun. Give it the
flags that serve is given. A directory must be there. Without this command, such a repository counts as away.

What the repository before has stays there, and is not moved. Copy its files first, and what is kept stays known; then
this command is not needed, since the copy carries the same mark. Otherwise all backups until now are told as gone,
nothing before now can be restored, and a new backup of every instance is taken at once. Backups of deleted instances
are not made up for.

` + configFlagUsage + new(cli).table().Help()

// beginPatience is how long begin-repository waits for a repository.
const beginPatience = time.Minute

func beginRepository(ctx context.Context, c *cli, args []string) error {
	fs := flag.NewFlagSet("begin-repository", flag.ContinueOnError)
	read := c.configFlags(fs)
	if err := parseAll(fs, args); err != nil {
		return err
	}
	cfg, err := read()
	if err != nil {
		return err
	}
	if !cfg.data.hasServed() {
		return advise(fmt.Errorf("no Backstay has served from %s yet", cfg.data), "backstay serve")
	}
	r, err := cfg.openRepository()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, beginPatience)
	defer cancel()
	if err := repository.Probe(ctx, r, time.Now()); err != nil {
		return advise(err, "backstay help begin-repository")
	}
	isNew, err := keeper.BeginRepository(ctx, string(cfg.data), r)
	if err != nil {
		return advise(err, "backstay help begin-repository")
	}
	said := "has been begun before, and is this Backstay's now"
	if isNew {
		said = "is begun"
	}
	fmt.Fprintf(c.stdout, "The repository %s. Backups are taken into it from now on; if serve names another place, "+
		"start it with the same flags.\n", said)
	return nil
}

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/keeper"
)

var restorePlatformUsage = `Usage: backstay restore-platform [--key-file FILE] [--backup ID] [FLAGS]

Restores a whole Backstay on a machine on which there is nothing of it: from the repository that its backups are in,
and its sealing key. Give it the flags, or the --config, that serve is to be given; --data must name a new directory,
--repository (or --repository-endpoint) where the backups are, and --seal-key where the key is. A copy of the key file,
which was DATA/seal.key, is put where --seal-key says by --key-file. The platform's own database
is restored as far as its archive goes. "backstay serve" then brings every service instance back that has backups,
with the same guid, port, bindings and credentials, and "cf service NAME" says how far each is.

The Backstay that is restored must not run anywhere any more. What was interrupted can be typed again.

  --key-file FILE              a copy of the key file of the Backstay that is restored
  --backup ID                  begin with this backup of the platform, and not with the newest one that is whole
  --state-version VERSION      the PostgreSQL of the platform's own database, as 15, where the recovery note cannot be
                               read; the settings that were in force are lost then
` + configFlagUsage + new(cli).table().Help()

func restorePlatform(ctx context.Context, c *cli, args []string) error {
	fs := flag.NewFlagSet("restore-platform", flag.ContinueOnError)
	read := c.configFlags(fs)
	keyFile, id := fs.String("key-file", "", ""), fs.String("backup", "", "")
	version := fs.String("state-version", "", "")
	if err := parseAll(fs, args); err != nil {
		return err
	}
	cfg, err := read()
	if err != nil {
		return err
	}
	r := &platformRestorer{platform: &platform{cfg: cfg, log: slog.New(slog.NewTextHandler(c.stderr, nil))},
		keyFile: *keyFile, backup: *id, version: *version, instances: local.New(cfg.data.keeperSocket())}
	if r.SealingKey, err = r.givenKey(ctx); err != nil {
		return err
	}
	if err := r.refuse(ctx); err != nil {
		return err
	}
	if err := c.makeDataDir(cfg.data); err != nil {
		return err
	}
	release, err := process.HoldPIDFile(cfg.data.servePID())
	if err != nil {
		return err
	}
	defer release()
	if err := step.Run(ctx, r.steps()...); err != nil {
		return r.advised(ctx, c, err)
	}
	r.tell(c)
	return nil
}

// The stages of a restoration, as a file of the data directory says them.
const (
	restoringState     = "state"     // our own database is being restored
	restoringInstances = "instances" // that is there, and the instances come back
)

func (d dataDir) restorationFile() string { return filepath.Join(string(d), "restoration") }

// restoration is the stage that the restoration of this Backstay has come to; empty: there is none.
func (d dataDir) restoration() string {
	stage, _ := os.ReadFile(d.restorationFile()) // what cannot be read is not there
	return strings.TrimSpace(string(stage))
}

func (d dataDir) setRestoration(stage string) error {
	return atomicfile.Write(d.restorationFile(), []byte(stage+"\n"), 0o600)
}

// platformRestorer brings the key and our own database back. The instances are for serve to bring back.
type platformRestorer struct {
	*platform
	instances *local.Backend
	keyFile   string // a copy of the key file; empty: the sealing key is where it is
	backup    string // the ID of the backup of our own database to begin with; empty: the newest
	version   string // of our own database, in the place of the recovery note; empty: the note says it
	note      recoveryNote
}

// givenKey is the sealing key of the Backstay that is restored.
func (r *platformRestorer) givenKey(ctx context.Context) (key seal.Key, err error) {
	place := r.cfg.SealKey
	if r.keyFile != "" && place.File == "" {
		return key, usagef("--key-file cannot be put where --seal-key says, %s: leave it out.", place)
	}
	if r.keyFile != "" {
		return seal.Load(r.keyFile)
	}
	key, err = place.Load(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		err = usagef("restore-platform wants the sealing key, without which nothing in the repository can be read: "+
			"there is none in %s, where --seal-key says, and no copy of it is named by --key-file.", place)
	}
	return key, err
}

// refuse reads the recovery note, and refuses what cannot be before anything is made: another Backstay in the data
// directory, a repository without a backup, a key that does not open it.
func (r *platformRestorer) refuse(ctx context.Context) (err error) {
	dir := r.cfg.data
	if dir.restoration() == "" && (dir.hasServed() || exists(dir.stateData())) {
		return advise(fmt.Errorf("a Backstay has served from %s already, and nothing is put in its place", dir),
			"backstay restore-platform --data DIR, with a new directory")
	}
	if dir.restoration() == restoringInstances {
		return advise(fmt.Errorf("the state database of %s is restored already", dir), "backstay serve --data %s", dir)
	}
	if r.version != "" {
		r.note = recoveryNote{State: r.version}
	} else if r.note, err = r.cfg.readNote(ctx, r.SealingKey); err != nil {
		return advise(err, "backstay help restore-platform")
	}
	r.Keys, err = r.note.ring(r.SealingKey)
	return err
}

func (r *platformRestorer) steps() []step.Step {
	dir := r.cfg.data
	return []step.Step{
		{Name: "restore-platform.begun", Do: func(context.Context) error { return dir.setRestoration(restoringState) }},
		{Name: "restore-platform.key-copied", Do: func(context.Context) error { return r.copyKey() }},
		{Name: "restore-platform.keys-kept", Do: r.keepRing},
		{Name: "restore-platform.note-kept", Do: func(context.Context) error { return dir.keepLost(r.note) }},
		{Name: "restore-platform.learned", Do: r.learn},
		{Name: "restore-platform.applied", Do: r.apply},
		{Name: "restore-platform.awaited", Do: r.await},
		{Name: "restore-platform.recorded", Do: func(context.Context) error {
			return dir.setRestoration(restoringInstances)
		}},
	}
}

// copyKey puts the key file where serve looks for it.
func (r *platformRestorer) copyKey() error {
	if r.keyFile == "" {
		return nil
	}
	return atomicfile.Write(r.cfg.SealKey.File, []byte(r.SealingKey.Text().Reveal()+"\n"), 0o600)
}

// keepRing writes down what all is sealed with. What an earlier try has made stays: its keeper seals with it.
func (r *platformRestorer) keepRing(ctx context.Context) (err error) {
	if exists(r.cfg.data.envelopeFile()) {
		r.Keys, err = r.cfg.openEnvelope(ctx, r.SealingKey)
		return err
	}
	envelope := seal.Envelope{}
	envelope.Add(r.SealingKey, r.Keys)
	return atomicfile.Write(r.cfg.data.envelopeFile(), envelope.Text(), 0o600)
}

// learn has a keeper find the backups of our own database.
func (r *platformRestorer) learn(ctx context.Context) error {
	if err := r.startKeeper(ctx, r.instances); err != nil {
		return err
	}
	if err := stateCanBeBackedUp(ctx, r.instances, r.note.State); err != nil {
		return err
	}
	inventory, err := r.instances.Inventory(ctx)
	if err != nil {
		return err
	}
	if _, ok := stateVersion(inventory, r.note.State); !ok {
		return advise(fmt.Errorf("the state database is of PostgreSQL %s, which is not on this machine", r.note.State),
			"apt-get install postgresql-%s", r.note.State)
	}
	return r.instances.Learn(ctx, backend.Legacy{
		Instance: stateInstance, Engine: stateEngine, Version: r.note.State, Policy: *statePolicy(r.Keys.State),
	})
}

// apply asks for our own database, from its backup and what was archived since. What has failed before is tried anew.
func (r *platformRestorer) apply(ctx context.Context) error {
	spec := newStateSpec(r.madeBy(ctx))
	spec.Backup = statePolicy(r.Keys.State)
	spec.Origin = &backend.Origin{Instance: stateInstance, Key: spec.Backup.Key, Backup: r.backup}
	s, err := r.instances.Await(ctx, stateInstance, 0)
	if backstay.KindOf(err) == backstay.NotFound {
		return r.instances.Apply(ctx, spec)
	}
	if err != nil || s.Phase == backend.Running {
		return err
	}
	before, err := keeper.Wanted(string(r.cfg.data), r.Keys.Records, stateInstance)
	if err != nil || before.Origin != nil && before.Origin.Backup == r.backup && !s.Obstacle.Final {
		return err // an earlier try goes on
	}
	spec.Generation = before.Generation + 1
	return r.instances.Apply(ctx, spec)
}

// madeBy returns the version of the backup that our own database begins with, which may be older than what it ran at
// last. The next start of serve upgrades it.
func (r *platformRestorer) madeBy(ctx context.Context) string {
	kept, err := r.instances.Backups(ctx, stateInstance)
	if err != nil {
		return r.note.State
	}
	from, err := backup.Reach(kept, backend.Origin{Instance: stateInstance, Backup: r.backup})
	for _, b := range kept.List {
		if major, _, _ := strings.Cut(b.Version, "."); err == nil && b.ID == from.Backup && major != "" {
			return major
		}
	}
	return r.note.State
}

// await returns when our own database serves, and tells how far it is.
func (r *platformRestorer) await(ctx context.Context) error {
	wanted, err := keeper.Wanted(string(r.cfg.data), r.Keys.Records, stateInstance)
	if err != nil {
		return err
	}
	var last backend.Status
	for last.Phase != backend.Running || last.Generation < wanted.Generation {
		s, err := r.instances.Await(ctx, stateInstance, last.Revision)
		if err != nil {
			return err
		}
		if s.Message != last.Message {
			r.log.Info("the state database", "says", s.Message)
		}
		if s.Obstacle.Final && s.Obstacle.Generation == wanted.Generation {
			return errors.New(s.Obstacle.Sentence)
		}
		last = s
	}
	return nil
}

// advised lists the backups that there are, if any are known, to whoever sees a restore fail.
func (r *platformRestorer) advised(ctx context.Context, c *cli, err error) error {
	err = fmt.Errorf("restore the platform: %w", err)
	var advised *advisedError
	if errors.As(err, &advised) {
		return err
	}
	kept, listErr := r.instances.Backups(ctx, stateInstance)
	if listErr != nil || len(kept.List) == 0 {
		return advise(err, "%s", r.cfg.doctor)
	}
	if writeErr := writeBackups(c.stdout, kept, "(the platform itself)"); writeErr != nil {
		return errors.Join(err, writeErr)
	}
	return advise(err, "backstay restore-platform, as before, or with --backup ID, of an earlier one of the above")
}

func (r *platformRestorer) tell(c *cli) {
	if r.version != "" {
		fmt.Fprintln(c.stdout, "The state database is restored.")
	} else {
		r.tellLost(c)
	}
	fmt.Fprintf(c.stdout,
		"\"backstay serve\", with the same --data and --repository, brings the service instances back.\n")
}

func (r *platformRestorer) tellLost(c *cli) {
	fmt.Fprintf(c.stdout, "The state database is restored. The settings of the Backstay that was lost are in\n  %s\n",
		r.cfg.data.lostSettings())
	if r.note.Catalog != "" {
		fmt.Fprintf(c.stdout, "and its catalog is in\n  %s\n", r.cfg.data.lostCatalog())
	}
}

package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/state"
)

var rotateSealKeyUsage = `Usage: backstay rotate-seal-key [--new-seal-key SOURCE] [FLAGS]

Has another sealing key open this Backstay's secrets, and its backups of before too, in the place of the one that
--seal-key names; that one then opens nothing any more. Without --new-seal-key, a new key is made, and takes the place
of the one in the file. With it, the new key comes from there, a file that is made if it is not there, and serve must be
given that as --seal-key from then on. Give it the flags, or the --config, that serve is given. serve must have been
ended; the databases run on. What was interrupted can be typed again, and until then both keys open everything.

Who has had the key before, and a copy of DATA/keys.sealed or of the recovery note in the repository from that time,
can still open what is sealed.

  --new-seal-key SOURCE        where the new key comes from, in the form of --seal-key
` + configFlagUsage + new(cli).table().Help()

func rotateSealKey(ctx context.Context, c *cli, args []string) error {
	fs := flag.NewFlagSet("rotate-seal-key", flag.ContinueOnError)
	read := c.configFlags(fs)
	to := fs.String("new-seal-key", "", "")
	if err := parseAll(fs, args); err != nil {
		return err
	}
	cfg, err := read()
	if err != nil {
		return err
	}
	r := &sealRotator{platform: &platform{cfg: cfg, log: slog.New(slog.NewTextHandler(c.stderr, nil))}, to: cfg.SealKey}
	if *to != "" {
		if r.to, err = seal.ParseSource(*to); err != nil {
			return usagef("--new-seal-key %q %v.", *to, err)
		}
	}
	if r.inPlace() && r.to.File == "" {
		return usagef("rotate-seal-key wants --new-seal-key: the key of %s is not in a file that could be changed.", r.to)
	}
	if !exists(cfg.data.envelopeFile()) {
		return advise(fmt.Errorf("there is nothing in %s that this Backstay has sealed", cfg.data),
			"backstay serve --data %s, once", cfg.data)
	}
	release, err := process.HoldPIDFile(cfg.data.servePID())
	if err != nil {
		return advise(fmt.Errorf("serve must be ended before its key is changed; the databases run on: %w", err),
			"systemctl stop backstay, or what else ends \"backstay serve\"")
	}
	defer release()
	return r.rotate(ctx, c)
}

// sealRotator has another key open what the one of the settings opens.
type sealRotator struct {
	*platform
	to  seal.Source // where the new key comes from
	New seal.Key    // exported so that fmt finds the methods that redact it
}

func (r *sealRotator) rotate(ctx context.Context, c *cli) error {
	if err := r.open(ctx); err != nil {
		return err
	}
	defer func() {
		if r.store != nil {
			r.store.Close()
		}
	}()
	if err := step.Run(ctx, r.steps()...); err != nil {
		err = cmp.Or(errors.Unwrap(err), err) // without the step's name, which says nothing to whoever typed it
		return advise(fmt.Errorf("change the sealing key: %w", err), "backstay rotate-seal-key, as before")
	}
	fmt.Fprintf(c.stdout, "All secrets are opened by key %s now, and by no other: it is %s.\n", r.New.Fingerprint(), r.to)
	if r.to.String() != r.cfg.SealKey.String() {
		fmt.Fprintf(c.stdout, "Give \"backstay serve\" that as --seal-key. What %s has is of no use any more.\n",
			r.cfg.SealKey)
	}
	fmt.Fprint(c.stdout, "Keep a copy of it apart from the repository.\n")
	return nil
}

// inPlace tells whether the new key takes the place of the old one in its file.
func (r *sealRotator) inPlace() bool { return r.to.String() == r.cfg.SealKey.String() }

// next is where a key lies that is to take the place of the one in the file.
func (r *sealRotator) next() string { return r.cfg.SealKey.File + ".next" }

// open gets both keys and what they open, and refuses what cannot be done before anything is changed. Where an earlier
// call was interrupted, the key before may open nothing any more, and is left out.
func (r *sealRotator) open(ctx context.Context) (err error) {
	if r.SealingKey, err = r.cfg.loadSealKey(ctx); err != nil {
		return err
	}
	if r.Keys, err = r.cfg.openEnvelope(ctx, r.SealingKey); err != nil {
		return r.openByNew(ctx, err)
	}
	if r.Keys.State == r.SealingKey {
		return errors.New("what is in the state database was sealed by a Backstay of before, with the sealing key itself, " +
			"which therefore goes on opening it: another one would change nothing")
	}
	if r.New, err = r.newKey(ctx); err != nil {
		return err
	}
	return r.openStore(ctx)
}

// openByNew opens the keys where an earlier call has got so far that only the new key does. It fails with the reason
// why the key before does not.
func (r *sealRotator) openByNew(ctx context.Context, reason error) (err error) {
	if r.inPlace() {
		return reason
	}
	if r.New, err = r.to.Load(ctx); err != nil {
		return reason
	}
	if r.Keys, err = r.cfg.openEnvelope(ctx, r.New); err != nil {
		return reason
	}
	r.SealingKey = r.New
	return r.openStore(ctx)
}

// openStore claims the database of an operator's own, which has a copy of the keys.
func (r *sealRotator) openStore(ctx context.Context) (err error) {
	if r.cfg.Database == "" {
		return nil
	}
	admit := func(bool) error { return nil }
	r.store, err = state.OpenToServe(ctx, r.cfg.Database.Reveal(), admit, r.log)
	return err
}

// newKey gets the new key, or makes it where that is for us to do.
func (r *sealRotator) newKey(ctx context.Context) (seal.Key, error) {
	if !r.inPlace() {
		key, err := r.to.Load(ctx)
		if errors.Is(err, fs.ErrNotExist) && r.to.File != "" {
			key = seal.New()
			err = key.Create(r.to.File)
		}
		return key, err
	}
	envelope, err := r.cfg.data.envelope()
	if err != nil {
		return seal.Key{}, err
	}
	if !exists(r.next()) && len(envelope) > 1 {
		return r.SealingKey, nil // the file has the new key already, and the old one is to go
	}
	if !exists(r.next()) {
		if err := seal.New().Create(r.next()); err != nil {
			return seal.Key{}, err
		}
	}
	return seal.Load(r.next())
}

func (r *sealRotator) steps() []step.Step {
	return []step.Step{
		{Name: "rotate-seal-key.added", Do: func(ctx context.Context) error { return r.seal(ctx, r.SealingKey, r.New) }},
		{Name: "rotate-seal-key.noted", Do: r.copyNote},
		{Name: "rotate-seal-key.replaced", Do: func(context.Context) error { return r.replaceFile() }},
		{Name: "rotate-seal-key.removed", Do: func(ctx context.Context) error { return r.seal(ctx, r.New) }},
		{Name: "rotate-seal-key.forgotten", Do: r.forgetNotes},
	}
}

// seal has these keys open the envelope, wherever it lies, and no other.
func (r *sealRotator) seal(ctx context.Context, keys ...seal.Key) error {
	envelope := seal.Envelope{}
	for _, key := range keys {
		envelope.Add(key, r.Keys)
	}
	if err := atomicfile.Write(r.cfg.data.envelopeFile(), envelope.Text(), 0o600); err != nil || r.store == nil {
		return err
	}
	return r.store.SetSecret(ctx, keysSecret, envelope.Text())
}

// copyNote has the new key open a recovery note too. Where there is none yet, it is made as serve makes it.
func (r *sealRotator) copyNote(ctx context.Context) error {
	if r.store != nil {
		return nil // the database is the operator's to back up
	}
	note, err := r.cfg.readNote(ctx, r.SealingKey)
	if kind := backstay.KindOf(err); kind == backstay.NotFound || kind == backstay.Invalid {
		note, err = r.newNote()
	}
	if err != nil {
		return err
	}
	note.Key = r.Keys.State.Text()
	return r.cfg.putNote(ctx, r.New, note)
}

func (r *sealRotator) replaceFile() error {
	if !r.inPlace() || !exists(r.next()) {
		return nil
	}
	if err := os.Rename(r.next(), r.cfg.SealKey.File); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(r.cfg.SealKey.File))
}

// forgetNotes removes the recovery notes that other keys open.
func (r *sealRotator) forgetNotes(ctx context.Context) error {
	if r.store != nil {
		return nil
	}
	store, err := r.cfg.noteStore(r.New)
	if err != nil {
		return err
	}
	entries, err := store.List(ctx, notePrefix)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name == noteName(r.New) {
			continue
		}
		if err := store.Delete(ctx, time.Now(), e.Name); err != nil {
			return err
		}
	}
	return nil
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/repository"
)

// recoveryNote is what a new machine has to know before it can restore our own database, and what of the lost machine
// no database knew. It lies in the repository, encrypted with the platform's key.
type recoveryNote struct {
	Backstay string    `json:"backstay"` // the version that wrote it
	Written  time.Time `json:"written"`
	State    string    `json:"state"`    // the version of our own database, as plans name it
	Settings string    `json:"settings"` // in force, as "backstay config" prints them: without passwords
	Catalog  string    `json:"catalog"`  // of an operator's own; empty: there was none

	// Key is what the state database is sealed with, and its backups are encrypted with what is made of it. Empty: it is
	// the sealing key itself.
	Key backstay.Secret `json:"key,omitempty"`
}

const (
	notePart   = "platform" // of the repository
	notePrefix = "recovery"
	noteSuffix = ".json"
	// unnamedNote is what the note was called when it did not say by its name which sealing key opens it.
	unnamedNote = notePrefix + noteSuffix
)

// noteName is what the note is called that a sealing key opens.
func noteName(sealing seal.Key) string { return notePrefix + "-" + sealing.Fingerprint() + noteSuffix }

// noteStore is the part of the repository that the recovery note lies in, as the sealing key opens it.
func (c *config) noteStore(key seal.Key) (*repository.Store, error) {
	r, err := c.ownRepository()
	if err != nil {
		return nil, err
	}
	return repository.Open(r.Of(notePart, statePolicy(key).Key))
}

// keepNote writes the recovery note once, however long the repository is away. The database of an operator's own is
// theirs to restore.
func (p *platform) keepNote(ctx context.Context) error {
	if p.cfg.Database != "" {
		return nil
	}
	for told := false; ; told = true {
		err := p.writeNote(ctx)
		if err == nil {
			return nil
		}
		if !told && ctx.Err() == nil {
			p.log.Warn("what restore-platform needs cannot be written into the repository; it is tried again", "error", err)
		}
		if wait.Pause(ctx, time.Minute) != nil {
			return nil // serve ends, and its next start writes it
		}
	}
}

func (p *platform) writeNote(ctx context.Context) error {
	note, err := p.newNote()
	if err != nil {
		return err
	}
	return p.cfg.putNote(ctx, p.SealingKey, note)
}

func (c *config) putNote(ctx context.Context, sealing seal.Key, note recoveryNote) error {
	store, err := c.noteStore(sealing)
	if err != nil {
		return err
	}
	_, err = store.Put(ctx, noteName(sealing), func(w io.Writer) error { return json.NewEncoder(w).Encode(note) })
	return err
}

func (p *platform) newNote() (note recoveryNote, err error) {
	spec, err := keeper.Wanted(string(p.cfg.data), p.Keys.Records, stateInstance)
	if err != nil {
		return note, err
	}
	var settings bytes.Buffer
	if err := new(cli).table().Write(&settings, p.cfg.InForce); err != nil {
		return note, err
	}
	note = recoveryNote{
		Backstay: buildVersion(), Written: time.Now().UTC(), State: spec.Version, Settings: settings.String(),
		Key: p.Keys.State.Text(),
	}
	if p.cfg.catalog == "" {
		return note, nil
	}
	catalog, err := os.ReadFile(p.cfg.catalog)
	note.Catalog = string(catalog)
	return note, err
}

// readNote reads the recovery note of the platform whose sealing key that is.
func (c *config) readNote(ctx context.Context, sealing seal.Key) (note recoveryNote, err error) {
	store, err := c.noteStore(sealing)
	if err != nil {
		return note, err
	}
	err = getNote(ctx, store, noteName(sealing), &note)
	if backstay.KindOf(err) == backstay.NotFound {
		err = getNote(ctx, store, unnamedNote, &note)
	}
	switch kind := backstay.KindOf(err); kind {
	case backstay.NotFound:
		err = noNote(ctx, store, sealing)
	case backstay.Invalid:
		err = backstay.Errorf(kind, "The recovery note in this repository cannot be opened: the sealing key is that of "+
			"another Backstay, or the note is damaged. With --state-version, it is not needed.")
	case backstay.Unavailable:
		err = backstay.Errorf(kind, "%s", backstay.SentenceOf(err))
	}
	return note, err
}

func getNote(ctx context.Context, store *repository.Store, name string, note *recoveryNote) error {
	r, err := store.Get(ctx, name)
	if err != nil {
		return err
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, note)
}

// noNote tells which sealing key opens what is in the repository, where another one was given.
func noNote(ctx context.Context, store *repository.Store, sealing seal.Key) error {
	entries, err := store.List(ctx, notePrefix+"-")
	if err != nil {
		return err
	}
	var wanted []string
	for _, e := range entries {
		wanted = append(wanted, strings.TrimSuffix(strings.TrimPrefix(e.Name, notePrefix+"-"), noteSuffix))
	}
	if len(wanted) == 0 {
		return backstay.Errorf(backstay.NotFound, "There is no backup of a platform in this repository.")
	}
	return backstay.Errorf(backstay.Invalid, "The backup of the platform in this repository wants another sealing key: "+
		"key %s, and this is key %s.", strings.Join(wanted, " or "), sealing.Fingerprint())
}

// LogValue is the note without its key.
func (n recoveryNote) LogValue() slog.Value { return backstay.RedactedValue(n) }

// ring is the keys that a platform which is restored seals with. Its keeper gets another one for its records.
func (n recoveryNote) ring(sealing seal.Key) (r seal.Ring, err error) {
	r = seal.Ring{State: sealing, Records: seal.New()}
	if n.Key != "" {
		r.State, err = seal.ParseKey(n.Key)
	}
	return r, err
}

func (d dataDir) lostSettings() string { return filepath.Join(string(d), "lost-settings.yaml") }
func (d dataDir) lostCatalog() string  { return filepath.Join(string(d), "lost-catalog.yaml") }

// keepLost writes down which settings and which catalog the platform had that is restored.
func (d dataDir) keepLost(note recoveryNote) error {
	if note.Settings == "" { // they are lost
		return nil
	}
	if err := atomicfile.Write(d.lostSettings(), []byte(note.Settings), 0o600); err != nil || note.Catalog == "" {
		return err
	}
	return atomicfile.Write(d.lostCatalog(), []byte(note.Catalog), 0o600)
}

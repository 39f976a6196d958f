package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
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
}

const (
	notePart = "platform" // of the repository
	noteName = "recovery.json"
)

// noteStore is the part of the repository that the recovery note lies in.
func (c *config) noteStore(key seal.Key) (*repository.Store, error) {
	r, err := c.openRepository()
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
	store, err := p.cfg.noteStore(p.users.Key)
	if err != nil {
		return err
	}
	_, err = store.Put(ctx, noteName, func(w io.Writer) error { return json.NewEncoder(w).Encode(note) })
	return err
}

func (p *platform) newNote() (note recoveryNote, err error) {
	spec, err := keeper.Wanted(string(p.cfg.data), stateInstance)
	if err != nil {
		return note, err
	}
	var settings bytes.Buffer
	if err := new(cli).table().Write(&settings, p.cfg.InForce); err != nil {
		return note, err
	}
	note = recoveryNote{
		Backstay: buildVersion(), Written: time.Now().UTC(), State: spec.Version, Settings: settings.String(),
	}
	if p.cfg.catalog == "" {
		return note, nil
	}
	catalog, err := os.ReadFile(p.cfg.catalog)
	note.Catalog = string(catalog)
	return note, err
}

// readNote reads the recovery note of the platform whose key that is.
func (c *config) readNote(ctx context.Context, key seal.Key) (note recoveryNote, err error) {
	store, err := c.noteStore(key)
	if err != nil {
		return note, err
	}
	r, err := store.Get(ctx, noteName)
	if err == nil {
		defer r.Close()
		var text []byte
		if text, err = io.ReadAll(r); err == nil {
			err = json.Unmarshal(text, &note)
		}
	}
	switch kind := backstay.KindOf(err); kind {
	case backstay.NotFound:
		err = backstay.Errorf(kind, "There is no backup of a platform in this repository.")
	case backstay.Invalid:
		err = backstay.Errorf(kind, "The recovery note in this repository cannot be opened: the key file is that of "+
			"another Backstay, or the note is damaged.")
	case backstay.Unavailable:
		err = backstay.Errorf(kind, "%s", backstay.SentenceOf(err))
	}
	return note, err
}

func (d dataDir) lostSettings() string { return filepath.Join(string(d), "lost-settings.yaml") }
func (d dataDir) lostCatalog() string  { return filepath.Join(string(d), "lost-catalog.yaml") }

// keepLost writes down which settings and which catalog the platform had that is restored.
func (d dataDir) keepLost(note recoveryNote) error {
	if err := atomicfile.Write(d.lostSettings(), []byte(note.Settings), 0o600); err != nil || note.Catalog == "" {
		return err
	}
	return atomicfile.Write(d.lostCatalog(), []byte(note.Catalog), 0o600)
}

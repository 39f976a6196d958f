package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/state"
)

// withDatabase is a Backstay that has sealed something in a database of the operator's own.
func withDatabase(t *testing.T) (c *config, ring seal.Ring) {
	t.Helper()
	c = keyed(t, t.TempDir(), filepath.Join(t.TempDir(), "seal.key"))
	c.Database = backstay.Secret(testkit.Postgres(t))
	sealing, ring, err := c.ensureKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := &platform{cfg: c, SealingKey: sealing, Keys: ring, log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	if p.store, err = state.Open(t.Context(), c.Database.Reveal(), p.log); err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := p.keepKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c, ring
}

// TestADatabaseOfOnesOwnBringsItsKeys to a machine that has no more than the sealing key, and to none that has not.
func TestADatabaseOfOnesOwnBringsItsKeys(t *testing.T) {
	t.Parallel()
	c, ring := withDatabase(t)
	another := keyed(t, t.TempDir(), c.SealKey.File)
	another.Database = c.Database
	if _, got, err := another.ensureKeys(t.Context()); err != nil || got != ring {
		t.Errorf("another data directory has other keys (%v)", err)
	}
	another.SealKey.File += ".absent"
	wantRefusal(t, second(another.ensureKeys(t.Context())), "seal.key.absent is missing")
	if exists(another.SealKey.File) {
		t.Error("another key was made")
	}
}

// TestTheKeyOfADatabaseOfOnesOwnIsRotated on one machine. Another one of the same database has the new key from then on.
func TestTheKeyOfADatabaseOfOnesOwnIsRotated(t *testing.T) {
	t.Parallel()
	c, ring := withDatabase(t)
	before, err := c.SealKey.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := &sealRotator{platform: &platform{cfg: c, log: slog.New(slog.NewTextHandler(t.Output(), nil))}, to: c.SealKey}
	if err := r.rotate(t.Context(), &cli{stdout: io.Discard}); err != nil {
		t.Fatal(err)
	}
	fresh := keyed(t, t.TempDir(), c.SealKey.File)
	fresh.Database = c.Database
	for name, now := range map[string]*config{"the machine": c, "another one": fresh} {
		if sealing, got, err := now.openKeys(context.Background()); err != nil || got != ring || sealing == before {
			t.Errorf("%s has other keys, or the sealing key of before (%v)", name, err)
		}
		if _, err := now.openEnvelope(t.Context(), before); err == nil {
			t.Errorf("on %s, the key of before opens what is sealed", name)
		}
	}
}

// TestWhatCannotBeRotatedIsLeftAlone refuses a Backstay that has sealed with the sealing key itself, and another key
// than its own.
func TestWhatCannotBeRotatedIsLeftAlone(t *testing.T) {
	t.Parallel()
	for reason, envelope := range map[string]func(seal.Envelope, seal.Key){
		"with the sealing key itself": func(e seal.Envelope, k seal.Key) { e.Add(k, seal.Ring{State: k, Records: seal.New()}) },
		"is not that of":              func(e seal.Envelope, _ seal.Key) { e.Add(seal.New(), seal.NewRing()) },
	} {
		dir := t.TempDir()
		c, key, e := keyed(t, dir, filepath.Join(dir, "seal.key")), seal.New(), seal.Envelope{}
		envelope(e, key)
		if err := errors.Join(key.Create(c.SealKey.File), os.WriteFile(c.data.envelopeFile(), e.Text(), 0o600)); err != nil {
			t.Fatal(err)
		}
		r := &sealRotator{platform: &platform{cfg: c}, to: c.SealKey}
		if err := r.rotate(t.Context(), &cli{stdout: io.Discard}); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("refused with %v, want %q", err, reason)
		}
		left, err := os.ReadDir(dir)
		now, readErr := c.data.envelope()
		if err != nil || readErr != nil || len(left) != 2 || string(now.Text()) != string(e.Text()) {
			t.Errorf("something was changed: %v (%v, %v)", left, err, readErr)
		}
	}
}

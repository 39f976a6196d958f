package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/seal"
)

func keyed(t *testing.T, data, file string) *config {
	t.Helper()
	return &config{data: dataDir(data), SealKey: seal.Source{File: file}}
}

// TestTheFirstStartMakesTheKeys is killed where it likes to be, and goes on with the same keys once any are in use.
func TestTheFirstStartMakesTheKeys(t *testing.T) {
	t.Parallel()
	c := keyed(t, t.TempDir(), filepath.Join(t.TempDir(), "elsewhere.key"))
	_, lost, err := c.ensureKeys(t.Context())
	if err != nil || c.data.hasServed() {
		t.Fatalf("it has served: %v", err)
	}
	if err := os.Remove(c.SealKey.File); err != nil { // as if it had been killed between
		t.Fatal(err)
	}
	sealing, ring, err := c.ensureKeys(t.Context())
	if err != nil || ring == lost {
		t.Fatalf("a start that was killed before it had a sealing key: %v", err)
	}
	if _, again, err := c.ensureKeys(t.Context()); err != nil || again != ring {
		t.Errorf("the next start has other keys (%v)", err)
	}
	p := &platform{cfg: c, SealingKey: sealing, Keys: ring}
	for range 2 {
		if err := p.keepKeys(t.Context()); err != nil || !c.data.hasServed() {
			t.Fatalf("it has not served: %v", err)
		}
	}
	if _, again, err := c.openKeys(t.Context()); err != nil || again != ring {
		t.Errorf("a later start has other keys (%v)", err)
	}
}

// TestNoKeyIsMadeWhereOneWas takes the key away, and gives another one.
func TestNoKeyIsMadeWhereOneWas(t *testing.T) {
	t.Parallel()
	for name, there := range map[string][]string{
		"with keys of its own": {"keys.sealed"}, "of before there were any": {"instances/state/data/PG_VERSION"},
		"with an instance": {"instances/" + instanceID + "/data/x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := keyed(t, t.TempDir(), filepath.Join(t.TempDir(), "elsewhere.key"))
			for _, path := range there {
				mustWrite(t, filepath.Join(string(c.data), path))
			}
			wantRefusal(t, second(c.ensureKeys(t.Context())), "elsewhere.key is missing")
			if exists(c.SealKey.File) {
				t.Error("another key was made")
			}
		})
	}
}

// TestKeysOfBeforeThereWereAny are the sealing key itself. What is sealed with it opens, and records get a key.
func TestKeysOfBeforeThereWereAny(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := keyed(t, dir, filepath.Join(dir, "seal.key"))
	before := seal.New()
	if err := before.Create(c.SealKey.File); err != nil {
		t.Fatal(err)
	}
	sealing, ring, err := c.ensureKeys(t.Context())
	if err != nil || sealing != before || ring.State != before || c.data.sealsRecords() {
		t.Fatalf("the keys are others (%v)", err)
	}
	p := &platform{cfg: c, SealingKey: sealing, Keys: ring}
	if err := p.keepKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, again, err := c.openKeys(t.Context())
	if err != nil || again.State != before || again != p.Keys || again.Records == (seal.Key{}) || !c.data.sealsRecords() {
		t.Errorf("the next start has other keys (%v)", err)
	}
	if err := os.Remove(c.data.envelopeFile()); err != nil {
		t.Fatal(err)
	}
	sealed := `{"spec": {"instance": "` + instanceID + `", "generation": 1, "tls": {"key": "sealed:AAAA"}}}`
	record := filepath.Join(dir, "keeper", "instances", instanceID+".json")
	mustWrite(t, record)
	if err := os.WriteFile(record, []byte(sealed), 0o600); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, second(c.ensureKeys(t.Context())), "keys.sealed is missing")
}

func second(_ seal.Key, _ seal.Ring, err error) error { return err }

// TestAnotherSealingKeyIsSaid starts with one that does not open the keys: nothing is changed.
func TestAnotherSealingKeyIsSaid(t *testing.T) {
	t.Parallel()
	c := keyed(t, t.TempDir(), filepath.Join(t.TempDir(), "seal.key"))
	sealing, ring, err := c.ensureKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := (&platform{cfg: c, SealingKey: sealing, Keys: ring}).keepKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(c.data.envelopeFile())
	if err != nil {
		t.Fatal(err)
	}
	other := seal.New()
	c.SealKey.File += ".other"
	if err := other.Create(c.SealKey.File); err != nil {
		t.Fatal(err)
	}
	_, _, err = c.ensureKeys(t.Context())
	for _, part := range []string{"seal.key.other is not that of", other.Fingerprint(), sealing.Fingerprint()} {
		if backstay.KindOf(err) != backstay.Invalid || !strings.Contains(err.Error(), part) {
			t.Errorf("another key is told by %v, want %q", err, part)
		}
	}
	if now, err := os.ReadFile(c.data.envelopeFile()); err != nil || string(now) != string(before) {
		t.Errorf("the envelope was changed (%v)", err)
	}
}

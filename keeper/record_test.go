package keeper_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

func recordPath(c keeper.Config, id backstay.InstanceID) string {
	return filepath.Join(c.DataDir, "keeper", "instances", string(id)+".json")
}

func mustWrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestUnreadableRecordsAreLeftAlone lets the other instances live, and takes no instance for gone
// whose record there is.
func TestUnreadableRecordsAreLeftAlone(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 3)
	b, stop := keepertest.Run(t, c)
	broken, sound := mustApply(t, b), mustApply(t, b)
	before := until(t, b, broken.Instance, running)
	until(t, b, sound.Instance, running)
	stop()
	stopEngines(t, c) // so that its port is not taken for another reason
	text, err := os.ReadFile(recordPath(c, broken.Instance))
	if err != nil {
		t.Fatal(err)
	}
	for i, bad := range []string{string(text[:len(text)/2]), "", `{"spec": {"instance": "x", "generation": 1}}`} {
		mustWrite(t, recordPath(c, broken.Instance), bad)
		_, stop := keepertest.Run(t, c)
		_, err := b.Await(t.Context(), broken.Instance, 0)
		for what, err := range map[string]error{
			"Await": err, "Apply": b.Apply(t.Context(), broken), "Remove": b.Remove(t.Context(), broken.Instance),
		} {
			if backstay.KindOf(err) != backstay.Unavailable {
				t.Errorf("%s: %v, want Unavailable", what, err)
			}
		}
		if i == 0 {
			other := mustApply(t, b)
			if s, err := b.Await(t.Context(), other.Instance, 0); err != nil || s.Endpoint == before.Endpoint {
				t.Errorf("another instance has got the endpoint %+v, %v", s.Endpoint, err)
			}
			if err := end(t.Context(), b, other.Instance); err != nil {
				t.Error(err)
			}
		}
		until(t, b, sound.Instance, running)
		stop()
		if after, err := os.ReadFile(recordPath(c, broken.Instance)); err != nil || string(after) != bad {
			t.Errorf("the record is now %q, %v", after, err)
		}
	}
	mustWrite(t, recordPath(c, broken.Instance), string(text))
	keepertest.Run(t, c)
	if after := until(t, b, broken.Instance, running); after.Endpoint != before.Endpoint {
		t.Errorf("once its record is repaired it has the endpoint %+v, and had %+v", after.Endpoint, before.Endpoint)
	}
}

// TestHalfWrittenRecordIsRemoved: of a keeper that was killed while it saved one.
func TestHalfWrittenRecordIsRemoved(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	_, stop := keepertest.Run(t, c)
	stop()
	mustWrite(t, filepath.Join(c.DataDir, "keeper", "instances", ".some.json-123"), `{"spec": {"inst`)
	keepertest.Run(t, c)
	checkNothingLeft(t, c)
}

// TestRemovalIsTakenUp finds a wish whose files are gone already, and another of which all is left.
func TestRemovalIsTakenUp(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 2)
	b, stop := keepertest.Run(t, c)
	specs := []backend.Spec{mustApply(t, b), mustApply(t, b)}
	for _, spec := range specs {
		until(t, b, spec.Instance, running)
	}
	stop()
	for _, spec := range specs {
		markRemoving(t, recordPath(c, spec.Instance))
	}
	if err := os.RemoveAll(filepath.Join(c.DataDir, "instances", string(specs[0].Instance))); err != nil {
		t.Fatal(err)
	}
	keepertest.Run(t, c)
	for _, spec := range specs {
		awaitGone(t, b, spec.Instance)
	}
	checkNothingLeft(t, c)
}

func markRemoving(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var record map[string]any
	if err := json.Unmarshal(text, &record); err != nil {
		t.Fatal(err)
	}
	record["removing"] = true
	if text, err = json.Marshal(record); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, path, string(text))
}

// TestEverythingIsPrivate looks at the modes of all that the keeper makes.
func TestEverythingIsPrivate(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	b, stop := keepertest.Run(t, c)
	spec := mustApply(t, b)
	until(t, b, spec.Instance, running)
	stop()
	allowed := fs.FileMode(0o700)
	if os.Geteuid() == 0 {
		allowed = 0o711 // directories that other users pass through
	}
	look := func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && d.Type() == fs.ModeSymlink {
			return nil
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if strings.HasPrefix(path, filepath.Join(c.DataDir, "builds", "postgres")+"/") { // what everybody has in /usr
			if err == nil && info.Mode().Perm()&0o022 != 0 {
				t.Errorf("%s can be written to: it has mode %s", path, info.Mode())
			}
			return err
		}
		if err == nil && (info.Mode().Perm()&^allowed != 0 || !d.IsDir() && info.Mode().Perm()&0o077 != 0) {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return err
	}
	for _, dir := range []string{c.DataDir, filepath.Join(c.DataDir, "cache", "postgres") + "/"} {
		if err := filepath.WalkDir(dir, look); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOneKeeperPerDirectory(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	_, stop := keepertest.Run(t, c)
	if err := keeper.Run(t.Context(), c); !errors.Is(err, keeper.ErrKept) {
		t.Errorf("a second keeper: %v, want %v", err, keeper.ErrKept)
	}
	if _, err := keeper.StopEngines(c.DataDir, c.Engines); !errors.Is(err, keeper.ErrKept) {
		t.Errorf("StopEngines: %v, want %v", err, keeper.ErrKept)
	}
	stop()
	mustWrite(t, keepertest.Socket(c), "") // what a killed keeper leaves where the next one listens
	keepertest.Run(t, c)
}

// TestSealedRecordsWantTheirKey starts a keeper without the key of what lies there: it changes nothing, and ends.
func TestSealedRecordsWantTheirKey(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	_, stop := keepertest.Run(t, c)
	stop()
	const sealed = `{"spec": {"instance": "i", "generation": 1, "tls": {"key": "sealed:AAAA"}}}`
	mustWrite(t, recordPath(c, "i"), sealed)
	without := c
	without.Seal = seal.Key{}
	if err := keeper.Run(t.Context(), without); err == nil || !strings.Contains(err.Error(), "told no key to open them") {
		t.Errorf("without the key: %v", err)
	}
	if now, err := os.ReadFile(recordPath(c, "i")); err != nil || string(now) != sealed {
		t.Errorf("the record is now %s (%v)", now, err)
	}
	if err := os.Remove(recordPath(c, "i")); err != nil {
		t.Fatal(err)
	}
}

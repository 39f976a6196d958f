package custody_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/internal/strict"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper/custody"
)

const golden = "testdata/record-of-format-3.json"

// readGolden returns a record that an earlier keeper has written.
func readGolden(t *testing.T) (text []byte, r custody.Record) {
	t.Helper()
	text, err := os.ReadFile(golden)
	if err == nil {
		err = strict.Unmarshal(text, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return text, r
}

// TestRecordsKeepTheirFormat reads a record that an earlier keeper has written, and writes it again without losing
// anything: a record is all that says how the backups of an instance that is gone are opened.
func TestRecordsKeepTheirFormat(t *testing.T) {
	t.Parallel()
	text, r := readGolden(t)
	again, err := json.MarshalIndent(r, "", "  ")
	if err != nil || string(append(again, '\n')) != string(text) {
		t.Errorf("the record is written again, %v, as\n%s", err, again)
	}
}

// TestRecordsAreRead of instances that are gone, beside one that cannot be read and what a keeper has left that was
// killed.
func TestRecordsAreRead(t *testing.T) {
	t.Parallel()
	text, r := readGolden(t)
	var log bytes.Buffer
	c := &custody.Custody{Dir: t.TempDir(), Now: time.Now, Log: slog.New(slog.NewTextHandler(&log, nil))}
	half := text[:len(text)/2]
	for name, content := range map[string][]byte{
		string(r.Kept.Instance) + ".json": text, "damaged.json": half, "another.json": text, ".half-written": half,
	} {
		if err := os.WriteFile(filepath.Join(c.Dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Load(); err != nil {
		t.Fatal(err)
	}
	all := c.AllBackups()
	if len(all) != 1 || all[0].Instance != r.Kept.Instance {
		t.Fatalf("there are the records %+v", all)
	}
	want := r.Kept
	want.Earliest, want.Latest = want.List[0].Ended, r.Archived
	if got, wanted := asText(t, all[0]), asText(t, want); got != wanted {
		t.Errorf("the record is read as\n%s, want\n%s", got, wanted)
	}
	for _, name := range []string{"damaged", "another"} {
		if !bytes.Contains(log.Bytes(), []byte("instance="+name+" ")) {
			t.Errorf("the log says nothing of the record %q:\n%s", name, &log)
		}
	}
	if _, err := os.Lstat(filepath.Join(c.Dir, ".half-written")); !os.IsNotExist(err) {
		t.Errorf("what was half written is there: %v", err)
	}
}

func asText(t *testing.T, kept backend.Backups) string {
	t.Helper()
	text, err := json.Marshal(kept)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestARecordsKeysAreSealed plants a marker in every secret that a record can hold, and looks for it on the disk, where
// an earlier keeper has left it in clear.
func TestARecordsKeysAreSealed(t *testing.T) {
	t.Parallel()
	const marker = "a key that nobody is to read"
	_, r := readGolden(t)
	testkit.PlantSecrets(t, &r, marker)
	text, err := json.Marshal(r)
	if err != nil || !bytes.Contains(text, []byte(marker)) {
		t.Fatal(err, string(text))
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	c := &custody.Custody{Dir: t.TempDir(), Key: seal.New(), Now: time.Now, Log: log}
	path := filepath.Join(c.Dir, string(r.Kept.Instance)+".json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Load(); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(c.Known(), r.Kept.Instance) {
			t.Error("the record is not read")
		}
		if text, err := os.ReadFile(path); err != nil || bytes.Contains(text, []byte(marker)) {
			t.Errorf("on the disk lies %s (%v)", text, err)
		}
	}
}

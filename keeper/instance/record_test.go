package instance

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/internal/testkit"
)

// TestARecordsSecretsAreSealed plants a marker in every secret that a record can hold, and looks for it on the disk.
func TestARecordsSecretsAreSealed(t *testing.T) {
	t.Parallel()
	const marker = "a secret that nobody is to read"
	var r Record
	testkit.PlantSecrets(t, &r, marker)
	r.Spec.Instance, r.Spec.Generation = "i", 1
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	clear := Records{Dir: t.TempDir(), Log: log}
	sealed := clear
	sealed.Key = seal.New()
	if err := clear.Save(r); err != nil {
		t.Fatal(err)
	}
	planted := strings.Count(onDisk(t, clear), marker)
	if planted < 4 { // the keys of a certificate and of backups, in two Specs
		t.Fatalf("%d secrets were planted", planted)
	}
	wantRecord(t, sealed, r) // of an earlier keeper
	if records, err := sealed.Load(); err != nil || len(records) != 1 || !reflect.DeepEqual(records[0], r) {
		t.Fatalf("what an earlier keeper left in clear is read as %v (%v)", records, err)
	}
	if text := onDisk(t, sealed); strings.Contains(text, marker) || !strings.Contains(text, `"instance":"i"`) {
		t.Errorf("on the disk lies %s", text)
	}
	wantRecord(t, sealed, r)
	if is, err := clear.Sealed(); err != nil || !is {
		t.Errorf("without a key, the record is not known to be sealed (%v)", err)
	}
	if got, err := clear.Of("i"); err == nil {
		t.Errorf("without a key, the record is read as %v", got)
	}
	other := sealed
	other.Key = seal.New()
	if got, err := other.Of("i"); err == nil {
		t.Errorf("another key reads %v", got)
	}
}

func wantRecord(t *testing.T, rs Records, want Record) {
	t.Helper()
	if got, err := rs.Of("i"); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the record is read as %v (%v)", got, err)
	}
}

func onDisk(t *testing.T, rs Records) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(rs.Dir, "i.json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

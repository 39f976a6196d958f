package kubernetes

import (
	"encoding/base64"
	"reflect"
	"strings"
	"testing"

	"github.com/backstay/backstay/backend"
)

// TestOwedObject holds the whole note but for the key, and belongs to no instance whose objects are removed.
func TestOwedObject(t *testing.T) {
	t.Parallel()
	r := record{Keeping: keeping{Lines: []line{{Name: "1"}}}}
	r.Spec.Instance, r.Spec.Engine, r.Spec.Version = "i", "postgres", "15"
	r.Spec.Backup = &backend.BackupPolicy{Window: "02:30-03:00", Days: 7, Final: 35, Key: "the-key"}
	n := r.note().removed(minute(5))
	o, err := owedObject("there", "i", n)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := base64.StdEncoding.DecodeString(text(o, "data", "note"))
	if err != nil || strings.Contains(string(kept), "the-key") {
		t.Errorf("it keeps %s, %v", kept, err)
	}
	if labels := o.GetLabels(); labels[instanceLabel] != "" || labels[recordLabel] != "" || labels[owedLabel] != "i" {
		t.Errorf("its labels are %v", labels)
	}
	id, read, err := readOwedObject(o)
	n.Legacy.Policy.Key = ""
	if err != nil || id != "i" || !reflect.DeepEqual(read, n) {
		t.Errorf("it reads %q, %+v, %v, want %+v", id, read, err, n)
	}
	o.SetName(owedName("another"))
	if _, _, err := readOwedObject(o); err == nil {
		t.Error("that of another instance is read")
	}
}

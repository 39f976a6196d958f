package repository_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/repository"
)

// TestBare reads, writes and removes what others write.
func TestBare(t *testing.T) {
	onBoth(t, func(t *testing.T, k kind) {
		b, err := repository.OpenBare(k.Repository)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"one/base/1/backup.info", "one/wals/2", "two/base/3"} {
			if err := b.PutText(t.Context(), name, []byte("of "+name)); err != nil {
				t.Fatal(err)
			}
		}
		if text, err := os.ReadFile(filepath.Join(k.files, "one/wals/2")); err != nil || string(text) != "of one/wals/2" {
			t.Errorf("the object holds %q, %v", text, err)
		}
		if parts, err := b.Parts(t.Context()); err != nil || !slices.Equal(parts, []string{"one", "two"}) {
			t.Errorf("the parts are %q, %v", parts, err)
		}
		if text, err := b.Text(t.Context(), "two/base/3"); err != nil || string(text) != "of two/base/3" {
			t.Errorf("it reads %q, %v", text, err)
		}
		if err := b.Delete(t.Context(), time.Now(), "one/wals/2", "one/wals/none"); err != nil {
			t.Error(err)
		}
		all, err := b.List(t.Context(), "one/")
		if err != nil || len(all) != 1 || all[0].Name != "one/base/1/backup.info" || all[0].Size != 25 {
			t.Errorf("after the removal there is %+v, %v", all, err)
		}
		_, err = b.Text(t.Context(), "one/wals/2")
		if backstay.KindOf(err) != backstay.NotFound {
			t.Errorf("what was removed: %v", err)
		}
	})
}

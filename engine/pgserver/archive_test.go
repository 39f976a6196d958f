package pgserver

import (
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backstay/backstay/engine"
)

// TestBackupOutlivesAPushThatFails: what could not be archived for a moment in the middle is at the end.
func TestBackupOutlivesAPushThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		t1 := &pgBackRest{node: engine.Node{DataDir: filepath.Join(t.TempDir(), "away", "data")}}
		if err := t1.pushNow(t.Context()); err == nil {
			t.Fatal("there is something to push")
		}
		failed := errors.New("the backup failed")
		for _, want := range []error{nil, failed} {
			err := t1.whilePushing(t.Context(), func() error {
				time.Sleep(5 * time.Second)
				return want
			})
			if !errors.Is(err, want) || (err == nil) != (want == nil) {
				t.Errorf("a backup that ends with %v ends with %v", want, err)
			}
		}
	})
}

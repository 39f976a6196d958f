package volume_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/volume"
)

// TestFrozenVolume: one whose file system does not answer is told of, and holds up no other one. When it answers again,
// it is balanced as if nothing had been.
func TestFrozenVolume(t *testing.T) {
	eachKind(t, func(t *testing.T, p images) {
		wanted := volume.Wanted{Size: 256 * backstay.MB}
		frozen, err := p.Ensure(t.Context(), "frozen", wanted)
		if err != nil {
			t.Fatal(err)
		}
		// Its ballast is to shrink by what was written.
		if err := os.WriteFile(filepath.Join(frozen, "data"), make([]byte, 20*backstay.MB), 0o600); err != nil {
			t.Fatal(err)
		}
		thaw := testkit.Freeze(t, frozen)
		began := time.Now()
		for i := range 3 {
			if _, err := p.Ensure(t.Context(), backstay.InstanceID(fmt.Sprint("other", i)), wanted); err != nil {
				t.Errorf("beside a volume that is frozen: %v", err)
			}
		}
		if err := p.Remove(t.Context(), "other0"); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("others took %v", took)
		}
		if _, err := p.Balance(); p.key == "" && backstay.KindOf(err) != backstay.Unavailable {
			t.Errorf("balanced with %v, want that one does not answer", err)
		}
		thaw()
		for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
			_, err := p.Balance()
			if err == nil {
				break
			}
			if time.Since(began) > 30*time.Second {
				t.Fatalf("behind the thaw: %v", err)
			}
		}
		if usage, err := p.Usage("frozen"); err != nil || usage.Used < 20*backstay.MB {
			t.Errorf("it has %+v, %v", usage, err)
		}
	})
}

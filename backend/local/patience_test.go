package local

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/backstay/backstay"
)

func TestPatienceEnds(t *testing.T) {
	t.Parallel()
	b := New(filepath.Join(t.TempDir(), "keeper.sock"))
	b.patience = 50 * time.Millisecond
	_, err := b.Inventory(t.Context())
	const want = "The keeper of the databases does not answer."
	if backstay.KindOf(err) != backstay.Unavailable || backstay.SentenceOf(err) != want {
		t.Errorf("%v", err)
	}
	if asked, err := b.Stop(t.Context()); asked || err == nil {
		t.Errorf("Stop where no keeper is: %v, %v", asked, err)
	}
}

package postgres_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// TestDamageIsTold: of a server whose files are gone it is told that it is damaged, and until they are back only.
func TestDamageIsTold(t *testing.T) {
	t.Parallel()
	s := serve(t, backstay.Size{Storage: backstay.GB, Memory: 256 * backstay.MB, Connections: 20})
	mapping := filepath.Join(s.Node.DataDir, "global", "pg_filenode.map")
	if err := os.Rename(mapping, mapping+".away"); err != nil {
		t.Fatal(err)
	}
	if err := s.probe(t); !errors.Is(err, engine.ErrDamaged) || backstay.KindOf(err) != backstay.Unavailable {
		t.Errorf("of a server whose files are gone: %v", err)
	}
	if err := os.Rename(mapping+".away", mapping); err != nil {
		t.Fatal(err)
	}
	if err := s.probe(t); err != nil {
		t.Errorf("of a server whose files are back: %v", err)
	}
}

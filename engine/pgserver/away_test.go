package pgserver

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/repository"
)

// TestARepositoryThatGoesIsNoGap: the disk goes between the look at the repository and a segment, and an empty directory
// is left. What waits goes on waiting.
func TestARepositoryThatGoesIsNoGap(t *testing.T) {
	t.Parallel()
	n, r := engine.Node{DataDir: filepath.Join(t.TempDir(), "data")}, enginetest.NewRepository(t)
	r.Identity = "the-one"
	if err := repository.Begin(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	tool, err := Server{}.openTool(t.Context(), n, r)
	if err != nil {
		t.Fatal(err)
	}
	defer tool.close()
	if s, err := openSpool(t.Context(), n); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("of a node whose data is missing, there is a spool, %v, %v", s, err)
	}
	if err := os.MkdirAll(n.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := openSpool(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	defer s.unlock()
	const segment = "000000010000000000000001"
	if err := os.WriteFile(filepath.Join(s.in, segment), make([]byte, SegmentSize), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(r.Dir, r.Dir+".disk"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(r.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if sets, err := tool.sets(t.Context()); backstay.KindOf(err) != backstay.Unavailable {
		t.Errorf("an empty directory has the backups %v, %v", sets, err)
	}
	if err := tool.blame(t.Context(), tool.push(t.Context(), s)); backstay.KindOf(err) != backstay.Unavailable {
		t.Errorf("a segment is pushed into an empty directory: %v", err)
	}
	if waiting, err := s.waiting(); len(waiting) != 1 || len(s.record.Gaps) != 0 || err != nil {
		t.Errorf("%q waits (%v), and there are the gaps %v", waiting, err, s.record.Gaps)
	}
}

package repository_test

import (
	"bytes"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/repository"
)

const key = backstay.Secret("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")

func mustOpen(t *testing.T, r backstay.Repository) *repository.Store {
	t.Helper()
	s, err := repository.Open(r)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func inDirectory(t *testing.T) backstay.Repository {
	return backstay.Repository{Dir: t.TempDir()}.Of("instance-1", key)
}

func mustPut(t *testing.T, s *repository.Store, name string, content []byte) repository.Stored {
	t.Helper()
	stored, err := s.PutText(t.Context(), name, content)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func TestDirectoryRoundTrip(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, inDirectory(t))
	for _, content := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("backstay "), 1<<18)} {
		mustPut(t, s, "log/000001", content)
		if got, err := s.Text(t.Context(), "log/000001"); err != nil || !bytes.Equal(got, content) {
			t.Fatalf("%d bytes are read as %d, %v", len(content), len(got), err)
		}
	}
}

package repository

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/backstay/backstay"
)

// probePart is the part that Probe writes to. No instance's id is like it.
const probePart = "probe"

// Probe writes an object into a repository, reads it and removes it. The error is Unavailable, with a sentence
// that says what is wrong with the repository.
func Probe(ctx context.Context, r backstay.Repository, now time.Time) error {
	key := make([]byte, keyLength)
	rand.Read(key) // never fails
	s, err := Open(r.Of(probePart, backstay.Secret(hex.EncodeToString(key))))
	if err != nil {
		return err
	}
	name := hex.EncodeToString(key[:8]) // two probes at once do not meet
	if _, err := s.Put(ctx, name, func(w io.Writer) error { _, err := w.Write(key[8:]); return err }); err != nil {
		return err
	}
	if err := s.compare(ctx, name, key[8:]); err != nil {
		return err
	}
	return s.Delete(ctx, now, name)
}

func (s *Store) compare(ctx context.Context, name string, want []byte) error {
	r, err := s.Get(ctx, name)
	if err != nil {
		return err
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("%s was written and is read differently", name)
	}
	return err
}

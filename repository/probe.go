package repository

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
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
	if _, err := s.PutText(ctx, name, key[8:]); err != nil {
		return err
	}
	switch got, err := s.Text(ctx, name); {
	case err != nil:
		return err
	case !bytes.Equal(got, key[8:]):
		return fmt.Errorf("%s was written and is read differently", name)
	}
	return s.Delete(ctx, now, name)
}

package repository

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"strings"

	"github.com/backstay/backstay"
)

// NoteSuffix ends the names of notes. An engine that makes a backup out of several objects writes a note of it when the
// others are there: what has no note is no backup.
const NoteSuffix = ".json"

// ErrMissing is of a backup that has a note, and lacks another object.
var ErrMissing error = backstay.Errorf(backstay.Invalid, "The backup is damaged: a part of it is missing.")

// Named returns the names that end so of objects which are in no directory, without the ending.
func Named(entries []Entry, suffix string) (names []string) {
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name, suffix); ok && !strings.Contains(name, "/") {
			names = append(names, name)
		}
	}
	return names
}

// Note reads the note of a backup into what it points to. It is NotFound if nothing of a backup of that name is there
// at all, and Invalid if something is, and no note that can be read.
func (s *Store) Note(ctx context.Context, backup string, to any) error {
	text, err := s.Text(ctx, backup+NoteSuffix)
	if backstay.KindOf(err) == backstay.NotFound {
		if left, err := s.List(ctx, backup); err != nil || len(left) > 0 {
			return cmp.Or(err, ErrMissing)
		}
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, to); err != nil {
		return backstay.Wrapf(err, backstay.Invalid, "The note of a backup is damaged.")
	}
	return nil
}

// Noted opens an object that a note speaks of. It is ErrMissing if there is none.
func (s *Store) Noted(ctx context.Context, name string) (io.ReadCloser, error) {
	content, err := s.Get(ctx, name)
	if backstay.KindOf(err) == backstay.NotFound {
		return nil, ErrMissing
	}
	return content, err
}

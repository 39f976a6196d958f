package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay"
)

// Bare is a part of a repository that others write, such as an operator's programs: what is in it is not sealed, and
// whoever reads the repository reads that. Names are those of a [Store]; objects with other names are not seen.
type Bare struct {
	place place
}

// OpenBare returns the Bare of the part that r names; of all of it, if it names none. It does not ask the repository
// for anything yet.
func OpenBare(r backstay.Repository) (*Bare, error) {
	if r.Part != "" && !wordy.MatchString(r.Part) {
		return nil, fmt.Errorf("%q names no part of a repository", r.Part)
	}
	p, err := placeOf(r)
	if err != nil {
		return nil, err
	}
	return &Bare{place: p}, nil
}

// List returns the objects whose names begin with prefix, in the order of their names.
func (b *Bare) List(ctx context.Context, prefix string) ([]Entry, error) {
	return (&Store{place: b.place}).List(ctx, prefix)
}

// longestText is how much Text reads.
const longestText = 16 << 20

// Text returns the content of a small object. It is NotFound if there is none.
func (b *Bare) Text(ctx context.Context, name string) (text []byte, err error) {
	if err := check(name); err != nil {
		return nil, err
	}
	content, err := b.place.get(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	return io.ReadAll(io.LimitReader(content, longestText))
}

// PutText makes text the content of an object.
func (b *Bare) PutText(ctx context.Context, name string, text []byte) error {
	if err := check(name); err != nil {
		return err
	}
	if err := b.place.put(ctx, name, strings.NewReader(string(text))); err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	return nil
}

// Delete removes objects, as that of a [Store].
func (b *Bare) Delete(ctx context.Context, now time.Time, names ...string) error {
	return (&Store{place: b.place}).Delete(ctx, now, names...)
}

// Parts returns the first words of the names that there are, such as the parts of a whole repository.
func (b *Bare) Parts(ctx context.Context) ([]string, error) {
	words, err := b.place.words(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the parts: %w", err)
	}
	slices.Sort(words)
	return words, nil
}

package repository

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay"
)

// Store is one instance's part of a repository. Its methods may be called at the same time. A name is a path of
// one or more words with slashes between them, as in "log/000001": a word has letters, digits and "._+-", and
// begins with a letter or a digit.
type Store struct {
	place place
	key   []byte
}

// Entry is one object of a Store.
type Entry struct {
	Name string
	Size backstay.Bytes // that it takes in the repository
	Time time.Time      // at which it was put, by the clock of the repository
}

// Stored is what Put has written.
type Stored struct {
	Data   backstay.Bytes // that it was given
	Size   backstay.Bytes // that these take in the repository
	SHA256 string         // of what it was given, in hexadecimal digits
}

// place is where objects lie: sealed, so it sees no more than names and sizes. Its errors have sentences.
type place interface {
	// put makes what is read from r, up to io.EOF, the object's content. After any other error of r, nothing of it is
	// seen.
	put(ctx context.Context, name string, r io.Reader) error
	// get is NotFound if there is no such object.
	get(ctx context.Context, name string) (io.ReadCloser, error)
	list(ctx context.Context, prefix string) ([]Entry, error)
	// remove takes an absent object for removed.
	remove(ctx context.Context, names []string) error
	// sweep removes what a put that died before the given moment left.
	sweep(ctx context.Context, before time.Time) error
	// any tells whether there is any object.
	any(ctx context.Context) (bool, error)
	// words are the first ones of the names of objects that have more than one.
	words(ctx context.Context) ([]string, error)
	// name is what operators call it.
	name() string
}

// wordy is what a part and each word of a name look like.
var wordy = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`)

const keyLength = 32 // bytes

// Open returns the Store of the part that r names. It does not ask the repository for anything yet.
func Open(r backstay.Repository) (*Store, error) {
	key, err := hex.DecodeString(r.Key.Reveal())
	if err != nil || len(key) != keyLength {
		return nil, fmt.Errorf("the key of a repository is %d hexadecimal digits", 2*keyLength)
	}
	if !wordy.MatchString(r.Part) {
		return nil, fmt.Errorf("%q names no part of a repository", r.Part)
	}
	p, err := placeOf(r)
	if err != nil {
		return nil, err
	}
	return &Store{place: p, key: key}, nil
}

// placeOf is the part that r names, of the repository that r names if it says which.
func placeOf(r backstay.Repository) (place, error) {
	p, err := placeIn(r)
	if err != nil || r.Identity == "" {
		return p, err
	}
	root, err := rootOf(r)
	return &identified{place: p, root: root, is: r}, err
}

// placeIn is the part that r names, whichever repository that is in.
func placeIn(r backstay.Repository) (place, error) {
	switch {
	case r.Objects != nil:
		return openBucket(*r.Objects, r.Part)
	case r.Dir != "":
		return directory{root: r.Dir, part: r.Part}, nil
	}
	return nil, errors.New("there is no repository")
}

// Put makes what write writes the object's content, in the place of any before. An error of write is returned as
// it is, and leaves the object as it was.
func (s *Store) Put(ctx context.Context, name string, write func(io.Writer) error) (Stored, error) {
	if err := check(name); err != nil {
		return Stored{}, err
	}
	r, w := io.Pipe()
	put := make(chan error, 1)
	go func() {
		err := s.place.put(ctx, name, r)
		r.CloseWithError(err) // so that nobody waits to write more
		put <- err
	}()
	stored, err := seal(w, s.key, name, write)
	w.CloseWithError(err) // nil is the end
	if broken := <-put; broken != nil && (err == nil || backstay.KindOf(broken) != backstay.Internal) {
		return Stored{}, fmt.Errorf("put %s: %w", name, broken)
	}
	if err != nil {
		return Stored{}, fmt.Errorf("put %s: %w", name, err)
	}
	return stored, nil
}

// PutText makes text the content of a small object, as Put does.
func (s *Store) PutText(ctx context.Context, name string, text []byte) (Stored, error) {
	return s.Put(ctx, name, func(w io.Writer) error { _, err := w.Write(text); return err })
}

// Text returns the whole content of a small object. Its errors are those of Get.
func (s *Store) Text(ctx context.Context, name string) (text []byte, err error) {
	content, err := s.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	return io.ReadAll(content)
}

// Get returns the content of an object, to be closed by the caller. It is NotFound if there is none. A damaged
// object is Invalid: here, or at latest in the place of io.EOF, so nothing is to be believed before that.
func (s *Store) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := check(name); err != nil {
		return nil, err
	}
	sealed, err := s.place.get(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	content, err := unseal(sealed, s.key, name)
	if err != nil {
		sealed.Close()
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return content, nil
}

// List returns the objects whose names begin with prefix, in the order of their names.
func (s *Store) List(ctx context.Context, prefix string) ([]Entry, error) {
	entries, err := s.place.list(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("list %q: %w", prefix, err)
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return entries, nil
}

// Delete removes objects. An absent one is success. What a Put left that died more than a day before now goes with
// them.
func (s *Store) Delete(ctx context.Context, now time.Time, names ...string) error {
	for _, name := range names {
		if err := check(name); err != nil {
			return err
		}
	}
	if err := s.place.remove(ctx, names); err != nil {
		return fmt.Errorf("delete %d objects: %w", len(names), err)
	}
	if err := s.place.sweep(ctx, now.Add(-24*time.Hour)); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	return nil
}

func check(name string) error {
	for word := range strings.SplitSeq(name, "/") {
		if !wordy.MatchString(word) {
			return fmt.Errorf("%q is no name of an object", name)
		}
	}
	return nil
}

package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/backstay/backstay"
)

// identityName is the object that says which repository this is. It lies beside the parts, and is no secret. A
// directory whose disk is not mounted does not have it, and another Backstay's repository has another one.
const identityName = "backstay-repository"

// Identity tells which repository that is; empty: it was begun by nobody.
func Identity(ctx context.Context, r backstay.Repository) (string, error) {
	root, err := rootOf(r)
	if err != nil {
		return "", err
	}
	return identityAt(ctx, root)
}

// Begin makes the repository, which carries no identity, the one that r names. It may be called again.
func Begin(ctx context.Context, r backstay.Repository) error {
	root, err := rootOf(r)
	if err != nil {
		return err
	}
	found, err := identityAt(ctx, root)
	switch {
	case err != nil || found == r.Identity:
		return err
	case found != "":
		return notThatOne(root, found, r)
	}
	return root.put(ctx, identityName, strings.NewReader(r.Identity+"\n"))
}

// HasPart tells whether anything lies in the part of the repository that r names.
func HasPart(ctx context.Context, r backstay.Repository) (bool, error) {
	p, err := placeIn(r)
	if err != nil {
		return false, err
	}
	return p.any(ctx)
}

func rootOf(r backstay.Repository) (place, error) {
	r.Part = ""
	return placeIn(r)
}

func identityAt(ctx context.Context, root place) (_ string, err error) {
	content, err := root.get(ctx, identityName)
	if backstay.KindOf(err) == backstay.NotFound {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	text, err := io.ReadAll(io.LimitReader(content, longestIdentity))
	return strings.TrimSpace(string(text)), err
}

const longestIdentity = 256 // bytes

// notThatOne is that a repository carries another identity than it is to.
func notThatOne(root place, found string, r backstay.Repository) error {
	cause := fmt.Errorf("it carries the identity %q, and %q is wanted", found, r.Identity)
	if found == "" {
		return unavailable(cause, root.name(), "is not the one that the backups are in: nothing was ever kept in it. "+
			Doubt(r))
	}
	return unavailable(cause, root.name(), "is not the one that the backups are in: it belongs to another Backstay, or "+
		"was begun anew.")
}

// Doubt asks what is most likely wrong where a repository has nothing of what was kept in it.
func Doubt(r backstay.Repository) string {
	if r.Objects != nil {
		return "Is it the right bucket, with the right prefix?"
	}
	return "Is its disk mounted?"
}

// identified is a place in a repository that must be a certain one: nothing is written to another, removed from it, or
// taken for gone because another does not have it.
type identified struct {
	place
	root place
	is   backstay.Repository
	seen atomic.Bool // it was that one
}

// check asks a bucket once: no disk goes away from under its name.
func (i *identified) check(ctx context.Context) error {
	if i.is.Objects != nil && i.seen.Load() {
		return nil
	}
	found, err := identityAt(ctx, i.root)
	if err == nil && found != i.is.Identity {
		err = notThatOne(i.root, found, i.is)
	}
	i.seen.Store(err == nil)
	return err
}

func (i *identified) put(ctx context.Context, name string, r io.Reader) error {
	if err := i.check(ctx); err != nil {
		return err
	}
	return i.place.put(ctx, name, r)
}

func (i *identified) get(ctx context.Context, name string) (io.ReadCloser, error) {
	content, err := i.place.get(ctx, name)
	if backstay.KindOf(err) == backstay.NotFound {
		if other := i.check(ctx); other != nil {
			return nil, other
		}
	}
	return content, err
}

func (i *identified) list(ctx context.Context, prefix string) ([]Entry, error) {
	entries, err := i.place.list(ctx, prefix)
	if err == nil {
		err = i.check(ctx) // afterwards: it may have gone in the middle
	}
	return entries, err
}

func (i *identified) remove(ctx context.Context, names []string) error {
	if err := i.check(ctx); err != nil {
		return err
	}
	return i.place.remove(ctx, names)
}

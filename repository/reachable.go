package repository

import (
	"context"

	"github.com/backstay/backstay"
)

// Reachable fails if the repository is not there, or refuses us. The error is Unavailable, with a sentence that says
// what is wrong. It is for those that have the repository written to by a program of their own.
func Reachable(ctx context.Context, r backstay.Repository) error {
	s, err := Open(r.Of(probePart, r.Key)) // a part that is empty, so that there is nothing to be listed
	if err == nil {
		_, err = s.List(ctx, "")
	}
	return err
}

package instance

import (
	"context"
	"errors"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/repository"
)

// errRepositoryAway is that of a restore whose repository is away. It is tried again for as long as somebody wants it:
// nothing is wrong with the wish.
var errRepositoryAway = errors.New("the repository is away")

// blameRepository gives what has failed for a repository that is away that reason.
func blameRepository(ctx context.Context, r backstay.Repository, err error) error {
	if backstay.KindOf(err) != backstay.Unavailable {
		return err
	}
	away := repository.Reachable(ctx, r)
	if backstay.KindOf(away) != backstay.Unavailable || ctx.Err() != nil {
		return err
	}
	return backstay.Wrapf(errors.Join(errRepositoryAway, err), backstay.Unavailable,
		"The restore waits for the repository of the backups: %s", backstay.SentenceOf(away))
}

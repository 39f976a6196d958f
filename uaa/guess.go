package uaa

import (
	"context"
	"net/http"
	"time"

	"github.com/backstay/backstay/internal/guess"
)

// checkLocks fails while any of the limits is in force, also for the right password: or guessing
// would just go on.
func (s *Server) checkLocks(ctx context.Context, ls []guess.Limit) error {
	failures, err := s.Store.Failures(ctx, guess.Keys(ls))
	if err != nil {
		return err
	}
	if wait := guess.Wait(failures, ls, s.now()); wait > 0 {
		return errLocked(wait)
	}
	return nil
}

// errLocked has the very sentence that the cf command knows, by which it stops asking.
func errLocked(wait time.Duration) error {
	return &uaaError{status: http.StatusUnauthorized, retryAfter: wait, Code: "unauthorized",
		Description: "Your account has been locked because of too many failed attempts to login."}
}

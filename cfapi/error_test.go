package cfapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/backstay/backstay"
)

func TestEveryKindHasItsPlace(t *testing.T) {
	t.Parallel()
	for _, k := range backstay.Kinds() {
		d, ok := dialect[k]
		if !ok || d.status < 400 || d.Code == 0 || d.Title == "" {
			t.Errorf("%s: %+v", k, d)
		}
	}
	if len(dialect) != len(backstay.Kinds()) {
		t.Errorf("%d kinds in the dialect, %d in the house", len(dialect), len(backstay.Kinds()))
	}
}

func TestTranslate(t *testing.T) {
	t.Parallel()
	secret := errors.New("dial tcp 10.0.0.1: password=hunter2")
	for name, c := range map[string]struct {
		err    error
		status int
		code   int
		title  string
		detail string
	}{
		"invalid":      {backstay.Errorf(backstay.Invalid, "Name can't be blank"), 422, 10008, "CF-UnprocessableEntity", "Name can't be blank"},
		"wrapped":      {fmt.Errorf("create: %w", backstay.Errorf(backstay.Taken, "Taken.")), 422, 10008, "CF-UnprocessableEntity", "Taken."},
		"unsupported":  {backstay.Errorf(backstay.Unsupported, "No."), 422, 10008, "CF-UnprocessableEntity", "No."},
		"app taken":    {errUniqueness(backstay.Errorf(backstay.Taken, "App with the name 'a' already exists.")), 422, 10016, "CF-UniquenessError", "App with the name 'a' already exists."},
		"app blank":    {errUniqueness(backstay.Errorf(backstay.Invalid, "Name can't be blank")), 422, 10008, "CF-UnprocessableEntity", "Name can't be blank"},
		"busy":         {backstay.Errorf(backstay.Busy, "Wait."), 409, 60016, "CF-AsyncServiceInstanceOperationInProgress", "Wait."},
		"in use":       {backstay.Errorf(backstay.InUse, "Unbind."), 400, 10006, "CF-AssociationNotEmpty", "Unbind."},
		"bad token":    {backstay.Errorf(backstay.Anonymous, "Invalid Auth Token"), 401, 1000, "CF-InvalidAuthToken", "Invalid Auth Token"},
		"no token":     {errNotAuthenticated, 401, 10002, "CF-NotAuthenticated", "Authentication error"},
		"forbidden":    {backstay.Errorf(backstay.Forbidden, "No."), 403, 10003, "CF-NotAuthorized", "No."},
		"not found":    {backstay.Errorf(backstay.NotFound, "App not found"), 404, 10010, "CF-ResourceNotFound", "App not found"},
		"no route":     {errUnknownRequest, 404, 10000, "CF-NotFound", "Unknown request"},
		"unavailable":  {backstay.Wrapf(secret, backstay.Unavailable, "Try again."), 503, 10015, "CF-ServiceUnavailable", "Try again."},
		"internal":     {secret, 500, 10001, "UnknownError", "An unknown error occurred."},
		"called so":    {backstay.Errorf(backstay.Internal, "password=hunter2"), 500, 10001, "UnknownError", "An unknown error occurred."},
		"ran too long": {context.DeadlineExceeded, 500, 10001, "UnknownError", "An unknown error occurred."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := translate(c.err)
			if e.status != c.status || e.errorResource != (errorResource{c.code, c.title, c.detail}) {
				t.Errorf("got %d %+v", e.status, e.errorResource)
			}
			if http.StatusText(e.status) == "" {
				t.Errorf("%d is no status", e.status)
			}
		})
	}
}

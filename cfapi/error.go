package cfapi

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/outage"
	"github.com/backstay/backstay/market"
)

// errorResource is an error as the API shows it.
type errorResource struct {
	Code   int    `json:"code"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
}

type errorList struct {
	Errors []errorResource `json:"errors"`
}

// apiError is an error that only this door knows, or knows better than its Kind tells.
type apiError struct {
	status int
	errorResource
}

func (e *apiError) Error() string { return e.Detail }

func newError(status, code int, title, detail string) *apiError {
	return &apiError{status, errorResource{code, title, detail}}
}

// whereAppsRun is what there is instead of apps that run here.
const whereAppsRun = "An app runs where you are, with its services: backstay run APP -- COMMAND"

var (
	errUnknownRequest = newError(http.StatusNotFound, 10000, "CF-NotFound", "Unknown request")
	errRunsNoApps     = newError(http.StatusNotFound, 10000, "CF-NotFound",
		"Backstay runs no apps yet, and has no routes to them. "+whereAppsRun)
	errNotAuthenticated = newError(http.StatusUnauthorized, 10002, "CF-NotAuthenticated", "Authentication error")
)

// errVersion2 is what clients of the API's second version are told, in its form.
var errVersion2 = map[string]any{
	"code": 10000, "error_code": "CF-NotFound",
	"description": "Unknown request: Backstay answers version 3 of the Cloud Foundry API, under /v3. " +
		"Use a client that asks it.",
}

func errBadQuery(format string, args ...any) error {
	return newError(http.StatusBadRequest, 10005, "CF-BadQueryParameter",
		"The query parameter is invalid: "+fmt.Sprintf(format, args...))
}

func errParse(format string, args ...any) error {
	return newError(http.StatusBadRequest, 1001, "CF-MessageParseError",
		"Request invalid due to parse error: "+fmt.Sprintf(format, args...))
}

// errUniqueness is how Cloud Foundry tells that an app's name is taken, where other resources are
// merely unprocessable.
func errUniqueness(err error) error {
	if backstay.KindOf(err) != backstay.Taken {
		return err
	}
	return errors.Join(newError(http.StatusUnprocessableEntity, 10016, "CF-UniquenessError", backstay.SentenceOf(err)),
		err)
}

// dialect says each Kind as Cloud Foundry does; the detail is the error's own sentence. The cf
// command prints the detail of all of these except Internal, and of a 409 only with this title.
var dialect = map[backstay.Kind]apiError{
	backstay.Internal:  {http.StatusInternalServerError, errorResource{Code: 10001, Title: "UnknownError"}},
	backstay.Invalid:   {http.StatusUnprocessableEntity, errorResource{Code: 10008, Title: "CF-UnprocessableEntity"}},
	backstay.Anonymous: {http.StatusUnauthorized, errorResource{Code: 1000, Title: "CF-InvalidAuthToken"}},
	backstay.Forbidden: {http.StatusForbidden, errorResource{Code: 10003, Title: "CF-NotAuthorized"}},
	backstay.NotFound:  {http.StatusNotFound, errorResource{Code: 10010, Title: "CF-ResourceNotFound"}},
	backstay.Taken:     {http.StatusUnprocessableEntity, errorResource{Code: 10008, Title: "CF-UnprocessableEntity"}},
	backstay.Busy: {
		http.StatusConflict, errorResource{Code: 60016, Title: "CF-AsyncServiceInstanceOperationInProgress"},
	},
	backstay.InUse:       {http.StatusBadRequest, errorResource{Code: 10006, Title: "CF-AssociationNotEmpty"}},
	backstay.Unsupported: {http.StatusUnprocessableEntity, errorResource{Code: 10008, Title: "CF-UnprocessableEntity"}},
	backstay.Unavailable: {http.StatusServiceUnavailable, errorResource{Code: 10015, Title: "CF-ServiceUnavailable"}},
}

// translate is the one place where an error becomes an answer.
func translate(err error) *apiError {
	var e *apiError
	if errors.As(err, &e) {
		return e
	}
	err = outage.Explain(err)
	said := dialect[backstay.KindOf(err)]
	said.Detail = backstay.SentenceOf(err)
	switch {
	case errors.Is(err, market.ErrSuspended):
		said.Code, said.Title = 10017, "CF-OrgSuspended"
	case errors.Is(err, market.ErrFeatureDisabled):
		said.Code, said.Title = 330002, "CF-FeatureDisabled"
	case errors.Is(err, market.ErrBrokerInUse):
		said.status, said.Code, said.Title = http.StatusUnprocessableEntity, 270010, "CF-ServiceBrokerNotRemovable"
	}
	return &said
}

package uaa

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/outage"
	"github.com/backstay/backstay/internal/seal"
)

// Server is the login server. Its fields are set once, before the first call.
type Server struct {
	Store          Store
	Key            seal.Key         // seals signing keys before they reach the Store
	Issuer         string           // where clients reach the server, without a trailing slash
	AccessLifetime time.Duration    // of access tokens; DefaultAccessLifetime if 0
	Now            func() time.Time // time.Now if nil
	Log            *slog.Logger

	keys keyring
}

// DefaultAccessLifetime is well over the 60 s before a token's end at which the cf command asks for
// the next one.
const DefaultAccessLifetime = 10 * time.Minute

func (s *Server) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

func (s *Server) accessLifetime() time.Duration {
	if s.AccessLifetime == 0 {
		return DefaultAccessLifetime
	}
	return s.AccessLifetime
}

// Handler answers the paths of the package comment. Timeouts of connections are for the http.Server
// that it is given to.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /login", s.serve(s.showLogin))
	mux.Handle("GET /info", s.serve(s.showLogin))
	mux.Handle("GET /userinfo", s.serve(s.showUserInfo))
	mux.Handle("POST /oauth/token", s.serve(s.grantToken))
	mux.Handle("DELETE /oauth/token/revoke/{jti}", s.serve(s.revokeToken))
	mux.Handle("GET /oauth/clients/{id}", s.serve(s.showClient))
	mux.Handle("GET /Users", s.serve(s.listUsers))
	mux.Handle("POST /Users", s.serve(s.createUser))
	mux.Handle("GET /Users/{id}", s.serve(s.showUser))
	mux.Handle("PUT /Users/{id}", s.serve(s.updateUser))
	mux.Handle("DELETE /Users/{id}", s.serve(s.deleteUser))
	mux.Handle("PUT /Users/{id}/password", s.serve(s.changePassword))
	mux.Handle("GET /token_key", s.serve(s.showTokenKey))
	mux.Handle("GET /token_keys", s.serve(s.showTokenKeys))
	mux.Handle("/", s.serve(func(http.ResponseWriter, *http.Request) error { return errUnknownRequest }))
	return mux
}

func (s *Server) serve(handle func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isText(r.URL.Path) {
			s.fail(w, r, errUnknownRequest)
			return
		}
		if err := handle(w, r); err != nil {
			s.recordRefusal(r, translate(err))
			s.fail(w, r, err)
		}
	})
}

// isText tells whether text can be looked for: the database knows no NUL.
func isText(text string) bool { return utf8.ValidString(text) && !strings.ContainsRune(text, 0) }

// uaaError is an error as UAA shows it. The cf command tells them apart by status and code.
type uaaError struct {
	status      int
	retryAfter  time.Duration
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

func (e *uaaError) Error() string { return e.Description }

var (
	errUnknownRequest = &uaaError{
		status: http.StatusNotFound, Code: "not_found",
		Description: "There is nothing here: this login server knows only what the cf command asks for.",
	}
	errInternal = &uaaError{
		status: http.StatusInternalServerError, Code: "server_error", Description: backstay.SentenceOf(nil),
	}
)

// fail answers with the error, and logs what nobody has explained to the user.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		return // whoever asked has gone
	}
	e := translate(err)
	switch {
	case e.status >= http.StatusInternalServerError:
		s.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	case e == errInvalidClient:
		w.Header().Set("WWW-Authenticate", `Basic realm="UAA/client"`)
	case e.retryAfter > 0:
		w.Header().Set("Retry-After", strconv.Itoa(int((e.retryAfter+time.Second-1)/time.Second)))
	}
	if err := writeJSON(w, e.status, e); err != nil {
		s.Log.Warn("answer was not sent", "path", r.URL.Path, "error", err)
	}
}

// dialect says each Kind that is told here as UAA does; the description is the error's own sentence.
var dialect = map[backstay.Kind]uaaError{
	backstay.Anonymous: {status: http.StatusUnauthorized, Code: "invalid_token"},
	backstay.Invalid:   {status: http.StatusBadRequest, Code: "invalid_scim_resource"},
	backstay.NotFound:  {status: http.StatusNotFound, Code: "scim_resource_not_found"},
	backstay.Taken:     {status: http.StatusConflict, Code: "scim_resource_already_exists"},
	backstay.Busy:      {status: http.StatusPreconditionFailed, Code: "scim_resource_conflict"},
	// As UAA's own when its database is away.
	backstay.Unavailable: {status: http.StatusServiceUnavailable, Code: "unavailable"},
}

func translate(err error) *uaaError {
	var e *uaaError
	if errors.As(err, &e) {
		return e
	}
	err = outage.Explain(err)
	said, ok := dialect[backstay.KindOf(err)]
	if !ok {
		return errInternal
	}
	said.Description = backstay.SentenceOf(err)
	return &said
}

// explain tells a body that is too large from one that is not as it must be.
func explain(err error, otherwise error) error {
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return errTooLarge
	}
	return otherwise
}

// writeJSON forbids every cache: most answers hold a secret.
func writeJSON(w http.ResponseWriter, status int, body any) error {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(body)
}

// uaaVersion promises clients the UAA of that version; the cf command wants 4.26.0 for --origin.
const uaaVersion = "77.0.0"

// showLogin names the two things to ask for. Without them the cf command sends neither.
func (s *Server) showLogin(w http.ResponseWriter, r *http.Request) error {
	return writeJSON(w, http.StatusOK, map[string]any{
		"app":       map[string]string{"version": uaaVersion},
		"links":     map[string]string{"uaa": s.Issuer, "login": s.Issuer},
		"zone_name": zone,
		"prompts": map[string][2]string{
			"username": {"text", "Email"},
			"password": {"password", "Password"},
		},
	})
}

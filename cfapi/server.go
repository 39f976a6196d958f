package cfapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/sender"
	"github.com/backstay/backstay/market"
)

// Authenticator knows who sends a request by its Authorization header, which is never empty. Its
// errors are Anonymous when the header proves nothing.
type Authenticator interface {
	Authenticate(ctx context.Context, authorization string) (backstay.Actor, error)
}

// Server answers the Cloud Foundry API. Its fields are set once, before Handler is called.
type Server struct {
	Market        *market.Market
	Authenticator Authenticator
	URL           string        // where clients reach this API and the login server, without a trailing slash
	Version       string        // Backstay's own, for GET /v3/info
	JobWait       time.Duration // how long an answer may be held back until a quick job is done; DefaultJobWait if 0
	Log           *slog.Logger
}

// DefaultJobWait is far more than a binding takes, and less than the pause (3 s) with which the cf
// command polls a job that is not done when it first asks.
const DefaultJobWait = 2 * time.Second

// maxBody is the size of the largest request body that is read, in bytes.
const maxBody = 1 << 20

// Handler returns the API. Timeouts of connections are for the http.Server that it is given to.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range s.routes() {
		mux.Handle(rt.pattern, s.serve(rt))
	}
	mux.Handle("/", s.serve(route{access: anonymous, params: params{ignored: true}, handle: s.unknownRequest}))
	return s.guard(mux)
}

// guard gives every request an id, bounds its body and turns a panic into an answer.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(requestIDHeader, uuid.NewString())
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler:
				panic(p)
			default:
				s.fail(w, r, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
			}
		}()
		if !isText(r.URL.Path) {
			s.fail(w, r, errUnknownRequest)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// requestIDHeader is where the cf command looks for what to quote when something went wrong.
const requestIDHeader = "X-Vcap-Request-Id"

// isText tells whether s can be stored and compared as text: the database knows no NUL.
func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// request is an HTTP request whose sender and query are established.
type request struct {
	*http.Request
	query
	by   backstay.Actor
	body []byte // as far as it was read
}

func (s *Server) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, hr *http.Request) {
		r := &request{Request: hr}
		err := s.admit(r, rt)
		if err == nil {
			err = rt.handle(w, r)
		}
		if err != nil {
			s.recordRefusal(r, err)
			s.fail(w, hr, err)
		}
	})
}

// admit establishes who is asking, and whether the route takes such a query.
func (s *Server) admit(r *request, rt route) (err error) {
	header := r.Header.Get("Authorization")
	switch {
	case header != "":
		if r.by, err = s.Authenticator.Authenticate(r.Context(), header); err != nil {
			return err
		}
		r.by.Address = sender.Address(r.Request)
	case !rt.access.anonymous:
		return errNotAuthenticated
	case rt.access.hideable:
		hidden, err := s.Market.MarketplaceHidden(r.Context())
		if err != nil {
			return err
		}
		if hidden {
			return errNotAuthenticated
		}
	}
	r.query, err = parseQuery(r.URL.RawQuery, rt.params)
	return err
}

// fail answers with the error in Cloud Foundry's dialect. What nobody has explained to the user is
// logged, once, under the request's id.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		return // whoever asked has gone
	}
	e := translate(err)
	if e.status >= http.StatusInternalServerError {
		s.Log.Error("request failed", "request", w.Header().Get(requestIDHeader), "method", r.Method, "path", r.URL.Path,
			"kind", backstay.KindOf(err).String(), "error", err)
	}
	if err := writeJSON(w, e.status, errorList{Errors: []errorResource{e.errorResource}}); err != nil {
		s.Log.Warn("answer was not sent", "request", w.Header().Get(requestIDHeader), "error", err)
	}
}

// unknownRequest says what to use instead of an app that runs, where that is what the cf command wants.
func (s *Server) unknownRequest(w http.ResponseWriter, r *request) error {
	if strings.HasPrefix(r.URL.Path, "/v2/") {
		return writeJSON(w, http.StatusNotFound, errVersion2)
	}
	if runsApps.MatchString(r.URL.Path) {
		return errRunsNoApps
	}
	return errUnknownRequest
}

// runsApps are the paths that cf asks for to run an app, and to see what runs.
var runsApps = regexp.MustCompile(`^/v3/((packages|builds|droplets|buildpacks|tasks|processes|deployments|revisions|` +
	`sidecars|resource_matches|domains|routes|service_route_bindings|security_groups|isolation_segments)(/.*)?|` +
	`apps/[^/]+/.+|spaces/[^/]+/(actions/apply_manifest|manifest_diff|routes))$`)

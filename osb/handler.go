package osb

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"code.cloudfoundry.org/brokerapi/v13"

	"github.com/backstay/backstay"
)

// Handler serves a broker to other platforms. Its fields are set once, before use.
//
// The requests that change something, and the fetching of bindings, are the library's, brokerapi. It cannot say all of
// 2.17, so these answers are ours: the catalog (three schemas of which each may be absent), an instance that is fetched
// (its maintenance info) and how operations come along (Retry-After, "instance_usable", "update_repeatable"). So is
// what the library leaves to whoever wraps it: who may ask, how much, for whom, and which ids there can be.
type Handler struct {
	// Open returns the broker as whoever has that name and password, which are a request's, sees it. Anonymous is nobody.
	Open func(r *http.Request, username string, password backstay.Secret) (backstay.Broker, error)

	// AsyncBindings says that the broker makes and ends bindings asynchronously, for which a platform must wait.
	AsyncBindings bool

	MaxBody backstay.Bytes // the largest request that is read; 1MB if 0
	Log     *slog.Logger

	AtOnce   int           // how many requests of one name are answered at a time; 32 if 0
	Patience time.Duration // how long a further one waits for its turn until it is refused; 10s if 0

	Linger time.Duration   // how long who asks for changes is kept waiting for one; 25s if 0
	Ending <-chan struct{} // closed when nobody is to be kept waiting any more; may be nil

	mu    sync.Mutex
	turns map[string]chan struct{} // that are taken, by name
}

// turnsOf is as long as the requests of that name that are being answered, and has room for as many as may be.
func (h *Handler) turnsOf(name string) chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.turns[name] == nil {
		if h.turns == nil {
			h.turns = map[string]chan struct{}{}
		}
		h.turns[name] = make(chan struct{}, cmp.Or(h.AtOnce, 32))
	}
	return h.turns[name]
}

// takeTurn waits until a request of that name may be answered, and tells whether it may. Then leave is to be called in
// the end.
func (h *Handler) takeTurn(ctx context.Context, name string) (leave func(), ok bool) {
	turns := h.turnsOf(name)
	patience := time.NewTimer(cmp.Or(h.Patience, 10*time.Second))
	defer patience.Stop()
	select {
	case turns <- struct{}{}:
		return func() { <-turns }, true
	case <-patience.C:
	case <-ctx.Done():
	}
	return nil, false
}

func (h *Handler) maxBody() backstay.Bytes { return cmp.Or(h.MaxBody, backstay.MB) }

const (
	instanceRoute = "/v2/service_instances/{instance_id}"
	bindingRoute  = instanceRoute + "/service_bindings/{binding_id}"
)

// Handler returns every route of the specification, below "/v2/", and those of our extensions.
func (h *Handler) Handler() http.Handler {
	library := brokerapi.NewWithOptions(adapter{h}, slog.New(slog.DiscardHandler)) // it would log parameters
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/catalog", h.catalog)
	mux.HandleFunc("PUT "+instanceRoute, h.withCatalog(library))
	mux.HandleFunc("PATCH "+instanceRoute, withFailure(library))
	mux.HandleFunc("DELETE "+instanceRoute, withFailure(library))
	mux.HandleFunc("GET "+instanceRoute, since14(h.fetchInstance))
	mux.HandleFunc("GET "+instanceRoute+"/last_operation", h.lastOperation)
	mux.Handle("PUT "+bindingRoute, library)
	mux.Handle("DELETE "+bindingRoute, library)
	mux.Handle("GET "+bindingRoute, library)
	mux.HandleFunc("GET "+bindingRoute+"/last_operation", since14(h.lastBindingOperation))
	mux.Handle("/v2/"+admissionPath, h.admissions(library))
	h.telling(mux)
	mux.HandleFunc("/", noSuchRequest)
	return h.admit(mux)
}

func noSuchRequest(w http.ResponseWriter, _ *http.Request) {
	refuse(w, http.StatusNotFound, "The Open Service Broker API has no such request.")
}

// asking is what is known of a request before its route is.
type asking struct {
	broker  backstay.Broker
	header  http.Header // of the answer
	call    backstay.Call
	catalog []backstay.CatalogOffering // of a request that the library checks against it
	copyOf  backstay.InstanceID        // what the platform vouches for, beside what the library knows

	failed *errorBody // what the library is to answer a failure with, that says more than it can; else nil

	admitter backstay.Admitter // who tells whether the request would be refused, if that is all that is asked; else nil
}

type askingKey struct{}

func askingOf(ctx context.Context) *asking { return ctx.Value(askingKey{}).(*asking) }

// admit refuses whoever may not ask, and what no route can understand.
func (h *Handler) admit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id := r.Header.Get(requestIdentityHeader); id != "" && printable(id, maxRequestID) {
			w.Header().Set(requestIdentityHeader, id)
		}
		username, password, _ := r.BasicAuth()
		broker, err := h.Open(r, username, backstay.Secret(password))
		if err != nil {
			h.fail(w, r, err, http.StatusNotFound)
			return
		}
		leave, ok := h.takeTurn(r.Context(), username)
		if !ok {
			w.Header().Set("Retry-After", "1")
			refuse(w, http.StatusTooManyRequests, "Too many requests at once: ask again in a moment.")
			return
		}
		defer leave()
		a := &asking{broker: broker, header: w.Header()}
		for _, check := range []func(*http.Request, *asking) *refusal{checkVersion, readCall, checkPath, h.readBody} {
			if wrong := check(r, a); wrong != nil {
				refuse(w, wrong.status, wrong.sentence)
				return
			}
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), askingKey{}, a)))
	})
}

// since14 is for what the specification has had since 2.14. The library refuses it to older platforms likewise.
func since14(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if minor(r) < 14 {
			refuse(w, http.StatusPreconditionFailed, "That can be asked for since version 2.14 of the Open Service Broker API.")
			return
		}
		next(w, r)
	}
}

// withCatalog has the library check a request against the catalog of the broker. It would take one that cannot be told
// now for one that is empty.
func (h *Handler) withCatalog(next http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a := askingOf(r.Context())
		var err error
		if a.catalog, err = a.broker.Catalog(r.Context()); err != nil {
			h.fail(w, r, err, http.StatusNotFound)
			return
		}
		next.ServeHTTP(w, r)
	}
}

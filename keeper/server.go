package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
)

// Protocol is the number of the protocol that the paths below carry. Another one, if it ever comes,
// has paths of its own.
//
//	GET    /v1/keeper                       Info
//	GET    /v1/inventory                    backend.Inventory
//	POST   /v1/admission                    takes a backend.Spec; 204 if there is room for it
//	GET    /v1/instances?phase=PHASE        []backend.Status; without a phase, of all
//	PUT    /v1/instances/ID                 takes a backend.Spec; 204 once it is durable
//	GET    /v1/instances/ID?after=REVISION  backend.Status, as soon as it is newer, or after longPoll
//	DELETE /v1/instances/ID                 204 once the wish is durable
//	PUT    /v1/instances/ID/users/NAME      takes a backend.User; the credentials
//	DELETE /v1/instances/ID/users/NAME      204
//	POST   /v1/stop                         ends all engines, then the keeper; 204 when they have ended
//	POST   /v1/exit                         ends the keeper; engines run on
//
// A refusal is a Problem with a status of 400 or more.
const Protocol = 1

// Info tells one keeper from another.
type Info struct {
	Protocol int    `json:"protocol"`
	Version  string `json:"version"` // of the build
	PID      int    `json:"pid"`
}

// Problem is why a request was refused.
type Problem struct {
	Kind     string `json:"kind"` // a backstay.Kind by name
	Sentence string `json:"sentence"`
}

const (
	longPoll     = 50 * time.Second // that a request for a status waits, at most
	maxBody      = 1 << 20          // bytes of a request
	userPatience = 20 * time.Second // for the engine to make or drop a user
)

// serve answers on the socket until ctx ends. Who can open the socket may do everything: the
// directory that it is in is its owner's alone.
func (k *Keeper) serve(ctx context.Context) error {
	if err := os.Remove(k.socket()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", k.socket())
	if err != nil {
		return fmt.Errorf("listen for the control plane: %w", err)
	}
	if err := os.Chmod(k.socket(), 0o600); err != nil {
		return errors.Join(err, l.Close())
	}
	s := &http.Server{
		Handler: k.routes(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stopped := make(chan error, 1)
	context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := s.Shutdown(grace); err != nil {
			s.Close()
		}
		stopped <- nil
	})
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the control plane: %w", err)
	}
	return <-stopped
}

func (k *Keeper) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, answer func(r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { k.answer(w, r, answer) })
	}
	handle("GET /v1/keeper", func(*http.Request) (any, error) {
		return Info{Protocol: Protocol, Version: k.Version, PID: os.Getpid()}, nil
	})
	handle("GET /v1/inventory", func(r *http.Request) (any, error) { return k.inventory(r.Context()) })
	handle("POST /v1/admission", k.answerAdmission)
	handle("GET /v1/instances", func(r *http.Request) (any, error) {
		return k.statuses(backend.Phase(r.URL.Query().Get("phase"))), nil
	})
	handle("PUT /v1/instances/{id}", k.answerApply)
	handle("GET /v1/instances/{id}", k.answerStatus)
	handle("DELETE /v1/instances/{id}", k.answerRemove)
	handle("PUT /v1/instances/{id}/users/{name}", k.answerCreateUser)
	handle("DELETE /v1/instances/{id}/users/{name}", k.answerDropUser)
	handle("POST /v1/exit", func(*http.Request) (any, error) { k.stop(errExit); return nil, nil })
	handle("POST /v1/stop", func(*http.Request) (any, error) { return nil, k.stopAll() })
	return mux
}

// answer writes what f returns: nothing, a value or a Problem.
func (k *Keeper) answer(w http.ResponseWriter, r *http.Request, f func(*http.Request) (any, error)) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	value, err := f(r)
	switch {
	case err != nil:
		if backstay.KindOf(err) == backstay.Internal {
			k.Log.Error("a request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		}
		writeJSON(w, statusOf(backstay.KindOf(err)), Problem{backstay.KindOf(err).String(), backstay.SentenceOf(err)})
	case value == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		writeJSON(w, http.StatusOK, value)
	}
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(value) // if it fails, who asked has gone
}

// statusOf is for people who look at the protocol; the Problem is what counts.
func statusOf(k backstay.Kind) int {
	switch k {
	case backstay.NotFound:
		return http.StatusNotFound
	case backstay.Internal:
		return http.StatusInternalServerError
	case backstay.Unavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusUnprocessableEntity
	}
}

// read decodes the request's body, strictly: a field that we do not know would be a wish ignored.
func read(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil && !errors.Is(d.Decode(new(any)), io.EOF) {
		err = errors.New("more than one JSON value")
	}
	if err != nil {
		return backstay.Wrapf(err, backstay.Invalid, "The request cannot be read.")
	}
	return nil
}

func (k *Keeper) answerAdmission(r *http.Request) (any, error) {
	var spec backend.Spec
	if err := read(r, &spec); err != nil {
		return nil, err
	}
	if err := checkSpec(spec); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return nil, k.admit(spec)
}

func (k *Keeper) answerApply(r *http.Request) (any, error) {
	var spec backend.Spec
	if err := read(r, &spec); err != nil {
		return nil, err
	}
	if id := r.PathValue("id"); string(spec.Instance) != id {
		return nil, backstay.Errorf(backstay.Invalid, "The Spec is of instance %q, not %q.", spec.Instance, id)
	}
	return nil, k.apply(r.Context(), spec)
}

// answerStatus waits for a status that is newer than the one that is known. When it has waited long
// enough, the same one is the answer.
func (k *Keeper) answerStatus(r *http.Request) (any, error) {
	after := int64(0)
	if text := r.URL.Query().Get("after"); text != "" {
		var err error
		if after, err = strconv.ParseInt(text, 10, 64); err != nil || after < 0 || after == math.MaxInt64 {
			return nil, backstay.Errorf(backstay.Invalid, "after: want a revision, not %q.", text)
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), longPoll)
	defer cancel()
	for {
		s, err := k.supervisor(backstay.InstanceID(r.PathValue("id")))
		if err != nil {
			return nil, err
		}
		s.surpass(after)
		status, changed := s.look()
		if status.Revision > after || ctx.Err() != nil {
			return status, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

func (k *Keeper) answerRemove(r *http.Request) (any, error) {
	s, err := k.supervisor(backstay.InstanceID(r.PathValue("id")))
	if err != nil {
		return nil, err
	}
	return nil, s.remove(r.Context())
}

func (k *Keeper) answerCreateUser(r *http.Request) (any, error) {
	var u backend.User
	if err := read(r, &u); err != nil {
		return nil, err
	}
	if u.Name != r.PathValue("name") {
		return nil, backstay.Errorf(backstay.Invalid, "The user is %q, not %q.", u.Name, r.PathValue("name"))
	}
	s, err := k.supervisor(backstay.InstanceID(r.PathValue("id")))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), userPatience)
	defer cancel()
	n, err := s.runningNode(ctx)
	if err != nil {
		return nil, err
	}
	defer signal(s.user)
	return s.engine().CreateUser(ctx, n, engine.User{Name: u.Name, Password: u.Password, ReadOnly: u.ReadOnly})
}

func (k *Keeper) answerDropUser(r *http.Request) (any, error) {
	s, err := k.supervisor(backstay.InstanceID(r.PathValue("id")))
	if backstay.KindOf(err) == backstay.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), userPatience)
	defer cancel()
	n, err := s.runningNode(ctx)
	if err != nil {
		return nil, err
	}
	return nil, s.engine().DropUser(ctx, n, r.PathValue("name"))
}

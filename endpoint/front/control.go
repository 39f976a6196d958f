package front

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/endpoint"
	"github.com/backstay/backstay/internal/strict"
)

const (
	maxBody    = 64 << 10 // bytes of a request
	maxTargets = 16
)

// answer answers who may open the socket: the front's user, and root.
func (f *Front) answer(l net.Listener) {
	s := &http.Server{
		Handler: f.routes(), ReadTimeout: 5 * time.Second, WriteTimeout: time.Minute, MaxHeaderBytes: 4 << 10,
	}
	s.SetKeepAlivesEnabled(false)
	err := s.Serve(l)
	f.Log.Error("the keeper is not answered any more", "error", err)
}

func (f *Front) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, do func(r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { f.respond(w, r, do) })
	}
	handle("GET "+endpoint.StatusPath, func(*http.Request) (any, error) { return f.status(), nil })
	handle("GET "+endpoint.SessionsPath, func(*http.Request) (any, error) { return f.list(), nil })
	handle("PUT "+endpoint.HoldPath, func(*http.Request) (any, error) { return nil, f.hold(true) })
	handle("DELETE "+endpoint.HoldPath, func(*http.Request) (any, error) { return nil, f.hold(false) })
	handle("PUT "+endpoint.TargetsPath, f.answerSwitch)
	handle("POST "+endpoint.CutPath, f.answerCut)
	return mux
}

func (f *Front) respond(w http.ResponseWriter, r *http.Request, do func(*http.Request) (any, error)) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	value, err := do(r)
	status := http.StatusOK
	if err != nil {
		kind := backstay.KindOf(err)
		status = http.StatusUnprocessableEntity
		if kind == backstay.Internal {
			f.Log.Error("a request failed", "method", r.Method, "path", r.URL.Path, "error", err)
			status = http.StatusInternalServerError
		}
		value = endpoint.Problem{Kind: kind.String(), Sentence: backstay.SentenceOf(err)}
	}
	if value == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // if it fails, who asked has gone
}

func (f *Front) hold(held bool) error {
	return f.tellAndKeep(func(r *record) { r.Held = held })
}

func (f *Front) answerSwitch(r *http.Request) (any, error) {
	var targets []netip.AddrPort
	if err := strict.Decode(r.Body, &targets); err != nil {
		return nil, unreadable(err)
	}
	if len(targets) > maxTargets {
		return nil, backstay.Errorf(backstay.Invalid, "There are %d targets, more than %d.", len(targets), maxTargets)
	}
	for i, t := range targets {
		if err := f.check(t); err != nil {
			return nil, err
		}
		if slices.Contains(targets[:i], t) {
			return nil, backstay.Errorf(backstay.Invalid, "The target %s is there twice.", t)
		}
	}
	return nil, f.tellAndKeep(func(r *record) {
		if !slices.Equal(r.Targets, targets) {
			r.Targets, r.Switched = targets, time.Now().UTC()
		}
	})
}

func unreadable(err error) error {
	return backstay.Errorf(backstay.Invalid, "The request cannot be read: %s.", strict.Mistake(err))
}

// check refuses what is no target: above all ourselves, or each connection would make another.
func (f *Front) check(t netip.AddrPort) error {
	switch {
	case !t.IsValid() || t.Port() == 0 || t.Addr().IsUnspecified() || t.Addr().IsMulticast():
		return backstay.Errorf(backstay.Invalid, "%s is no address with a port that a node could serve at.", t)
	case slices.ContainsFunc(f.Listen, func(own netip.AddrPort) bool {
		return own.Port() == t.Port() && (own.Addr() == t.Addr() || own.Addr().IsUnspecified())
	}):
		return backstay.Errorf(backstay.Invalid, "%s is the front itself.", t)
	}
	return nil
}

func (f *Front) answerCut(r *http.Request) (any, error) {
	var target netip.AddrPort
	if err := strict.Decode(r.Body, &target); err != nil {
		return nil, unreadable(err)
	}
	if !target.IsValid() {
		return nil, backstay.Errorf(backstay.Invalid, "It is not said which target is cut.")
	}
	return nil, f.cut(r.Context(), target)
}

// cut ends all sessions to a target. Those that are being made are made anew.
func (f *Front) cut(ctx context.Context, target netip.AddrPort) error {
	f.control.Lock()
	defer f.control.Unlock()
	f.mu.Lock()
	f.lookAgain()
	var ended []*session
	for s := range f.sessions {
		if s.server != nil && s.target == target {
			ended = append(ended, s)
		}
	}
	f.mu.Unlock()
	for _, s := range ended {
		s.abort()
	}
	f.Log.Info("told to cut a target", "target", target, "sessions", len(ended))
	for _, s := range ended {
		select {
		case <-s.over:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (f *Front) status() endpoint.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	st := endpoint.Status{
		Protocol: endpoint.Protocol, PID: os.Getpid(), Settings: f.Settings,
		Held: f.told.Held, Targets: []endpoint.Target{}, Switched: f.told.Switched,
		Refused: f.count.Refused, GivenUp: f.count.GivenUp, ToTarget: f.count.ToTarget, ToClient: f.count.ToClient,
	}
	for s := range f.sessions {
		st.ToTarget += s.up.bytes.Load()
		st.ToClient += s.down.bytes.Load()
		if s.server == nil {
			st.Waiting++
		}
	}
	st.Sessions = len(f.sessions) - st.Waiting
	for _, t := range f.told.Targets {
		st.Targets = append(st.Targets, f.nodes[t].tell(t))
	}
	for t, n := range f.nodes {
		if !n.told {
			st.Targets = append(st.Targets, n.tell(t))
		}
	}
	return st
}

func (n *node) tell(address netip.AddrPort) endpoint.Target {
	return endpoint.Target{Address: address, Told: n.told, Sessions: n.sessions, Trouble: n.trouble}
}

func (f *Front) list() []endpoint.Session {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := []endpoint.Session{}
	for s := range f.sessions {
		if s.server != nil {
			list = append(list, endpoint.Session{
				Client: addrPort(s.client.RemoteAddr()), From: addrPort(s.server.LocalAddr()), Target: s.target,
				Began: s.began, ToTarget: s.up.bytes.Load(), ToClient: s.down.bytes.Load(),
			})
		}
	}
	return list
}

// addrPort is a without IPv4 in IPv6's clothes; invalid if there is none, as of a connection that has ended.
func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := t.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

var errNobody = errors.New("no front can be taken over from")

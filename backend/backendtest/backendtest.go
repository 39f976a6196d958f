// Package backendtest is the contract of [backend.Backend], written as tests. Every backend runs it.
package backendtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

// limit is how long anything may take here.
const limit = time.Minute

// Subject is a backend under test, and how its instances are used.
type Subject struct {
	Backend backend.Backend
	// Can lists what this backend can do of what a backend may refuse: see whatItCannotDoIsRefused.
	Can []string
	// Certificate is one that endpoints of the backend can prove themselves with.
	Certificate func(t testing.TB) backstay.Certificate
	// Connect opens a session with the credentials.
	Connect func(ctx context.Context, c backstay.Credentials) (Session, error)
}

// Session is a client's connection to an instance.
type Session interface {
	Ping(ctx context.Context) error
	Close(ctx context.Context) error
}

type testCase struct {
	name string
	run  func(t *testing.T, s Subject)
}

// Run checks that the subject keeps the contract. Its tests share the backend, and end what they begin.
func Run(t *testing.T, s Subject) {
	for _, c := range slices.Concat(lives, changes, crowds) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, s)
		})
	}
}

// RunKilled checks that changes come true however often the backend is killed meanwhile: kill ends it in the
// middle of whatever it does, and starts it again.
func RunKilled(t *testing.T, s Subject, kill func()) {
	t.Run("group", func(t *testing.T) {
		over := make(chan struct{})
		t.Cleanup(func() { close(over) })
		go func() {
			for longest := 300 * time.Millisecond; ; longest += 200 * time.Millisecond { // so that it gets on in the end
				select {
				case <-over:
					return
				case <-time.After(rand.N(longest)):
					kill()
				}
			}
		}()
		for _, c := range changes {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.run(t, s)
			})
		}
	})
}

var lives = []testCase{
	{"LifeOfAnInstance", lifeOfAnInstance},
	{"ApplyAgainIsAccepted", applyAgainIsAccepted},
	{"NewerGenerationIsReached", newerGenerationIsReached},
	{"UnknownInstance", unknownInstance},
	{"UnknownEngineIsRefused", unknownEngineIsRefused},
	{"WhatItCannotDoIsRefused", whatItCannotDoIsRefused},
	{"NamesComeFirst", namesComeFirst},
	{"UnknownVersionFails", unknownVersionFails},
	{"AwaitHonoursItsContext", awaitHonoursItsContext},
	{"AwaitWakesAtOnce", awaitWakesAtOnce},
	{"RemoveWhileComingUp", removeWhileComingUp},
	{"UserOfAnInstanceComingUp", userOfAnInstanceComingUp},
	{"UsersComeAndGo", usersComeAndGo},
	{"PrivateInstanceHasNoEndpoint", privateInstanceHasNoEndpoint},
	{"BadSpecIsRefused", badSpecIsRefused},
}

// spec wants a fresh instance of the first thing that the backend has.
func (s Subject) spec(t *testing.T) backend.Spec {
	t.Helper()
	i, err := s.Backend.Inventory(t.Context())
	if err != nil || len(i.Engines) == 0 {
		t.Fatalf("Inventory: %+v, %v; want an engine", i, err)
	}
	return backend.Spec{
		Instance: backstay.InstanceID(uuid.NewString()), Generation: 1, Engine: i.Engines[0].Engine, Version: i.Engines[0].Version,
		Size: backstay.Size{Storage: backstay.GB, Memory: 256 * backstay.MB, Connections: 20}, TLS: s.Certificate(t),
	}
}

func (s Subject) apply(t *testing.T, spec backend.Spec) {
	t.Helper()
	if err := s.Backend.Apply(t.Context(), spec); err != nil {
		t.Fatalf("Apply: %v", err)
	}
	t.Cleanup(func() { s.remove(t, spec.Instance) })
}

// remove is quiet about an instance that is gone.
func (s Subject) remove(t *testing.T, id backstay.InstanceID) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	err := s.Backend.Remove(ctx, id)
	for revision := int64(0); err == nil; {
		var status backend.Status
		status, err = s.Backend.Await(ctx, id, revision)
		revision = status.Revision
	}
	if backstay.KindOf(err) != backstay.NotFound {
		t.Fatalf("Remove: %v", err)
	}
}

// until follows an instance's status until it is as wanted. Every status on the way must be sound.
func (s Subject) until(t *testing.T, id backstay.InstanceID, what string, wanted func(backend.Status) bool) backend.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var last backend.Status
	for {
		status, err := s.Backend.Await(ctx, id, last.Revision)
		if err != nil {
			t.Fatalf("wait for %s: %v; it was %+v", what, err, last)
		}
		if status.Revision <= last.Revision || status.Instance != id || status.Message == "" || status.Phase != backend.Running && !strings.HasSuffix(status.Message, ".") {
			t.Fatalf("after %+v came %+v: want a greater revision, and a sentence", last, status)
		}
		if wanted(status) {
			return status
		}
		last = status
	}
}

func (s Subject) running(t *testing.T, id backstay.InstanceID, generation int64) backend.Status {
	t.Helper()
	return s.until(t, id, "running", func(st backend.Status) bool { return st.Phase == backend.Running && st.Generation == generation })
}

func wantKind(t *testing.T, what string, err error, kinds ...backstay.Kind) {
	t.Helper()
	for _, k := range kinds {
		if err != nil && backstay.KindOf(err) == k {
			return
		}
	}
	t.Errorf("%s: %v (%s), want %s", what, err, backstay.KindOf(err), kinds)
}

func newUser() backend.User {
	id := strings.ReplaceAll(uuid.NewString(), "-", "")
	return backend.User{Name: "u" + id[:15], Password: backstay.Secret(id)}
}

func (s Subject) mustConnect(t *testing.T, c backstay.Credentials) {
	t.Helper()
	s.mustOpen(t, c)
}

// mustOpen opens a session that lasts as long as the test.
func (s Subject) mustOpen(t *testing.T, c backstay.Credentials) Session {
	t.Helper()
	session, err := s.Connect(t.Context(), c)
	if err != nil {
		t.Fatalf("the credentials are refused: %v", err)
	}
	t.Cleanup(func() { session.Close(context.Background()) })
	return session
}

func (s Subject) refuses(t *testing.T, c backstay.Credentials) bool {
	t.Helper()
	session, err := s.Connect(t.Context(), c)
	if err == nil {
		session.Close(t.Context())
	}
	return err != nil
}

func lifeOfAnInstance(t *testing.T, s Subject) {
	spec := s.spec(t)
	if err := s.Backend.Admit(t.Context(), spec); err != nil {
		t.Fatalf("Admit: %v", err)
	}
	s.apply(t, spec)
	status := s.running(t, spec.Instance, 1)
	if status.Wanted != 1 || status.Endpoint.Host == "" || status.Endpoint.Port == 0 || status.Build == "" || status.Obstacle != (backend.Obstacle{}) {
		t.Errorf("running as %+v, want an endpoint, a build and no obstacle", status)
	}
	if len(status.Nodes) != 1 || status.Nodes[0].Role != backend.Primary || status.Nodes[0].Phase != backend.Running || status.Nodes[0].Name == "" {
		t.Errorf("the nodes are %+v, want a primary that runs", status.Nodes)
	}
	if names, err := s.Backend.Names(t.Context(), spec); err != nil || !slices.Contains(names, status.Endpoint.Host) {
		t.Errorf("Names: %q, %v; want %s among them", names, err, status.Endpoint.Host)
	}
	c, err := s.Backend.CreateUser(t.Context(), spec.Instance, newUser())
	if err != nil {
		t.Fatalf("CreateUser: %v", err)
	}
	s.mustConnect(t, c)
	s.remove(t, spec.Instance)
	if !s.refuses(t, c) {
		t.Error("the credentials outlived the instance")
	}
	s.wantHeld(t, spec.Instance, 0)
	_, err = s.Backend.Await(t.Context(), spec.Instance, 0)
	wantKind(t, "Await of a removed instance", err, backstay.NotFound)
	wantKind(t, "Remove of a removed instance", s.Backend.Remove(t.Context(), spec.Instance), backstay.NotFound)
}

func applyAgainIsAccepted(t *testing.T, s Subject) {
	spec := s.spec(t)
	s.apply(t, spec)
	s.apply(t, spec)
	first := s.running(t, spec.Instance, 1)
	if err := s.Backend.Apply(t.Context(), spec); err != nil {
		t.Errorf("Apply of what runs: %v", err)
	}
	if again := s.running(t, spec.Instance, 1); !again.Same(first) {
		t.Errorf("the second Apply changed %+v to %+v", first, again)
	}
}

func newerGenerationIsReached(t *testing.T, s Subject) {
	spec := s.spec(t)
	s.apply(t, spec)
	first := s.running(t, spec.Instance, 1)
	c, err := s.Backend.CreateUser(t.Context(), spec.Instance, newUser())
	if err != nil {
		t.Fatal(err)
	}
	newer := spec
	newer.Generation, newer.Size.Connections = 3, 40
	if err := s.Backend.Apply(t.Context(), newer); err != nil {
		t.Fatalf("Apply: %v", err)
	}
	if status := s.running(t, spec.Instance, 3); status.Endpoint != first.Endpoint || status.Wanted != 3 {
		t.Errorf("generation 3 runs as %+v, want the endpoint of %+v", status, first)
	}
	s.mustConnect(t, c)
	s.wantHeld(t, spec.Instance, 3)
	wantKind(t, "Apply of an older generation", s.Backend.Apply(t.Context(), spec), backstay.Busy)
}

func unknownInstance(t *testing.T, s Subject) {
	id := backstay.InstanceID(uuid.NewString())
	_, err := s.Backend.Await(t.Context(), id, 0)
	wantKind(t, "Await", err, backstay.NotFound)
	wantKind(t, "Remove", s.Backend.Remove(t.Context(), id), backstay.NotFound)
	_, err = s.Backend.CreateUser(t.Context(), id, newUser())
	wantKind(t, "CreateUser", err, backstay.NotFound)
	if err := s.Backend.DropUser(t.Context(), id, "u1"); err != nil {
		t.Errorf("DropUser: %v, want success", err)
	}
}

func unknownEngineIsRefused(t *testing.T, s Subject) {
	spec := s.spec(t)
	spec.Engine = "abacus"
	wantKind(t, "Admit", s.Backend.Admit(t.Context(), spec), backstay.Unsupported)
	wantKind(t, "Apply", s.Backend.Apply(t.Context(), spec), backstay.Unsupported)
}

// whatItCannotDoIsRefused: a backend either does what a Spec asks for, or says that it does not.
func whatItCannotDoIsRefused(t *testing.T, s Subject) {
	for what, change := range map[string]func(*backend.Spec){
		"several nodes":    func(sp *backend.Spec) { sp.Nodes = 2 },
		"encrypted volume": func(sp *backend.Spec) { sp.Volume.Encrypted = true },
		"backups":          func(sp *backend.Spec) { sp.Backup = &backend.BackupPolicy{Window: "02:30-03:00", Days: 7} },
		"an origin":        func(sp *backend.Spec) { sp.Origin = &backend.Origin{Instance: "none"} },
		"unknown build":    func(sp *backend.Spec) { sp.Build = "0.0" },
	} {
		if slices.Contains(s.Can, what) {
			continue
		}
		spec := s.spec(t)
		change(&spec)
		_, namesErr := s.Backend.Names(t.Context(), spec)
		for method, err := range map[string]error{
			"Admit": s.Backend.Admit(t.Context(), spec), "Apply": s.Backend.Apply(t.Context(), spec), "Names": namesErr,
		} {
			wantKind(t, method+" with "+what, err, backstay.Unsupported)
			if !strings.HasSuffix(backstay.SentenceOf(err), ".") {
				t.Errorf("%s with %s: %v, want a sentence", method, what, err)
			}
		}
	}
}

// namesComeFirst: the certificate is made for the names, so they are told of an instance that is not there yet.
func namesComeFirst(t *testing.T, s Subject) {
	spec := s.spec(t)
	spec.TLS = backstay.Certificate{}
	names, err := s.Backend.Names(t.Context(), spec)
	if err != nil || len(names) == 0 {
		t.Fatalf("Names: %q, %v", names, err)
	}
	if again, err := s.Backend.Names(t.Context(), spec); err != nil || !slices.Equal(again, names) {
		t.Errorf("Names are %q and then %q, %v", names, again, err)
	}
}

// unknownVersionFails: an installation may go, or come back, at any time, so its absence is a state
// of the instance and no refusal.
func unknownVersionFails(t *testing.T, s Subject) {
	spec := s.spec(t)
	spec.Version = "0"
	s.apply(t, spec)
	status := s.until(t, spec.Instance, "failing", func(st backend.Status) bool { return st.Phase == backend.Failing })
	if want := (backend.Obstacle{Generation: 1, Sentence: status.Message, Final: true}); status.Generation != 0 || status.Obstacle != want {
		t.Errorf("failing as %+v, want no generation reached, and %+v", status, want)
	}
	_, err := s.Backend.CreateUser(t.Context(), spec.Instance, newUser())
	wantKind(t, "CreateUser of a failing instance", err, backstay.Unavailable)
	s.wantUnwell(t, spec.Instance, true)
	s.remove(t, spec.Instance)
	s.wantUnwell(t, spec.Instance, false)
}

// wantHeld checks the generation that the backend says it wants of an instance; 0 is an instance that it
// does not know.
func (s Subject) wantHeld(t *testing.T, id backstay.InstanceID, want int64) {
	t.Helper()
	held, err := s.Backend.Held(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if held[id] != want {
		t.Errorf("held at generation %d, want %d", held[id], want)
	}
}

func (s Subject) wantUnwell(t *testing.T, id backstay.InstanceID, want bool) {
	t.Helper()
	list, err := s.Backend.Unwell(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	listed := slices.ContainsFunc(list, func(st backend.Status) bool { return st.Instance == id })
	if listed != want {
		t.Errorf("listed as unwell: %t, want %t", listed, want)
	}
}

func awaitHonoursItsContext(t *testing.T, s Subject) {
	spec := s.spec(t)
	s.apply(t, spec)
	status := s.running(t, spec.Instance, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Backend.Await(ctx, spec.Instance, status.Revision); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Await of a status that does not change: %v, want %v", err, context.DeadlineExceeded)
	}
}

// awaitWakesAtOnce: who waits for a status is not left to ask from time to time.
func awaitWakesAtOnce(t *testing.T, s Subject) {
	spec := s.spec(t)
	s.apply(t, spec)
	status := s.running(t, spec.Instance, 1)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	const waiters = 3
	woken := make(chan error, waiters)
	for range waiters {
		go func() {
			next, err := s.Backend.Await(ctx, spec.Instance, status.Revision)
			if err == nil && next.Revision <= status.Revision {
				err = fmt.Errorf("revision %d came after %d", next.Revision, status.Revision)
			}
			woken <- err
		}()
	}
	if err := s.Backend.Remove(t.Context(), spec.Instance); err != nil {
		t.Fatal(err)
	}
	told := time.Now()
	for range waiters {
		if err := <-woken; err != nil && backstay.KindOf(err) != backstay.NotFound {
			t.Error(err)
		}
	}
	if late := time.Since(told); late > 5*time.Second {
		t.Errorf("the last one was told after %s", late)
	}
}

func removeWhileComingUp(t *testing.T, s Subject) {
	spec := s.spec(t)
	s.apply(t, spec)
	if err := s.Backend.Remove(t.Context(), spec.Instance); err != nil {
		t.Fatal(err)
	}
	if err := s.Backend.Apply(t.Context(), spec); err != nil { // else it was gone already
		wantKind(t, "Apply of what is being removed", err, backstay.Busy)
	}
	s.remove(t, spec.Instance)
	// The id may be used anew once it is free.
	s.apply(t, spec)
	s.running(t, spec.Instance, 1)
}

func userOfAnInstanceComingUp(t *testing.T, s Subject) {
	spec := s.spec(t)
	s.apply(t, spec)
	c, err := s.Backend.CreateUser(t.Context(), spec.Instance, newUser())
	if err != nil {
		t.Fatalf("CreateUser: %v, want it to wait until the instance runs", err)
	}
	s.mustConnect(t, c)
}

func usersComeAndGo(t *testing.T, s Subject) {
	spec := s.spec(t)
	s.apply(t, spec)
	u := newUser()
	old, err := s.Backend.CreateUser(t.Context(), spec.Instance, u)
	if err != nil {
		t.Fatal(err)
	}
	u.Password = newUser().Password
	c, err := s.Backend.CreateUser(t.Context(), spec.Instance, u)
	if err != nil {
		t.Fatal(err)
	}
	s.mustConnect(t, c)
	if !s.refuses(t, old) {
		t.Error("the old password is still good")
	}
	for range 2 {
		if err := s.Backend.DropUser(t.Context(), spec.Instance, u.Name); err != nil {
			t.Fatalf("DropUser: %v", err)
		}
	}
	if !s.refuses(t, c) {
		t.Error("the credentials outlived the user")
	}
	_, err = s.Backend.CreateUser(t.Context(), spec.Instance, backend.User{Name: `u"; DROP`, Password: "x"})
	wantKind(t, "CreateUser of a bad name", err, backstay.Invalid)
}

func privateInstanceHasNoEndpoint(t *testing.T, s Subject) {
	spec := s.spec(t)
	spec.Private, spec.TLS = true, backstay.Certificate{}
	s.apply(t, spec)
	if status := s.running(t, spec.Instance, 1); status.Endpoint != (backstay.Endpoint{}) {
		t.Errorf("a private instance has the endpoint %+v", status.Endpoint)
	}
}

func badSpecIsRefused(t *testing.T, s Subject) {
	for name, change := range map[string]func(*backend.Spec){
		"no id":           func(sp *backend.Spec) { sp.Instance = "" },
		"path for an id":  func(sp *backend.Spec) { sp.Instance = "../../etc" },
		"dots for an id":  func(sp *backend.Spec) { sp.Instance = ".." },
		"generation zero": func(sp *backend.Spec) { sp.Generation = 0 },
	} {
		spec := s.spec(t)
		change(&spec)
		if err := s.Backend.Apply(t.Context(), spec); err == nil {
			t.Errorf("Apply with %s was accepted", name)
		}
	}
}

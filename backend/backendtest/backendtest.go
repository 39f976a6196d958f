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
	"github.com/backstay/backstay/internal/testkit"
)

// limit is how long anything may take here, on a machine that is busy: backups of all the tests wait for each other.
const limit = 10 * time.Minute

// Subject is a backend under test, and how its instances are used.
type Subject struct {
	Backend backend.Backend
	// Can lists what this backend can do of what a backend may refuse: see whatItCannotDoIsRefused and
	// storageThatCannotChange.
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
// middle of whatever it does, and starts it again. Each run draws some of the changes.
func RunKilled(t *testing.T, s Subject, kill func()) {
	t.Run("group", func(t *testing.T) {
		first := s.spec(t)
		s.apply(t, first) // what the first instance takes long for, others need not
		s.running(t, first.Instance, 1)
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
		for _, c := range testkit.Drawn(t, changes) {
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
	{"GaugeTellsWhatIsStored", gaugeTellsWhatIsStored},
	{"ImpossibleIsNotAdmitted", impossibleIsNotAdmitted},
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
		Instance: backstay.InstanceID(uuid.NewString()), Generation: 1,
		Engine: i.Engines[0].Engine, Version: i.Engines[0].Version,
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
func (s Subject) until(
	t *testing.T, id backstay.InstanceID, what string, wanted func(backend.Status) bool,
) backend.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var last backend.Status
	for {
		status, err := s.Backend.Await(ctx, id, last.Revision)
		if err != nil {
			t.Fatalf("wait for %s: %v; it was %+v", what, err, last)
		}
		said := status.Phase == backend.Running && status.Message != "" || strings.HasSuffix(status.Message, ".")
		if status.Revision <= last.Revision || status.Instance != id || !said {
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
	return s.until(t, id, "running", func(st backend.Status) bool {
		return st.Phase == backend.Running && st.Generation == generation
	})
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
	if status.Endpoint.Host == "" || status.Endpoint.Port == 0 || status.Build == "" {
		t.Errorf("running as %+v, want an endpoint and a build", status)
	}
	if status.Wanted != 1 || status.Obstacle != (backend.Obstacle{}) {
		t.Errorf("running as %+v, want no obstacle", status)
	}
	primary := backend.NodeStatus{Role: backend.Primary, Phase: backend.Running}
	if len(status.Nodes) == 1 {
		primary.Name = status.Nodes[0].Name
	}
	if !slices.Equal(status.Nodes, []backend.NodeStatus{primary}) || primary.Name == "" {
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

func privateInstanceHasNoEndpoint(t *testing.T, s Subject) {
	spec := s.spec(t)
	spec.Private, spec.TLS = true, backstay.Certificate{}
	s.apply(t, spec)
	if status := s.running(t, spec.Instance, 1); status.Endpoint != (backstay.Endpoint{}) {
		t.Errorf("a private instance has the endpoint %+v", status.Endpoint)
	}
}

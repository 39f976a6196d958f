package backendtest

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

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
		"too many nodes":   func(sp *backend.Spec) { sp.Nodes = 100 },
		"encrypted volume": func(sp *backend.Spec) { sp.Volume = backend.Volume{Encrypted: true, Key: "a key"} },
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

// impossibleIsNotAdmitted: whoever asks for what can never be is told when asking, and nothing is changed by that.
func impossibleIsNotAdmitted(t *testing.T, s Subject) {
	spec := s.spec(t)
	wrong := func(spec backend.Spec) backend.Spec {
		spec.Settings = json.RawMessage(`{"no such setting": 1}`)
		return spec
	}
	bare := spec
	bare.TLS = backstay.Certificate{}
	if err := s.Backend.Admit(t.Context(), bare); err != nil {
		t.Errorf("Admit before there is a certificate: %v", err)
	}
	wantKind(t, "Admit of a new instance with a setting that there is not",
		s.Backend.Admit(t.Context(), wrong(bare)), backstay.Invalid, backstay.Unsupported)
	s.wantHeld(t, spec.Instance, 0)
	s.apply(t, spec)
	s.running(t, spec.Instance, 1)
	if err := s.Backend.Admit(t.Context(), another(bare)); err != nil {
		t.Errorf("Admit of another size: %v", err)
	}
	wantKind(t, "Admit of a setting that there is not",
		s.Backend.Admit(t.Context(), wrong(another(spec))), backstay.Invalid, backstay.Unsupported)
	wantKind(t, "Admit of a version that there is not",
		s.Backend.Admit(t.Context(), impossible(spec)), backstay.Invalid, backstay.Unsupported)
	s.wantHeld(t, spec.Instance, 1)
	s.wantUnwell(t, spec.Instance, false)
}

// unknownVersionFails: an installation may go, or come back, at any time, so its absence is a state
// of the instance and no refusal.
func unknownVersionFails(t *testing.T, s Subject) {
	spec := s.spec(t)
	spec.Version = "0"
	s.apply(t, spec)
	status := s.until(t, spec.Instance, "failing", func(st backend.Status) bool { return st.Phase == backend.Failing })
	want := backend.Obstacle{Generation: 1, Sentence: status.Message, Final: true}
	if status.Generation != 0 || status.Obstacle != want {
		t.Errorf("failing as %+v, want no generation reached, and %+v", status, want)
	}
	_, err := s.Backend.CreateUser(t.Context(), spec.Instance, newUser())
	wantKind(t, "CreateUser of a failing instance", err, backstay.Unavailable)
	s.wantUnwell(t, spec.Instance, true)
	s.remove(t, spec.Instance)
	s.wantUnwell(t, spec.Instance, false)
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

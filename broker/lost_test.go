package broker_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

// forgetful is a keeper that can be made to lose its records, with a broker on it whose reconciler does not run.
type forgetful struct {
	*house
	config keeper.Config
	stop   func()
}

func newForgetful(t *testing.T) *forgetful {
	t.Helper()
	f := &forgetful{config: keepertest.Config(t, 2)}
	var instances backend.Backend
	instances, f.stop = keepertest.Run(t, f.config)
	f.house = newHouse(t, instances)
	f.runJobs(t)
	return f
}

// loseRecord does so with the record of one instance, while no keeper runs. The engine runs on.
func (f *forgetful) loseRecord(t *testing.T, id backstay.InstanceID, damage string) {
	t.Helper()
	f.stop()
	record := filepath.Join(f.config.DataDir, "keeper", "instances", string(id)+".json")
	if damage == "" {
		must(t, os.Remove(record))
	} else {
		must(t, os.WriteFile(record, []byte(damage), 0o600))
	}
	_, f.stop = keepertest.Run(t, f.config)
}

// TestLostRecord: what serves, but its keeper knows nothing of, is told of as not serving, and then kept again at
// the same endpoint with the same data.
func TestLostRecord(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]string{"lost": "", "damaged": "{"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newForgetful(t)
			r := f.serve(t)
			_, c := f.bind(t, r)
			tell(t, c, "CREATE TABLE kept AS SELECT 42 AS n")
			f.loseRecord(t, r.InstanceID, damage)
			reasons, err := f.Unhealthy(t.Context())
			must(t, err)
			if reasons[r.InstanceID] == "" {
				t.Error("an instance whose record is lost is told of as well")
			}
			must(t, f.Reconcile(t.Context()))
			f.awaitHealthy(t, r.InstanceID)
			if kept := ask(t, c, "SELECT n::text FROM kept"); kept != "42" {
				t.Errorf("the data have become %s", kept)
			}
		})
	}
}

func (f *forgetful) awaitHealthy(t *testing.T, id backstay.InstanceID) {
	t.Helper()
	its := f.Backends["local"]
	s, err := its.Await(t.Context(), id, 0)
	for err == nil && s.Phase != backend.Running {
		s, err = its.Await(t.Context(), id, s.Revision)
	}
	must(t, err)
	reasons, err := f.Unhealthy(t.Context())
	must(t, err)
	if reason := reasons[id]; reason != "" {
		t.Errorf("it serves, and is told of as %q", reason)
	}
}

// TestUnbindOfALostRecord: the keeper knows of no user to drop, but the data have it.
func TestUnbindOfALostRecord(t *testing.T) {
	t.Parallel()
	f := newForgetful(t)
	r := f.serve(t)
	binding, c := f.bind(t, r)
	f.loseRecord(t, r.InstanceID, "")
	_, err := f.Unbind(t.Context(), backstay.UnbindRequest{InstanceID: r.InstanceID, BindingID: binding})
	must(t, err)
	if _, err := connect(t, c); err == nil {
		t.Error("the credentials outlived the binding")
	}
	f.loseRecord(t, r.InstanceID, "")
	_, c = f.bind(t, r)
	if _, err := connect(t, c); err != nil {
		t.Errorf("credentials of an instance whose record was lost: %v", err)
	}
}

// TestDeleteOfALostRecord: nothing of the instance is left, though its keeper had forgotten it.
func TestDeleteOfALostRecord(t *testing.T) {
	t.Parallel()
	f := newForgetful(t)
	r := f.serve(t)
	_, c := f.bind(t, r)
	f.loseRecord(t, r.InstanceID, "")
	_, err := f.Deprovision(t.Context(), backstay.DeprovisionRequest{InstanceID: r.InstanceID})
	must(t, err)
	f.gone(t, r.InstanceID)
	if _, err := connect(t, c); err == nil {
		t.Error("the engine outlived its instance")
	}
	if _, err := os.Stat(filepath.Join(f.config.DataDir, "instances", string(r.InstanceID))); !os.IsNotExist(err) {
		t.Errorf("its files are left: %v", err)
	}
}

// TestBrokenForEver unbinds and deletes an instance whose engine can never start again.
func TestBrokenForEver(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	root := testkit.Dir(t)
	installation := filepath.Join(root, "15")
	must(t, os.Symlink("/usr/lib/postgresql/15", installation))
	c.Engines = map[string]engine.Engine{"postgres": postgres.Engine{Roots: []string{root}}}
	instances, stop := keepertest.Run(t, c)
	h := newHouse(t, instances)
	h.run(t)
	r := h.serve(t)
	binding, kept := h.bind(t, r)
	stop()
	if _, err := keeper.StopEngines(c.DataDir, c.Engines); err != nil {
		t.Fatal(err)
	}
	must(t, os.Remove(installation))
	must(t, os.RemoveAll(filepath.Join(c.DataDir, "builds")))
	keepertest.Run(t, c)
	s, err := instances.Await(t.Context(), r.InstanceID, 0)
	for err == nil && s.Phase != backend.Failing {
		s, err = instances.Await(t.Context(), r.InstanceID, s.Revision)
	}
	must(t, err)

	another := backstay.BindRequest{InstanceID: r.InstanceID, BindingID: backstay.BindingID(uuid.NewString())}
	_, err = h.Bind(t.Context(), another)
	wantKind(t, err, backstay.Unavailable)
	_, err = h.Unbind(t.Context(), backstay.UnbindRequest{InstanceID: r.InstanceID, BindingID: binding})
	must(t, err)
	if _, err := connect(t, kept); err == nil {
		t.Error("there is a session on an instance that is broken")
	}
	_, err = h.Deprovision(t.Context(), backstay.DeprovisionRequest{InstanceID: r.InstanceID})
	must(t, err)
	h.gone(t, r.InstanceID)
	wantHeld(t, instances, r.InstanceID, 0)
}

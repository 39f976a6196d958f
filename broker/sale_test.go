package broker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/keeper/keepertest"
)

// away is a backend that does not answer.
type away struct{ backend.Backend }

func (away) Inventory(context.Context) (backend.Inventory, error) {
	return backend.Inventory{}, backstay.Wrapf(errors.New("connection refused"), backstay.Unavailable, "It is away.")
}

// houseOfTwo offers the plan S on this machine, and E of the backend "elsewhere".
func houseOfTwo(t *testing.T) *house {
	t.Helper()
	instances, _ := keepertest.Run(t, keepertest.Config(t, 3))
	elsewhere, _ := keepertest.Run(t, keepertest.Config(t, 3))
	h := newHouse(t, instances)
	h.Backends["elsewhere"] = elsewhere
	var err error
	h.Offered, err = broker.ParseCatalog([]byte(strings.Replace(sizes, "{name: M,", "{name: E, backend: elsewhere,", 1)))
	must(t, err)
	h.run(t)
	return h
}

// mustLive makes an instance of that plan, and wants it to live in that backend alone.
func (h *house) mustLive(t *testing.T, plan, in string) backstay.ProvisionRequest {
	t.Helper()
	r := h.newRequest(t, plan)
	must(t, h.AdmitProvision(t.Context(), r))
	made, err := h.Provision(t.Context(), r)
	must(t, err)
	if op := h.outcome(t, r.InstanceID, made.Operation); op.State != backstay.Succeeded {
		t.Fatalf("the create ended as %+v", op)
	}
	kept, err := h.Store.Instance(t.Context(), r.InstanceID)
	must(t, err)
	for name, its := range h.Backends {
		held, err := its.Held(t.Context())
		must(t, err)
		if _, holds := held[r.InstanceID]; holds != (name == in) || kept.Backend != in {
			t.Errorf("of plan %s, the ledger says that it lives in %s, and %s holds %v", plan, kept.Backend, name, held)
		}
	}
	return r
}

// plansOnSale are the names of all plans.
func (h *house) plansOnSale(t *testing.T) (names []string) {
	t.Helper()
	offerings, err := h.Catalog(t.Context())
	must(t, err)
	for _, o := range offerings {
		for _, p := range o.Plans {
			names = append(names, p.Name)
		}
	}
	return names
}

func wantSentence(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if got := backstay.SentenceOf(err); !strings.Contains(got, part) {
			t.Errorf("it is said %q, want %q in it", got, part)
		}
	}
}

// TestPlansSayWhereTheyLive: of one offering, some instances live on this machine and others elsewhere. They are bound
// and changed alike, and none moves, nor begins from what is kept in the other place.
func TestPlansSayWhereTheyLive(t *testing.T) {
	t.Parallel()
	h := houseOfTwo(t)
	here, there := h.mustLive(t, "S", broker.Local), h.mustLive(t, "E", "elsewhere")
	for _, r := range []backstay.ProvisionRequest{here, there} {
		if _, c := h.bind(t, r); ask(t, c, "SELECT 1") != "1" {
			t.Errorf("%s is not reached", r.InstanceID)
		}
		changed, err := h.Update(t.Context(), backstay.UpdateRequest{
			InstanceID: r.InstanceID, ServiceID: r.ServiceID, Parameters: []byte(`{"enable_extensions": ["citext"]}`),
		})
		must(t, err)
		if op := h.outcome(t, r.InstanceID, changed.Operation); op.State != backstay.Succeeded {
			t.Errorf("an update ended as %+v", op)
		}
	}

	_, err := h.Update(t.Context(), update(there, h.plan(t, "S")))
	wantKind(t, err, backstay.Unsupported)
	wantSentence(t, err, `lives in "elsewhere"`, `is of "local"`)
	clone := h.newRequest(t, "S")
	clone.Parameters = fmt.Appendf(nil, `{"clone_of": %q}`, there.InstanceID)
	clone.Context = there.Context
	err = h.AdmitProvision(t.Context(), clone)
	wantKind(t, err, backstay.Unsupported)
	wantSentence(t, err, `is in "elsewhere"`, `is of "local"`)

	must(t, h.Purge(t.Context(), there.InstanceID))
	held, err := h.Backends["elsewhere"].Held(t.Context())
	if must(t, err); len(held) > 0 {
		t.Errorf("behind the delete, it holds %v", held)
	}
}

// TestOneBackendIsAway: what it sold stays on sale, also for a broker that starts meanwhile, and the other one sells and
// serves as ever.
func TestOneBackendIsAway(t *testing.T) {
	t.Parallel()
	h := houseOfTwo(t)
	all := fmt.Sprint(h.plansOnSale(t))
	lost := h.Backends["elsewhere"]
	again := newHouse(t, h.Backends[broker.Local])
	again.Offered, again.Backends["elsewhere"] = h.Offered, away{lost}
	if got := fmt.Sprint(again.plansOnSale(t)); strings.Contains(got, "E-") || !strings.Contains(got, "S-") {
		t.Errorf("with a backend that never told anything, on sale is %s", got)
	}
	again.Store = h.Store // now it has, to the broker before
	if got := fmt.Sprint(again.plansOnSale(t)); got != all {
		t.Errorf("while a backend is away, on sale is %s; want %s", got, all)
	}
	must(t, again.AdmitProvision(t.Context(), again.newRequest(t, "S")))
	r := h.newRequest(t, "E")
	err := again.AdmitProvision(t.Context(), r)
	wantKind(t, err, backstay.Unavailable)
	wantSentence(t, err, "It is away.")
}

// TestUnknownBackend: a catalog cannot name a backend that is not there.
func TestUnknownBackend(t *testing.T) {
	c, err := broker.ParseCatalog([]byte(strings.Replace(sizes, "{name: M,", "{name: M, backend: kubernets,", 1)))
	must(t, err)
	must(t, c.CheckBackends(broker.Local, "kubernets"))
	want := `catalog: offering postgres has plans in the backend "kubernets", and there is none of that name; there is: local`
	if err := c.CheckBackends(broker.Local); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

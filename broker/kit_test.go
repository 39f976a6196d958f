package broker_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper/keepertest"
	"github.com/backstay/backstay/market/markettest"
	"github.com/backstay/backstay/pki"
	"github.com/backstay/backstay/state"
)

func TestMain(m *testing.M) {
	if code, front := keepertest.Front(); front {
		os.Exit(code)
	}
	step.After = crashes.pass
	os.Exit(testkit.Main(m))
}

// limit is how long anything may take here.
const limit = time.Minute

// open returns our broker on a real store and a real keeper, with its jobs running.
func open(t testing.TB) backstay.Broker {
	t.Helper()
	instances, _ := keepertest.Run(t, keepertest.Config(t, 30))
	h := newHouse(t, instances)
	h.run(t)
	return h.Broker
}

func openOn(t testing.TB, instances backend.Backend) *broker.Broker {
	t.Helper()
	h := newHouse(t, instances)
	h.run(t)
	return h.Broker
}

// house is our broker with what it stands on, and no job running yet.
type house struct {
	*broker.Broker
	store *state.Store
}

func newHouse(t testing.TB, instances backend.Backend) *house {
	t.Helper()
	store := markettest.OpenStore(t)
	authority, err := pki.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	catalog, err := broker.ParseCatalog([]byte(sizes))
	if err != nil {
		t.Fatal(err)
	}
	return &house{store: store, Broker: &broker.Broker{
		Store: store.Broker(), Backends: map[string]backend.Backend{broker.Local: instances}, Certifier: authority,
		Offered: catalog, Key: seal.Key{1}, Now: time.Now, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}}
}

// sizes is a catalog whose plans differ in little that a small machine feels.
const sizes = `
currency: GBP
offerings:
  - id: 6e1f8f3c-8a0e-4a0c-9d0b-52f1c7a4e501
    name: postgres
    engine: postgres
    sizes:
      - {name: S, storage: 1GB, memory: 256MB, connections: 20}
      - {name: M, storage: 1GB, memory: 256MB, connections: 40}
      - {name: L, storage: 1GB, memory: 256MB, connections: 60}
    parameters:
      create: {type: object, additionalProperties: false, properties: {enable_extensions: {type: array}}}
      update: {type: object, additionalProperties: false, properties: {enable_extensions: {type: array}}}
      bind: {type: object, additionalProperties: false, properties: {read_only: {type: boolean}}}
`

// run runs the broker's jobs and its reconciler until the test ends, or until stop is called, which returns when
// they have ended.
func (h *house) run(t testing.TB) (stop func()) {
	t.Helper()
	stop = runUntil(t, context.Background(), h.jobs, h.Run)
	t.Cleanup(stop)
	return stop
}

// runJobs is run without the reconciler.
func (h *house) runJobs(t testing.TB) {
	t.Helper()
	t.Cleanup(runUntil(t, context.Background(), h.jobs))
}

// runUntil runs loops until ctx ends or stop is called, which returns when they have ended.
func runUntil(t testing.TB, ctx context.Context, loops ...func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	for _, run := range loops {
		running.Go(func() {
			if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	return sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
}

// jobs runs the broker's jobs until ctx ends.
func (h *house) jobs(ctx context.Context) error {
	noMarket := func(context.Context, backstay.JobID, bool) error { return errors.New("there is no market here") }
	return h.store.RunJobs(ctx, state.Runners{Market: noMarket, Broker: h.Work})
}

// serve brings an instance up that ends with its keeper's directory: the keeper may be another one by then.
func (h *house) serve(t testing.TB) backstay.ProvisionRequest {
	t.Helper()
	r := h.newRequest(t, "S")
	made, err := h.Provision(t.Context(), r)
	must(t, err)
	if op := h.outcome(t, r.InstanceID, made.Operation); op.State != backstay.Succeeded {
		t.Fatalf("the create ended as %+v", op)
	}
	return r
}

// plan is the id of the plan of that size.
func (h *house) plan(t testing.TB, size string) backstay.ServicePlanID {
	t.Helper()
	offerings, err := h.Catalog(t.Context())
	must(t, err)
	for _, p := range offerings[0].Plans {
		if p.Name == size+"-dedicated-15" {
			return p.ID
		}
	}
	t.Fatalf("no plan of size %s among %+v", size, offerings[0].Plans)
	return ""
}

func (h *house) newRequest(t testing.TB, size string) backstay.ProvisionRequest {
	t.Helper()
	r := brokertest.NewRequest(t, h)
	r.PlanID = h.plan(t, size)
	return r
}

func update(r backstay.ProvisionRequest, to backstay.ServicePlanID) backstay.UpdateRequest {
	return backstay.UpdateRequest{InstanceID: r.InstanceID, ServiceID: r.ServiceID, PlanID: to}
}

// outcome is an instance's operation once it has ended.
func (h *house) outcome(t testing.TB, id backstay.InstanceID, key backstay.OperationKey) backstay.Operation {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	ask := backstay.LastOperationRequest{InstanceID: id, Operation: key}
	op, err := h.LastOperation(ctx, ask)
	for err == nil && op.State == backstay.InProgress {
		op, err = h.AwaitOperation(ctx, ask, op)
	}
	if err != nil {
		t.Fatalf("operation %s of %s: %v; last seen %+v", key, id, err, op)
	}
	return op
}

// gone returns when the broker does not know the instance any more.
func (h *house) gone(t testing.TB, id backstay.InstanceID) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	ask := backstay.LastOperationRequest{InstanceID: id}
	op, err := h.LastOperation(ctx, ask)
	for err == nil && op.State == backstay.InProgress {
		op, err = h.AwaitOperation(ctx, ask, op)
	}
	if backstay.KindOf(err) != backstay.NotFound {
		t.Fatalf("the delete of %s: %+v, %v", id, op, err)
	}
}

func wantHeld(t testing.TB, its backend.Backend, id backstay.InstanceID, want int64) {
	t.Helper()
	held, err := its.Held(t.Context())
	must(t, err)
	if held[id] != want {
		t.Errorf("the backend holds generation %d, want %d", held[id], want)
	}
}

func (h *house) bind(t testing.TB, r backstay.ProvisionRequest) (backstay.BindingID, backstay.Credentials) {
	t.Helper()
	id := backstay.BindingID(uuid.NewString())
	bound, err := h.Bind(t.Context(), backstay.BindRequest{InstanceID: r.InstanceID, BindingID: id})
	must(t, err)
	return id, bound.Credentials
}

func connect(t testing.TB, c backstay.Credentials) (*pgx.Conn, error) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c["uri"].(string)+"?sslmode=require")
	if err == nil {
		t.Cleanup(func() { conn.Close(context.Background()) })
	}
	return conn, err
}

// ask returns what the database answers to a query of one text.
func ask(t testing.TB, c backstay.Credentials, query string) string {
	t.Helper()
	conn, err := connect(t, c)
	must(t, err)
	var text string
	must(t, conn.QueryRow(t.Context(), query).Scan(&text))
	return text
}

func tell(t testing.TB, c backstay.Credentials, statement string) {
	t.Helper()
	conn, err := connect(t, c)
	must(t, err)
	_, err = conn.Exec(t.Context(), statement)
	must(t, err)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t testing.TB, err error, want backstay.Kind) {
	t.Helper()
	if err == nil || backstay.KindOf(err) != want {
		t.Errorf("error %v is %v; want %v", err, backstay.KindOf(err), want)
	}
}

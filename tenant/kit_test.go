package tenant_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/market/markettest"
	"github.com/backstay/backstay/osb"
	"github.com/backstay/backstay/state"
	"github.com/backstay/backstay/tenant"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// house is a broker that is divided among clients, behind the door of the Open Service Broker API.
type house struct {
	*tenant.Registry
	store  *state.Store
	memory *brokertest.Memory
	door   *httptest.Server
}

func newHouse(t testing.TB) *house {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	h := &house{store: markettest.OpenStore(t), memory: brokertest.NewMemory()}
	h.memory.Updateable, h.memory.AsyncBindings = true, true
	h.Registry = &tenant.Registry{Store: h.store.Tenants(), Broker: h.memory, Now: time.Now, Log: log}
	handler := &osb.Handler{AsyncBindings: true, Log: log, Open: func(
		r *http.Request, name string, password backstay.Secret,
	) (backstay.Broker, error) {
		return h.Registry.Open(r.Context(), name, password, "192.0.2.1")
	}}
	h.door = httptest.NewServer(handler.Handler())
	t.Cleanup(h.door.Close)
	return h
}

// client makes a client, and returns the broker as it has it.
func (h *house) client(t testing.TB, name string, maxInstances int) *osb.Client {
	t.Helper()
	password, err := h.Create(t.Context(), backstay.Actor{}, name, maxInstances)
	must(t, err)
	return h.as(t, name, password)
}

func (h *house) as(t testing.TB, name string, password backstay.Secret) *osb.Client {
	t.Helper()
	c := &osb.Client{URL: h.door.URL, Username: name, Password: password}
	t.Cleanup(c.Close)
	return c
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
		t.Errorf("%v is %v; want %v", err, backstay.KindOf(err), want)
	}
}

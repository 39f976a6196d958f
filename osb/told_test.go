package osb_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/osb/osbtest"
)

// told is a broker that answers each request as it was told to, or with the error.
type told struct {
	err           error
	provisioned   backstay.Provisioned
	updated       backstay.Updated
	deprovisioned backstay.Deprovisioned
	bound         backstay.Bound
	unbound       backstay.Unbound
	instance      backstay.FetchedInstance
	binding       backstay.FetchedBinding
	operation     backstay.Operation
	call          backstay.Call // of the last request
	provision     backstay.ProvisionRequest
	bind          backstay.BindRequest
}

// Catalog is that of the memory broker, with what that has none of.
func (b *told) Catalog(ctx context.Context) ([]backstay.CatalogOffering, error) {
	m := brokertest.NewMemory()
	m.Updateable = true
	all, err := m.Catalog(ctx)
	o := &all[0]
	o.Requires, o.BindingsRetrievable, o.AllowContextUpdates = []string{"syslog_drain"}, true, true
	o.Plans[0].Bindable, o.Plans[0].PlanUpdateable = new(false), new(false)
	o.Plans[0].MaximumPollingDuration = 90 * time.Second
	o.Plans[0].Schemas = backstay.Schemas{CreateBinding: json.RawMessage(`{"$schema":"s","type":"object"}`)}
	o.Plans[1].Schemas = backstay.Schemas{UpdateInstance: json.RawMessage(`{}`)}
	return all, err
}

func (b *told) Provision(_ context.Context, r backstay.ProvisionRequest) (backstay.Provisioned, error) {
	b.call, b.provision = r.Call, r
	return b.provisioned, b.err
}

func (b *told) Update(context.Context, backstay.UpdateRequest) (backstay.Updated, error) {
	return b.updated, b.err
}

func (b *told) Deprovision(context.Context, backstay.DeprovisionRequest) (backstay.Deprovisioned, error) {
	return b.deprovisioned, b.err
}

func (b *told) FetchInstance(context.Context, backstay.FetchInstanceRequest) (backstay.FetchedInstance, error) {
	return b.instance, b.err
}

func (b *told) LastOperation(context.Context, backstay.LastOperationRequest) (backstay.Operation, error) {
	return b.operation, b.err
}

func (b *told) Bind(_ context.Context, r backstay.BindRequest) (backstay.Bound, error) {
	b.bind = r
	return b.bound, b.err
}

func (b *told) Unbind(context.Context, backstay.UnbindRequest) (backstay.Unbound, error) {
	return b.unbound, b.err
}

func (b *told) FetchBinding(context.Context, backstay.FetchBindingRequest) (backstay.FetchedBinding, error) {
	return b.binding, b.err
}

func (b *told) LastBindingOperation(
	context.Context, backstay.LastBindingOperationRequest,
) (backstay.Operation, error) {
	return b.operation, b.err
}

// ask sends a request, "METHOD path", with more headers, or without those that are empty.
func ask(
	t *testing.T, b backstay.Broker, request, body string, headers map[string]string,
) (status int, header http.Header, got []byte) {
	t.Helper()
	method, path, _ := strings.Cut(request, " ")
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.SetBasicAuth(osbtest.Username, osbtest.Password.Reveal())
	r.Header.Set("X-Broker-API-Version", "2.17")
	for name, value := range headers {
		if r.Header.Set(name, value); value == "" {
			r.Header.Del(name)
		}
	}
	w := httptest.NewRecorder()
	osbtest.Handler(t, b).Handler().ServeHTTP(w, r)
	got, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, w.Header(), got
}

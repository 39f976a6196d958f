package broker_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/keeper/keepertest"
)

// sellsPairs has the house sell P too, whose instances have a standby that may serve reads.
func (h *house) sellsPairs(t *testing.T) {
	t.Helper()
	text := sizes
	for _, more := range [][2]string{
		{"    parameters:", "      - {name: P, storage: 1GB, memory: 256MB, connections: 20, nodes: 2}\n    parameters:"},
		{"read_only: {type: boolean}", "read_only: {type: boolean}, replica: {type: boolean}"},
		{"update: {type: object, additionalProperties: false, properties: {", "update: {type: object, properties: {"},
	} {
		text = strings.Replace(text, more[0], more[1], 1)
	}
	var err error
	h.Offered, err = broker.ParseCatalog([]byte(text))
	must(t, err)
}

// TestReplicaBinding is told where its instance's standby is read from, which the ledger knows from then on. Where there
// is none, and of one that may write, it is refused.
func TestReplicaBinding(t *testing.T) {
	t.Parallel()
	instances, _ := keepertest.Run(t, keepertest.Config(t, 8))
	h := newHouse(t, instances)
	h.sellsPairs(t)
	h.run(t)
	single, pair := h.serve(t), h.newRequest(t, "P")
	made, err := h.Provision(t.Context(), pair)
	must(t, err)
	if op := h.outcome(t, pair.InstanceID, made.Operation); op.State != backstay.Succeeded {
		t.Fatalf("the create ended as %+v", op)
	}
	bind := func(id backstay.InstanceID, given string) (backstay.Credentials, error) {
		bound, err := h.Bind(t.Context(), backstay.BindRequest{
			InstanceID: id, BindingID: backstay.BindingID(uuid.NewString()), Parameters: json.RawMessage(given),
		})
		return bound.Credentials, err
	}
	_, err = bind(pair.InstanceID, `{"replica": true}`)
	wantKind(t, err, backstay.Invalid)
	_, err = bind(single.InstanceID, `{"read_only": true, "replica": true}`)
	wantKind(t, err, backstay.Unsupported)
	if in, err := h.Store.Instance(t.Context(), pair.InstanceID); err != nil || in.Reads.Port != 0 {
		t.Errorf("before anybody reads, the ledger knows %v as where (%v)", in.Reads, err)
	}
	for range 2 {
		c, err := bind(pair.InstanceID, `{"read_only": true, "replica": true}`)
		must(t, err)
		in, err := h.Store.Instance(t.Context(), pair.InstanceID)
		must(t, err)
		port, _ := c["port"].(float64)
		if at := (backstay.Endpoint{Host: c["host"].(string), Port: int(port)}); at != in.Reads || at == in.Endpoint {
			t.Errorf("credentials name %v, and the ledger %v, beside %v", at, in.Reads, in.Endpoint)
		}
		if got := ask(t, c, "SELECT 'read'"); got != "read" {
			t.Errorf("it says %q", got)
		}
	}
}

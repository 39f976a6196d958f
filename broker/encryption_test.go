package broker_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/broker"
)

// TestEncryptedInstance: it gets a key that no other has and that it keeps, which nobody but its backend is told; it
// stays encrypted, whatever is asked for.
func TestEncryptedInstance(t *testing.T) {
	t.Parallel()
	machine := newSimulated()
	machine.encryption, machine.restorePoints = "dm-crypt", backstay.AnySecond
	h := newHouse(t, encrypting{machine})
	catalog, err := broker.ParseCatalog([]byte(strings.Replace(sizes, "sizes:\n", `sizes:
      - {name: S-ENC, storage: 1GB, memory: 256MB, connections: 20, backups: 0, encrypted: true}
      - {name: M-ENC, storage: 1GB, memory: 256MB, connections: 30, backups: 0, encrypted: true}
`, 1)))
	must(t, err)
	h.Offered = catalog
	h.run(t)
	first, second := h.makeOf(t, "S-ENC"), h.makeOf(t, "S-ENC")
	key := machine.volumeOf(first.InstanceID).Key
	if other := machine.volumeOf(second.InstanceID).Key; len(key) < 64 || key == other {
		t.Errorf("two instances have keys of %d and %d letters, the same: %t", len(key), len(other), key == other)
	}

	told, err := h.told(t.Context(), first.InstanceID)
	must(t, err)
	if told["encryption_at_rest"] != "fscrypt" || strings.Contains(fmt.Sprint(told), key.Reveal()) {
		t.Errorf("users are told %v", told)
	}
	kept, err := h.store.Broker().Instance(t.Context(), first.InstanceID)
	must(t, err)
	if bytes.Contains(kept.Spec, []byte(key.Reveal())) {
		t.Error("the ledger has the key in clear")
	}

	_, err = h.Update(t.Context(), update(first, h.plan(t, "M")))
	wantKind(t, err, backstay.Unsupported)
	_, err = h.Update(t.Context(), update(first, h.plan(t, "M-ENC")))
	must(t, err)
	if op := h.outcome(t, first.InstanceID, ""); op.State != backstay.Succeeded {
		t.Errorf("the change to a larger encrypted plan ended as %+v", op)
	}
	if now := machine.volumeOf(first.InstanceID); !now.Encrypted || now.Key != key {
		t.Errorf("behind the change the instance is encrypted: %t, with its key: %t", now.Encrypted, now.Key == key)
	}

	clone := h.newRequest(t, "S")
	clone.Parameters = fmt.Appendf(nil, `{"clone_of": %q}`, first.InstanceID)
	wantKind(t, h.AdmitProvision(t.Context(), clone), backstay.Unsupported)
	clone.PlanID = h.plan(t, "S-ENC")
	must(t, h.AdmitProvision(t.Context(), clone))
}

// makeOf makes an instance of the plan of that size.
func (h *house) makeOf(t *testing.T, size string) backstay.ProvisionRequest {
	t.Helper()
	r := h.newRequest(t, size)
	_, err := h.Provision(t.Context(), r)
	must(t, err)
	if op := h.outcome(t, r.InstanceID, ""); op.State != backstay.Succeeded {
		t.Fatalf("the create ended as %+v", op)
	}
	return r
}

// encrypting is a machine on which new instances are encrypted by another way than those that there are.
type encrypting struct{ *simulated }

// Storage is backend.Gauge's.
func (encrypting) Storage(context.Context, backstay.InstanceID) (backend.Storage, error) {
	return backend.Storage{Encryption: "fscrypt"}, nil
}

func (s *simulated) volumeOf(id backstay.InstanceID) backend.Volume {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.specs[id].Volume
}

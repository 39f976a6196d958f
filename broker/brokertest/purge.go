package brokertest

import (
	"context"
	"testing"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
)

// Purge ends an instance, and returns when it is gone.
func (m *Memory) Purge(ctx context.Context, id backstay.InstanceID) error {
	_, err := m.Deprovision(ctx, backstay.DeprovisionRequest{InstanceID: id})
	var op backstay.Operation
	for err == nil {
		op, err = m.AwaitOperation(ctx, backstay.LastOperationRequest{InstanceID: id}, op)
	}
	if backstay.KindOf(err) == backstay.NotFound {
		return nil
	}
	return err
}

// purgeEndsWhateverThereIs: nothing, an instance that is being made, and one with a binding.
func purgeEndsWhateverThereIs(t *testing.T, b backstay.Broker) {
	p, ok := b.(backstay.Purger)
	if !ok {
		t.Skip("it is no Purger")
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	must(t, p.Purge(ctx, backstay.InstanceID(uuid.NewString())))

	making := NewRequest(t, b)
	mustProvision(t, b, making)
	bound := NewRequest(t, b)
	mustProvision(t, b, bound)
	awaitEnd(t, b, bound)
	mustBind(t, b, newBinding(bound))
	for _, r := range []backstay.ProvisionRequest{making, bound} {
		must(t, p.Purge(ctx, r.InstanceID))
		must(t, p.Purge(ctx, r.InstanceID))
		_, err := b.LastOperation(ctx, lastOperation(r))
		wantKind(t, err, backstay.NotFound)
	}
}

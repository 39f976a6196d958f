package backendtest

import (
	"testing"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

func gaugeTellsWhatIsStored(t *testing.T, s Subject) {
	gauge, ok := s.Backend.(backend.Gauge)
	if !ok {
		t.Skip("the backend does not see what instances store")
	}
	spec := s.spec(t)
	s.apply(t, spec)
	s.running(t, spec.Instance, 1)
	storage, err := gauge.Storage(t.Context(), spec.Instance)
	if err != nil || storage.Used <= 0 || storage.Used >= spec.Size.Storage {
		t.Errorf("an instance that is new stores %+v (%v) of its %s", storage, err, spec.Size.Storage)
	}
	_, err = gauge.Storage(t.Context(), backstay.InstanceID(uuid.NewString()))
	wantKind(t, "Storage of an unknown instance", err, backstay.NotFound)
}

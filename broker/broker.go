package broker

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/pki"
)

// Broker is ours. Its fields are set once, before use; its methods are safe for concurrent use.
type Broker struct {
	Store     Store
	Backends  map[string]backend.Backend // by the names that the ledger keeps
	Certifier pki.Certifier              // gives endpoints their certificates
	Offered   Catalog
	Key       seal.Key // seals parameters, Specs and passwords before they reach the Store
	Now       func() time.Time
	Log       *slog.Logger

	Drills      bool         // one is held in each maintenance window of the instances that allow it
	Restoration *Restoration // nil, but where a whole platform is being restored

	turns    turns
	absences absences
}

var (
	_ backstay.Broker           = (*Broker)(nil)
	_ backstay.Admitter         = (*Broker)(nil)
	_ backstay.OperationAwaiter = (*Broker)(nil)
	_ backstay.HealthTeller     = (*Broker)(nil)
	_ backstay.TroubleTeller    = (*Broker)(nil)
	_ backstay.Purger           = (*Broker)(nil)
	_ backstay.Watcher          = (*Broker)(nil)
	_ backstay.Overwriter       = (*Broker)(nil)
	_ backstay.Copier           = (*Broker)(nil)
	_ backstay.SourceRenamer    = (*Broker)(nil)
	_ backstay.DrillHolder      = (*Broker)(nil)
)

// acceptedSpec returns what an instance is to be while no operation changes it. It has served before.
func (b *Broker) acceptedSpec(in Instance) (backend.Spec, error) {
	spec, err := b.openSpec(in.ID, in.Spec)
	spec.Generation, spec.Served = in.Generation, &backend.Served{Endpoint: in.Endpoint, Reads: in.Reads}
	return spec, err
}

// wantedSpec returns what an operation is to bring an instance to.
func (b *Broker) wantedSpec(in Instance, op Operation) (backend.Spec, error) {
	spec, err := b.openSpec(in.ID, op.Spec)
	spec.Generation = op.Generation
	if in.Spec != nil {
		spec.Served = &backend.Served{Endpoint: in.Endpoint, Reads: in.Reads}
	}
	return spec, err
}

func (b *Broker) openSpec(id backstay.InstanceID, sealed []byte) (spec backend.Spec, err error) {
	plain, err := b.open(sealed, specContext(id))
	if err != nil {
		return spec, err
	}
	if err := json.Unmarshal(plain, &spec); err != nil {
		return spec, fmt.Errorf("decode spec of %s: %w", id, err)
	}
	return spec, nil
}

func (b *Broker) sealSpec(id backstay.InstanceID, spec backend.Spec) ([]byte, error) {
	plain, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("encode spec of %s: %w", id, err)
	}
	return b.seal(plain, specContext(id)), nil
}

// seal seals what there is; nil stays nil.
func (b *Broker) seal(plain []byte, context string) []byte {
	if plain == nil {
		return nil
	}
	return b.Key.Seal(plain, context)
}

// open is the inverse of seal.
func (b *Broker) open(sealed []byte, context string) ([]byte, error) {
	if sealed == nil {
		return nil, nil
	}
	plain, err := b.Key.Open(sealed, context)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", context, err)
	}
	return plain, nil
}

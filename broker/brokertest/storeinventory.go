package brokertest

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/broker"
)

// theLastInventoryIsKept of each backend by itself.
func theLastInventoryIsKept(t *testing.T, s broker.Store) {
	one, another := uuid.NewString(), uuid.NewString()
	if _, err := s.Inventory(t.Context(), one); backstay.KindOf(err) != backstay.NotFound {
		t.Errorf("before: %v", err)
	}
	told := backend.Inventory{
		Room: backstay.Size{Memory: 8 * backstay.GB}, Encryption: "dm-crypt",
		Engines: []backend.EngineVersion{{
			Engine: "postgres", Product: "PostgreSQL", Version: "15", FullVersion: "15.18", Nodes: 2,
			RestorePoints: backstay.AnySecond, Settings: json.RawMessage(`{"work_mem":{"type":"integer"}}`),
		}},
	}
	for name, inventories := range map[string][]backend.Inventory{one: {{}, told, told}, another: {told, {}}} {
		for _, i := range inventories {
			if err := s.KeepInventory(t.Context(), name, i); err != nil {
				t.Fatal(err)
			}
		}
		kept, err := s.Inventory(t.Context(), name)
		if want := inventories[len(inventories)-1]; err != nil || !reflect.DeepEqual(kept, want) {
			t.Errorf("kept is %+v, %v; want %+v", kept, err, want)
		}
	}
}

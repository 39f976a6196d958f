package instance

import (
	"testing"
	"time"

	"github.com/backstay/backstay/backend"
)

// TestBeginsFromItself has data that is missing be restored only from the instance's own newest backup: any other origin
// says where the data came from once, and would bring that in the place of what was written since.
func TestBeginsFromItself(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		origin *backend.Origin
		want   bool
	}{
		"its own newest":    {&backend.Origin{Instance: "own"}, true},
		"after a return":    {&backend.Origin{Instance: "own", Return: 2}, true},
		"no origin":         {nil, false},
		"another instance":  {&backend.Origin{Instance: "other"}, false},
		"an earlier moment": {&backend.Origin{Instance: "own", At: time.Unix(1, 0)}, false},
		"a certain backup":  {&backend.Origin{Instance: "own", Backup: "20261127"}, false},
		"a clone":           {&backend.Origin{Instance: "own", Clone: true}, false},
	} {
		if got := beginsFromItself(backend.Spec{Instance: "own", Origin: test.origin}); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

package terms

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/backstay/backstay"
)

// TestNoParameterIsEmpty gives an empty text, and one of blanks, to each parameter of the platform that takes a text.
// None is taken as if it were left out.
func TestNoParameterIsEmpty(t *testing.T) {
	t.Parallel()
	const source = "7f0c5e43-0000-4000-8000-000000000000"
	tried := 0
	for name, p := range platforms {
		if p.schema["type"] != "string" {
			continue
		}
		tried++
		for _, empty := range []string{"", " "} {
			given := map[string]string{name: empty}
			if of := strings.TrimSuffix(name, "_before") + "_of"; platforms[of].create {
				given[of] = source
			}
			encoded, err := json.Marshal(given)
			if err != nil {
				t.Fatal(err)
			}
			w, err := parseWishes(encoded)
			if err == nil {
				_, err = w.origin()
			}
			if backstay.KindOf(err) != backstay.Invalid {
				t.Errorf("%s: %v, want it refused", encoded, err)
			}
		}
	}
	if tried < 8 {
		t.Errorf("%d parameters take a text, want all of them tried", tried)
	}
}

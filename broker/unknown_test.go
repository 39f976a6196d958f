package broker

import (
	"strings"
	"testing"
)

// TestUnknownKeysAreNamed, with their line and what was meant, in words and not in those of a decoder.
func TestUnknownKeysAreNamed(t *testing.T) {
	t.Parallel()
	const catalog = `
currency: GBP
offerings:
  - id: 6e1f8f3c-8a0e-4a0c-9d0b-52f1c7a4e501
    name: postgres
    engine: postgres
    plans: {name: "{size}"}
    sizes:
      - {name: S, storage: 1GB, memory: 256MB, connections: 20}
    windows: {backup: "02:00-03:00"}
    parameters:
      create: {type: object}
`
	if _, err := ParseCatalog([]byte(catalog)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ right, wrong, want string }{
		{"currency", "curency", `line 2: "curency" is no key of the catalog; "currency" is meant, perhaps`},
		{"engine", "driver", `line 6: "driver" is no key of an offering; there are: id, name, engine, `},
		{"sizes", "size", `line 8: "size" is no key of an offering; "sizes" is meant, perhaps`},
		{"storage", "storrage", `line 9: "storrage" is no key of a size; "storage" is meant, perhaps`},
		{"storage", "Storage", `line 9: "Storage" is no key of a size; "storage" is meant, perhaps`},
		{"plans: {name", "plans: {names", `line 7: "names" is no key of plans; "name" is meant, perhaps`},
		{"{backup:", "{backups:", `line 10: "backups" is no key of windows; "backup" is meant, perhaps`},
		{"create:", "creates:", `line 12: "creates" is no key of parameters; "create" is meant, perhaps`},
	} {
		_, err := ParseCatalog([]byte(strings.Replace(catalog, tc.right, tc.wrong, 1)))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q in the place of %q: %v; want %q", tc.wrong, tc.right, err, tc.want)
		}
	}
	_, err := ParseCatalog([]byte(strings.NewReplacer("currency", "curency", "storage", "room").Replace(catalog)))
	if err == nil || !strings.Contains(err.Error(), "line 2: ") ||
		!strings.Contains(err.Error(), `; line 9: "room" is no key of a size; there are: name, `) {
		t.Errorf("two mistakes are told as %v", err)
	}
}

package market

import (
	"strings"
	"testing"

	"github.com/backstay/backstay"
)

func TestNames(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ wrong, wrongOfBinding bool }{
		"db":                     {},
		"my_db-1":                {},
		"my db":                  {wrongOfBinding: true},
		"my.db":                  {wrongOfBinding: true},
		"é":                      {wrongOfBinding: true},
		"":                       {true, true},
		"a\nb":                   {true, true},
		strings.Repeat("é", 255): {wrongOfBinding: true},
		strings.Repeat("e", 255): {},
		strings.Repeat("e", 256): {true, true},
	} {
		if err := checkName(name); (backstay.KindOf(err) == backstay.Invalid && err != nil) != c.wrong {
			t.Errorf("%q: %v", name, err)
		}
		n := NewBinding{Type: backstay.AppBinding, Name: name}
		if err := n.checkName(); name != "" && (err != nil) != c.wrongOfBinding {
			t.Errorf("%q of a binding: %v", name, err)
		}
		n.Type = backstay.KeyBinding
		if err := n.checkName(); (err != nil) != c.wrong {
			t.Errorf("%q of a key: %v", name, err)
		}
	}
}

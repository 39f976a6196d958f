package postgres

import (
	"slices"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// settings are what can be chosen of a node. All but EnableExtensions and Collation is the platform's to choose.
type settings struct {
	EnableExtensions []string `json:"enable_extensions"` // that the database begins with
	Extensions       []string `json:"extensions"`        // that may be created; nil: all of Extensions()
	Collation        string   `json:"collation"`         // that a new database sorts by; empty: C.UTF-8

	locale string // what Collation is to ICU
}

// parseSettings is Invalid for anything it does not know, and for extensions that are not to be had. The extensions
// come sorted, each once.
func parseSettings(n engine.Node) (settings, error) {
	var s settings
	if err := n.DecodeSettings("PostgreSQL", &s); err != nil {
		return s, err
	}
	var err error
	if s.locale, err = parseCollation(s.Collation, n.Installation); err != nil {
		return s, err
	}
	if s.Extensions == nil {
		s.Extensions = Extensions()
	}
	s.Extensions, s.EnableExtensions = sorted(s.Extensions), sorted(s.EnableExtensions)
	for _, name := range s.Extensions {
		if err := checkOffer(n.Installation, name); err != nil {
			return s, err
		}
	}
	for _, name := range s.EnableExtensions {
		if !slices.Contains(s.Extensions, name) {
			return s, backstay.Errorf(backstay.Invalid, "%s is not supported. Supported are: %s.",
				name, strings.Join(s.Extensions, ", "))
		}
	}
	return s, nil
}

func sorted(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }

package postgres

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// settings are what can be chosen of a node. Extensions is the platform's to choose, the rest its users'.
type settings struct {
	EnableExtensions  []string                   `json:"enable_extensions"`  // that the database has
	DisableExtensions []string                   `json:"disable_extensions"` // that it has no longer, and may not have
	Extensions        []string                   `json:"extensions"`         // that may be made; nil: all of Extensions()
	Collation         string                     `json:"collation"`          // of a new database; empty: C.UTF-8
	Settings          map[string]json.RawMessage `json:"settings"`           // see Tuning

	locale  string          // what Collation is to ICU
	offered []string        // Extensions, before those that are disabled were taken out
	chosen  []engine.Chosen // what Settings says
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
	if s.chosen, err = (Engine{}).Tuning(n.Installation).Parse(s.Settings, n.Size.Memory); err != nil {
		return s, err
	}
	return s, s.parseExtensions(n.Installation)
}

// parseExtensions checks the names of extensions, and sorts them.
func (s *settings) parseExtensions(i engine.Installation) error {
	if s.Extensions == nil {
		s.Extensions = Extensions()
	}
	s.offered, s.EnableExtensions = sorted(s.Extensions), sorted(s.EnableExtensions)
	if i.Dir == "" { // somebody else starts the server: see engine.Hosted
		s.offered = slices.DeleteFunc(s.offered, func(name string) bool { return name == statistics })
	}
	s.DisableExtensions = sorted(s.DisableExtensions)
	for _, name := range s.offered {
		if err := checkOffer(i, name); err != nil {
			return err
		}
	}
	for _, name := range slices.Concat(s.EnableExtensions, s.DisableExtensions) {
		switch {
		case !slices.Contains(s.offered, name):
			return backstay.Errorf(backstay.Invalid, "%s is not supported. Supported are: %s.",
				name, strings.Join(s.offered, ", "))
		case slices.Contains(s.EnableExtensions, name) && slices.Contains(s.DisableExtensions, name):
			return backstay.Errorf(backstay.Invalid, "%s is enabled and disabled at once.", name)
		}
	}
	s.Extensions = slices.DeleteFunc(slices.Clone(s.offered), func(name string) bool {
		return slices.Contains(s.DisableExtensions, name)
	})
	return nil
}

func sorted(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }
